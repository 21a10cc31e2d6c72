package httpapi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// maxTopics is how many topics and patterns one stream may have.
const maxTopics = 100

func (a *api) subscribe(w http.ResponseWriter, r *http.Request) error {
	topics, err := a.topics(r)
	if err != nil {
		return err
	}
	if !accepts(r, "text/event-stream") {
		return newProblem(http.StatusNotAcceptable, "this is an event stream: accept text/event-stream")
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.CallTimeout)
	stream, err := a.cfg.Bridge.Stream(ctx, a.principal(r), topics)
	cancel()
	if err != nil {
		return err
	}
	defer a.endStream(stream) //nolint:contextcheck // the request is over by then
	s := a.stream(w, eventStream)
	s.write(fmt.Appendf(nil, "retry: 3000\nevent: wamp.ready\ndata: {\"stream\":\"%d\",\"resume\":\"live\"}\n\n", stream.ID()))
	for s.err == nil {
		a.next(r, stream, s)
	}
	return nil // the answer has begun: whatever it was has been said in the stream, or nobody listens
}

// next waits for events and writes them, or a heartbeat if there are none for a while. The stream's end is its error.
func (a *api) next(r *http.Request, stream *bridge.Stream, s *streamWriter) {
	beat := a.cfg.Heartbeat*3/4 + rand.N(a.cfg.Heartbeat/2)
	ctx, cancel := context.WithTimeout(r.Context(), beat)
	defer cancel()
	items, err := stream.Next(ctx)
	switch {
	case err == nil:
		s.items(items)
	case farewellOf(r) != "":
		s.event("", "wamp.bye", farewellOf(r).data())
		s.err = farewellOf(r)
	case r.Context().Err() != nil:
		s.err = r.Context().Err()
	case errors.Is(err, context.DeadlineExceeded):
		s.beat()
	case errors.Is(err, bridge.ErrDraining):
		s.write(fmt.Appendf(nil, "retry: %d\nevent: wamp.bye\ndata: {}\n\n", 1000+rand.IntN(4000)))
		s.err = err
	default:
		p := asProblem(err)
		if errors.Is(err, bridge.ErrSlow) {
			p = newProblem(http.StatusServiceUnavailable, err.Error())
			p.Retriable = true
		}
		s.event("", "wamp.error", p.encode(requestID(r)))
		s.err = err
	}
}

// endTimeout is how long the session of a stream that is over may take to say goodbye.
const endTimeout = 2 * time.Second

func (a *api) endStream(stream *bridge.Stream) {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if err := stream.Close(ctx); err != nil {
		a.cfg.Log.Debug().Err(err).Msg("a stream's session was cut")
	}
}

// topics returns what the path and the query ask for.
func (a *api) topics(r *http.Request) ([]bridge.Topic, error) {
	q := r.URL.Query()
	var topics []bridge.Topic
	if chi.URLParam(r, "topic") != "" {
		match, err := parseMatch(q.Get("match"))
		if err != nil {
			return nil, err
		}
		uri, err := a.pattern(r, "topic", match)
		if err != nil {
			return nil, err
		}
		topics = append(topics, bridge.Topic{URI: uri, Match: match})
	}
	for _, kind := range []struct {
		name  string
		match wampcore.Match
	}{{"topic", wampcore.MatchExact}, {"prefix", wampcore.MatchPrefix}, {"wildcard", wampcore.MatchWildcard}} {
		for _, uri := range q[kind.name] {
			if err := checkURI(wampcore.URI(uri), kind.match); err != nil {
				return nil, err
			}
			topics = append(topics, bridge.Topic{URI: wampcore.URI(uri), Match: kind.match})
		}
	}
	switch {
	case len(topics) == 0:
		return nil, newProblem(http.StatusBadRequest, "name a topic: /subscribe/{topic}, or topic=, prefix= or wildcard= in the query")
	case len(topics) > maxTopics:
		return nil, newProblem(http.StatusBadRequest, fmt.Sprintf("%d topics are more than the %d that one stream may have", len(topics), maxTopics))
	}
	return topics, nil
}

func parseMatch(name string) (wampcore.Match, error) {
	if name == "" {
		return wampcore.MatchExact, nil
	}
	for m := wampcore.MatchExact; m <= wampcore.MatchWildcard; m++ {
		if m.String() == name {
			return m, nil
		}
	}
	return 0, newProblem(http.StatusBadRequest, "match="+name+" is not known; it is exact, prefix or wildcard")
}

// items go out in one write.
func (s *streamWriter) items(items []bridge.Item) {
	s.buf = s.buf[:0]
	for _, item := range items {
		name := ""
		if item.Gap {
			name = "wamp.gap"
		}
		s.buf = s.format.appendFrame(s.buf, "", name, item.Data)
	}
	s.write(s.buf)
}
