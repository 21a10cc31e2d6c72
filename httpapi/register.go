package httpapi

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// register offers a procedure for as long as its invocations are read.
func (a *api) register(w http.ResponseWriter, r *http.Request) error {
	offer, err := a.offer(r)
	if err != nil {
		return err
	}
	format := streamFormat(r)
	if format == noStream {
		if !accepts(r, contentTypes[eventStream]) {
			return newProblem(http.StatusNotAcceptable, "this goes on: accept text/event-stream or application/jsonl")
		}
		format = eventStream
	}
	ctx, cancel := a.bounded(r)
	last := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("lastEventId"))
	reader, err := a.cfg.Bridge.Offer(ctx, a.principal(r), offer, last)
	cancel()
	if err != nil {
		return err
	}
	defer reader.Close()
	s := a.stream(w, format)
	if format == eventStream {
		s.write([]byte("retry: 1000\n"))
	}
	id, ready := reader.Ready()
	s.event(id, "wamp.ready", ready)
	for s.err == nil {
		a.nextInvocations(r, reader, s)
	}
	return nil // the answer has begun: whatever it was has been said in the stream, or nobody listens
}

// nextInvocations waits for notices and writes them, or a heartbeat if there are none for a while.
func (a *api) nextInvocations(r *http.Request, reader *bridge.OfferReader, s *streamWriter) {
	beat := a.cfg.Heartbeat*3/4 + rand.N(a.cfg.Heartbeat/2)
	ctx, cancel := context.WithTimeout(r.Context(), beat)
	defer cancel()
	notices, err := reader.Next(ctx)
	switch {
	case err == nil:
	case r.Context().Err() != nil:
		if why := farewellOf(r); why != "" {
			s.event("", "wamp.bye", why.data())
		}
		s.err = context.Cause(r.Context())
		return
	case errors.Is(err, context.DeadlineExceeded):
		s.beat()
		return
	case errors.Is(err, bridge.ErrDraining):
		s.write(framing{format: s.format}.drained())
		s.err = err
		return
	default:
		s.event("", "wamp.error", asOfferProblem(err).encode(requestID(r)))
		s.err = err
		return
	}
	s.buf = s.buf[:0]
	for _, n := range notices {
		s.buf = s.format.appendFrame(s.buf, n.ID, n.Kind, n.Data)
	}
	s.write(s.buf)
}

func asOfferProblem(err error) *problem {
	if errors.Is(err, bridge.ErrReplaced) {
		return newProblem(http.StatusConflict, err.Error())
	}
	return asProblem(err)
}

// offer returns what the path and the query ask for.
func (a *api) offer(r *http.Request) (o bridge.OfferRequest, err error) {
	q := r.URL.Query()
	if o.Match, err = parseMatch(q.Get("match")); err != nil {
		return o, err
	}
	if o.Procedure, err = a.pattern(r, "procedure", o.Match); err != nil {
		return o, err
	}
	if o.Invoke, err = parseInvoke(q.Get("invoke")); err != nil {
		return o, err
	}
	if text := q.Get("concurrency"); text != "" {
		if o.Concurrency, err = strconv.Atoi(text); err != nil || o.Concurrency < 1 || o.Concurrency > bridge.MaxConcurrency {
			return o, newProblem(http.StatusBadRequest, "concurrency is a number from 1 to "+strconv.Itoa(bridge.MaxConcurrency))
		}
	}
	return o, nil
}

func parseInvoke(name string) (wampcore.Invoke, error) {
	if name == "" {
		return wampcore.InvokeSingle, nil
	}
	for i := wampcore.InvokeSingle; i <= wampcore.InvokeLeastPending; i++ {
		if i.String() == name {
			return i, nil
		}
	}
	return 0, newProblem(http.StatusBadRequest,
		"invoke="+name+" is not known; it is single, roundrobin, random, first, last or _leastpending")
}

// yield answers an invocation, or a part of it.
func (a *api) yield(w http.ResponseWriter, r *http.Request) error {
	body, err := a.body(w, r, bodyFormat(r))
	if err != nil {
		return err
	}
	req, err := bridge.ParseYield(body, bridge.As(r.URL.Query().Get("as")))
	if err != nil {
		return err
	}
	return a.answered(w, r, func(ctx context.Context, p bridge.Principal, id string) error {
		return a.cfg.Bridge.Yield(ctx, p, id, req)
	})
}

// fail answers an invocation with an error.
func (a *api) fail(w http.ResponseWriter, r *http.Request) error {
	body, err := a.body(w, r, bodyFormat(r))
	if err != nil {
		return err
	}
	e, err := bridge.ParseError(body)
	if err != nil {
		return err
	}
	return a.answered(w, r, func(ctx context.Context, p bridge.Principal, id string) error {
		return a.cfg.Bridge.Fail(ctx, p, id, e)
	})
}

func (a *api) answered(
	w http.ResponseWriter, r *http.Request, give func(ctx context.Context, p bridge.Principal, id string) error,
) error {
	ctx, cancel := a.bounded(r)
	defer cancel()
	switch err := give(ctx, a.principal(r), chi.URLParam(r, "invocation")); {
	case err == nil:
		noContent(w)
		return nil
	case errors.Is(err, bridge.ErrGone):
		return newProblem(http.StatusGone, err.Error())
	case errors.Is(err, bridge.ErrNoInvocation):
		return newProblem(http.StatusNotFound, err.Error())
	default:
		return err
	}
}
