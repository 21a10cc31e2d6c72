package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// How many elements a batch may have.
const (
	maxCalls        = 100
	maxPublications = 1000
)

// batch reads what all batches have in common, and their bodies.
func (a *api) batch(w http.ResponseWriter, r *http.Request) (wanted, wampcore.Raw, error) {
	as, err := a.wanted(r, encodings)
	switch {
	case err != nil:
		return as, wampcore.Raw{}, err
	case as.as != bridge.AsEnvelope || as.value: // a problem could not be told from a value
		return as, wampcore.Raw{}, newProblem(http.StatusBadRequest, "a batch has neither as= nor result=: its elements are envelopes, and so are its answers")
	}
	body, err := a.body(w, r, as.body)
	return as, body, err
}

// callEach makes calls side by side and answers with their results, or problems, in order.
func (a *api) callEach(w http.ResponseWriter, r *http.Request) error {
	as, body, err := a.batch(w, r)
	if err != nil {
		return err
	}
	calls, err := bridge.ParseCalls(body, maxCalls)
	if err != nil {
		return err
	}
	timeout, err := a.timeout(r, 0)
	if err != nil {
		return err
	}
	for i := range calls {
		calls[i].Options.Custom = traced(r, calls[i].Options.Custom)
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	e := as.answer.format.encoding()
	answers := make([][]byte, len(calls))
	for i, called := range a.cfg.Bridge.CallEach(ctx, a.principal(r), calls) {
		if called.Err != nil {
			answers[i] = a.element(r, e, called.Err)
		} else {
			answers[i] = bridge.AppendResult(nil, e, called.Payload)
		}
	}
	as.list(answers).write(w, r)
	return nil
}

// publishEach publishes all, or nothing if the router would refuse any.
func (a *api) publishEach(w http.ResponseWriter, r *http.Request) error {
	as, body, err := a.batch(w, r)
	if err != nil {
		return err
	}
	items, err := bridge.ParsePublications(body, maxPublications)
	if err != nil {
		return err
	}
	timeout, err := a.timeout(r, 0)
	if err != nil {
		return err
	}
	for i := range items {
		if err := checkURI(items[i].Topic, wampcore.MatchExact); err != nil {
			return &bridge.RefusedError{Index: i, Topic: items[i].Topic, Err: err}
		}
		items[i].Options.Custom = traced(r, items[i].Options.Custom)
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	published, err := a.cfg.Bridge.PublishEach(ctx, a.principal(r), items)
	if err != nil {
		return err
	}
	e := as.answer.format.encoding()
	answers := make([][]byte, len(published))
	for i, p := range published {
		if p.Err != nil {
			answers[i] = a.element(r, e, p.Err)
		} else {
			answers[i] = bridge.Transcode(wampcore.Raw{Encoding: wampcore.JSON, Bytes: publication(p.ID)}, e)
		}
	}
	as.list(answers).write(w, r)
	return nil
}

// publication returns what is said of a publication: nothing where it was not acknowledged.
func publication(id wampcore.ID) []byte {
	if id == 0 {
		return []byte("{}")
	}
	return append(strconv.AppendUint([]byte(`{"publication":`), uint64(id), 10), '}')
}

// element returns the problem of one element of a batch.
func (a *api) element(r *http.Request, e wampcore.Encoding, err error) []byte {
	body := a.asked(r, asProblem(err)).encode(requestID(r))
	return bridge.Transcode(wampcore.Raw{Encoding: wampcore.JSON, Bytes: body}, e)
}

// list returns the answer to a batch.
func (as *wanted) list(answers [][]byte) reply {
	body := wampcore.AppendList(nil, as.answer.format.encoding(), answers)
	return reply{status: http.StatusOK, kind: as.answer.header, body: body, choice: true}
}
