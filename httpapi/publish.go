package httpapi

import (
	"context"
	"net/http"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

func (a *api) publish(w http.ResponseWriter, r *http.Request) error {
	topic, err := a.uri(r, "topic")
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
	req, err := bridge.ParsePublish(body, as.as)
	if err != nil {
		return err
	}
	timeout, err := a.timeout(r, 0)
	if err != nil {
		return err
	}
	req.Options.Custom = traced(r, req.Options.Custom)
	return a.once(w, r, &as, body, func(ctx context.Context) (reply, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		id, err := a.cfg.Bridge.Publish(ctx, a.principal(r), topic, req)
		switch {
		case err != nil:
			return reply{}, err
		case !req.Options.Acknowledge:
			return reply{status: http.StatusAccepted}, nil
		}
		rep := as.json(publication(id))
		rep.header = http.Header{cursorHeader: {bridge.Cursor(id)}}
		return rep, nil
	})
}

// json returns an answer that was written in JSON, in the format that the client wants.
func (as *wanted) json(body []byte) reply {
	body = bridge.Transcode(wampcore.Raw{Encoding: wampcore.JSON, Bytes: body}, as.answer.format.encoding())
	return reply{status: http.StatusOK, kind: as.answer.header, body: body, choice: true}
}
