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
	release, err := a.more(r, len(calls))
	if err != nil {
		return err
	}
	defer release()
	timeout, err := a.timeout(r, 0)
	if err != nil {
		return err
	}
	for i := range calls {
		calls[i].Options.Custom = traced(r, calls[i].Options.Custom)
	}
	return a.once(w, r, &as, body, func(ctx context.Context) (reply, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		l := as.list(len(calls))
		for _, called := range a.cfg.Bridge.CallEach(ctx, a.principal(r), calls) {
			if called.Err != nil {
				l.problem(a.asked(r, asProblem(called.Err)), r)
			} else {
				l.add(bridge.AppendResult(nil, l.encoding, called.Payload))
			}
		}
		return l.reply(&as), nil
	})
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
	release, err := a.more(r, len(items))
	if err != nil {
		return err
	}
	defer release()
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
	return a.once(w, r, &as, body, func(ctx context.Context) (reply, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		published, err := a.cfg.Bridge.PublishEach(ctx, a.principal(r), items)
		if err != nil {
			return reply{}, err
		}
		l := as.list(len(published))
		for _, p := range published {
			if p.Err != nil {
				l.problem(a.asked(r, asProblem(p.Err)), r)
			} else {
				l.add(bridge.Transcode(wampcore.Raw{Encoding: wampcore.JSON, Bytes: publication(p.ID)}, l.encoding))
			}
		}
		return l.reply(&as), nil
	})
}

// publication returns what is said of a publication, with the cursor behind it: nothing where it was not acknowledged.
func publication(id wampcore.ID) []byte {
	if id == 0 {
		return []byte("{}")
	}
	b := strconv.AppendUint([]byte(`{"publication":`), uint64(id), 10)
	b = bridge.AppendCursor(append(b, `,"cursor":"`...), id)
	return append(b, `"}`...)
}

// answerList is the answer to a batch, in the making.
type answerList struct {
	encoding wampcore.Encoding
	elements [][]byte
	executed bool // one of them may have been
}

func (as *wanted) list(n int) answerList {
	return answerList{encoding: as.answer.format.encoding(), elements: make([][]byte, 0, n)}
}

func (l *answerList) add(element []byte) {
	l.elements = append(l.elements, element)
	l.executed = true
}

func (l *answerList) problem(p *problem, r *http.Request) {
	l.elements = append(l.elements, bridge.Transcode(wampcore.Raw{Encoding: wampcore.JSON, Bytes: p.encode(requestID(r))}, l.encoding))
	l.executed = l.executed || p.Outcome != notExecuted
}

func (l *answerList) reply(as *wanted) reply {
	return reply{
		status: http.StatusOK, kind: as.answer.header, choice: true, nothing: !l.executed,
		body: wampcore.AppendList(nil, l.encoding, l.elements),
	}
}
