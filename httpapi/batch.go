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

// batch is a request with many elements.
type batch[T any] struct {
	most    int
	parse   func(body wampcore.Raw, most int) ([]T, error)
	prepare func(r *http.Request, i int, element *T) error
	do      func(ctx context.Context, r *http.Request, elements []T, answers *answerList) error
}

// answer does all elements within the request's time, and answers with what became of each, in order.
func (b batch[T]) answer(a *api, w http.ResponseWriter, r *http.Request) error {
	as, err := a.wanted(r, encodings)
	switch {
	case err != nil:
		return err
	case as.as != bridge.AsEnvelope || as.value: // a problem could not be told from a value
		return newProblem(http.StatusBadRequest, "a batch has neither as= nor result=: its elements are envelopes, and so are its answers")
	}
	body, err := a.body(w, r, as.body)
	if err != nil {
		return err
	}
	elements, err := b.parse(body, b.most)
	if err != nil {
		return err
	}
	release, err := a.more(r, len(elements))
	if err != nil {
		return err
	}
	defer release()
	timeout, err := a.timeout(r, 0)
	if err != nil {
		return err
	}
	for i := range elements {
		if err := b.prepare(r, i, &elements[i]); err != nil {
			return err
		}
	}
	return a.once(w, r, &as, body, func(ctx context.Context) (reply, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		l := as.list(len(elements))
		if err := b.do(ctx, r, elements, &l); err != nil {
			return reply{}, err
		}
		return l.reply(&as), nil
	})
}

// callEach makes calls side by side and answers with their results, or problems, in order.
func (a *api) callEach(w http.ResponseWriter, r *http.Request) error {
	return batch[bridge.CallItem]{
		most: maxCalls, parse: bridge.ParseCalls,
		prepare: func(r *http.Request, _ int, call *bridge.CallItem) error {
			call.Options.Custom = traced(r, call.Options.Custom)
			return nil
		},
		do: func(ctx context.Context, r *http.Request, calls []bridge.CallItem, answers *answerList) error {
			for _, called := range a.cfg.Bridge.CallEach(ctx, a.principal(r), calls) {
				if called.Err != nil {
					answers.problem(a.asked(r, asProblem(called.Err)), r)
				} else {
					answers.add(bridge.AppendResult(nil, answers.encoding, called.Payload))
				}
			}
			return nil
		},
	}.answer(a, w, r)
}

// publishEach publishes all, or nothing if the router would refuse any.
func (a *api) publishEach(w http.ResponseWriter, r *http.Request) error {
	return batch[bridge.PublishItem]{
		most: maxPublications, parse: bridge.ParsePublications,
		prepare: func(r *http.Request, i int, item *bridge.PublishItem) error {
			if err := checkURI(item.Topic, wampcore.MatchExact); err != nil {
				return &bridge.RefusedError{Index: i, Topic: item.Topic, Err: err}
			}
			item.Options.Custom = traced(r, item.Options.Custom)
			return nil
		},
		do: func(ctx context.Context, r *http.Request, items []bridge.PublishItem, answers *answerList) error {
			published, err := a.cfg.Bridge.PublishEach(ctx, a.principal(r), items)
			if err != nil {
				return err
			}
			for _, p := range published {
				if p.Err != nil {
					answers.problem(a.asked(r, asProblem(p.Err)), r)
				} else {
					answers.add(bridge.Transcode(wampcore.Raw{Encoding: wampcore.JSON, Bytes: publication(p.ID)}, answers.encoding))
				}
			}
			return nil
		},
	}.answer(a, w, r)
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
