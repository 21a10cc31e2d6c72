package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// maxTopics is how many topics and patterns one stream may have.
const maxTopics = 100

// subscribe streams events: as server-sent events, as lines of JSON, or as an answer for those who come again and again.
func (a *api) subscribe(w http.ResponseWriter, r *http.Request) error {
	req, err := a.streamRequest(r)
	if err != nil {
		return err
	}
	if isOver(req.Cursor) {
		noContent(w)
		return nil
	}
	wait, polling, err := pollTime(r)
	if err != nil {
		return err
	}
	if polling {
		return a.poll(w, r, req, wait)
	}
	f := framing{format: streamFormat(r), named: r.URL.Query().Get("event") == "topic"}
	if f.format == noStream {
		f.format = eventStream
	}
	if !accepts(r, contentTypes[f.format]) && streamFormat(r) == noStream {
		return newProblem(http.StatusNotAcceptable, "this is a stream of events: accept text/event-stream or application/jsonl, or application/json with ?wait=")
	}
	if canHijack(w, r) {
		f.chunked = r.ProtoMinor > 0
		return a.streamRaw(w, r, req, f)
	}
	return a.streamWritten(w, r, req, f)
}

// streamRaw begins a stream that goes on when the handler has returned, and the buffers of net/http are given back.
func (a *api) streamRaw(w http.ResponseWriter, r *http.Request, req *bridge.StreamRequest, f framing) error {
	return a.begin(r, req, f, func(who *requester, s *bridge.Stream) (bridge.Sink, error) {
		k, err := a.newRawSink(w, r, s, f)
		if err != nil {
			return nil, err
		}
		a.watched.takeOver(who, s)
		return k, nil
	})
}

// streamWritten begins a stream that net/http writes, with whose goroutine the request stays when the handlers have returned.
func (a *api) streamWritten(w http.ResponseWriter, r *http.Request, req *bridge.StreamRequest, f framing) error {
	boundUnsent(r)
	err := a.begin(r, req, f, func(who *requester, s *bridge.Stream) (bridge.Sink, error) {
		a.watched.takeOver(who, s)
		who.sink = a.newWriterSink(w, s, f)
		return who.sink, nil
	})
	if err == nil {
		factsOf(r.Context()).goesOn = requesterOf(r).sink
	}
	return err
}

// begin returns when a stream has begun, or why it does not.
func (a *api) begin(
	r *http.Request, req *bridge.StreamRequest, f framing, open func(*requester, *bridge.Stream) (bridge.Sink, error),
) error {
	who, begun := requesterOf(r), make(chan error, 1)
	who.begun = begun
	req.Frames = lastFrames{f, requestID(r)}
	req.Ready = func(s *bridge.Stream) (bridge.Sink, error) {
		k, err := open(who, s)
		if err == nil {
			who.begun = nil // a stream that goes on does not keep it
			begun <- nil
		}
		return k, err
	}
	a.cfg.Bridge.Stream(r.Context(), a.principal(r), req, func(err error) { a.streamOver(who, err) })
	return <-begun
}

// streamOver is called when a stream is over, or could not begin.
func (a *api) streamOver(who *requester, err error) {
	if who.begun != nil {
		who.begun <- err
		return
	}
	a.over(who)
	if who.sink != nil {
		who.sink.end()
	}
}

// canHijack reports whether a request's connection can be taken over: it is HTTP/1's alone, in the clear, and nothing of a body is to come.
func canHijack(w http.ResponseWriter, r *http.Request) bool {
	if r.ProtoMajor != 1 || r.TLS != nil || r.ContentLength != 0 {
		return false
	}
	for {
		switch v := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return false
		}
	}
}

// streamRequest returns what the request asks for.
func (a *api) streamRequest(r *http.Request) (req *bridge.StreamRequest, err error) {
	req = new(bridge.StreamRequest)
	q := r.URL.Query()
	if req.Topics, err = a.topics(r); err != nil {
		return req, err
	}
	req.Cursor = cmp.Or(r.Header.Get("Last-Event-ID"), q.Get("cursor"), q.Get("lastEventId"), q.Get("lastEventID"))
	req.Timeout, req.Heartbeat = a.cfg.CallTimeout, a.cfg.Heartbeat
	for _, option := range []struct {
		name  string
		known []string
		set   func(i int)
	}{
		{"retained", []string{"0", "1"}, func(i int) { req.Retained = i == 1 }},
		{"on_gap", []string{"continue", "fail"}, func(i int) { req.FailOnGap = i == 1 }},
		{"event", []string{"message", "topic"}, func(int) {}},
		{"slow", []string{"disconnect", "drop_oldest", "conflate"}, func(i int) { req.Slow = bridge.Slow(i) }},
	} {
		if !q.Has(option.name) {
			continue
		}
		i := slices.Index(option.known, q.Get(option.name))
		if i < 0 {
			return req, newProblem(http.StatusBadRequest,
				option.name+"="+q.Get(option.name)+" is not known; it is "+strings.Join(option.known, " or "))
		}
		option.set(i)
	}
	return req, nil
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
	} else if q.Has("match") {
		return nil, newProblem(http.StatusBadRequest, "match= is for the topic of a path; in the query there are topic=, prefix= and wildcard=")
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
