package httpapi

import (
	"context"
	"net/http"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

func (a *api) call(w http.ResponseWriter, r *http.Request) error {
	procedure, err := a.uri(r, "procedure")
	if err != nil {
		return err
	}
	as, err := a.wanted(r, encodingsStreams)
	switch {
	case err != nil:
		return err
	case finished(r, as.answer.format):
		noContent(w)
		return nil
	case as.body == jsonLines:
		return a.exchange(w, a.watch(r), procedure, as)
	}
	body, err := a.body(w, r, as.body)
	if err != nil {
		return err
	}
	req, err := bridge.ParseCall(body, as.as)
	if err != nil {
		return err
	}
	timeout, err := a.timeout(r, req.Options.Timeout)
	if err != nil {
		return err
	}
	req.Options.Timeout = timeout
	req.Options.Custom = traced(r, req.Options.Custom)
	switch f := as.answer.format; {
	case f == eventStream || f == jsonLines:
		return a.callInParts(w, a.watch(r), procedure, as, req)
	case len(r.Header[idempotencyKey]) == 0: // a closure costs more than the rest
		payload, err := a.cfg.Bridge.Call(r.Context(), a.principal(r), procedure, req)
		if err == nil {
			as.result(payload).write(w, r)
			payload.Release()
		}
		return err
	}
	return a.callOnce(w, r, procedure, as, body, req)
}

// callOnce makes a call that has an Idempotency-Key.
func (a *api) callOnce(
	w http.ResponseWriter, r *http.Request, procedure wampcore.URI, as wanted, body wampcore.Raw, req bridge.CallRequest,
) error {
	return a.once(w, r, &as, body, func(ctx context.Context) (reply, error) {
		payload, err := a.cfg.Bridge.Call(ctx, a.principal(r), procedure, req)
		if err != nil {
			return reply{}, err
		}
		return as.result(payload), nil
	})
}

// callInParts makes a call whose results are answered as they come.
func (a *api) callInParts(
	w http.ResponseWriter, r *http.Request, procedure wampcore.URI, as wanted, req bridge.CallRequest,
) error {
	if len(r.Header[idempotencyKey]) > 0 {
		return errKeyOfStream()
	}
	ctx, cancel := context.WithTimeout(r.Context(), req.Options.Timeout)
	defer cancel()
	req.Options.Timeout = 0 // the context's
	return a.progress(w, r, as, a.cfg.Bridge.Exchange(ctx, a.principal(r), procedure, whole(req.Payload), req.Options), cancel)
}

// result returns the answer to a call.
func (as wanted) result(p wampcore.Payload) reply {
	rep := reply{status: http.StatusOK, kind: as.answer.header, choice: true}
	if e := as.answer.format.encoding(); as.value {
		rep.body = bridge.FirstArgIn(p, e)
	} else {
		rep.body = bridge.AppendResult(nil, e, p)
	}
	return rep
}
