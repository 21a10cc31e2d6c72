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
	as, err := a.wanted(r, encodings)
	if err != nil {
		return err
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
	req.Options.Timeout = 0 // the deadline's
	req.Options.Custom = traced(r, req.Options.Custom)
	return a.once(w, r, &as, body, func(ctx context.Context) (reply, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		payload, err := a.cfg.Bridge.Call(ctx, a.principal(r), procedure, req)
		if err != nil {
			return reply{}, err
		}
		return as.result(payload), nil
	})
}

// result returns the answer to a call.
func (as *wanted) result(p wampcore.Payload) reply {
	rep := reply{status: http.StatusOK, kind: as.answer.header, choice: true}
	if e := as.answer.format.encoding(); as.value {
		rep.body = bridge.FirstArgIn(p, e)
	} else {
		rep.body = bridge.AppendResult(nil, e, p)
	}
	return rep
}
