package bridge

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

const joinTimeout = 10 * time.Second

// Why streams end, beside what the router says.
var (
	ErrSlow    = errors.New("the reader does not keep up with the events")
	ErrExpired = errors.New("the time of the stream is over")
	ErrHungUp  = errors.New("the reader is gone")
)

// GapError is why a stream that is to have no gap does not begin.
type GapError struct{ Reason string }

// Error returns the reason.
func (e *GapError) Error() string { return e.Reason }

// Stream is a subscription to topics by one reader. It has no goroutine of its own: what there is to do is done in turns.
type Stream struct {
	b     *Bridge
	p     Principal
	req   StreamRequest // here, and not elsewhere: what each event looks at is in few places
	serve func() error  // one turn; ErrResting: there will be another one
	over  func(error)
	wake  chan struct{} // of size 1; wakes the first turn, while there is no sink; then nil

	mu          sync.Mutex
	resting     bool // nobody serves it: there is nothing to do
	id          wampcore.ID
	err         error // why it is over
	drained     bool  // it may only be over because the bridge drains
	interrupted bool
	sink        Sink     // nil before it begins
	opening     *opening // nil when what comes goes to the reader as it comes
	blocked     bool     // the sink has enough
	backlog     backlog
	scheduled   bool // the bridge will flush it
	reserved    bool // only is the router's own
	restored    int  // of the subscriptions, after a loss

	subscriptions []wampcore.ID      // of req.Topics
	requests      []wampcore.Message // for the router
	answer        *answer            // of the router, to the question that is open
	asking        wampcore.ID        // the question's request; 0: there is none
	askedAt       uint64             // seen, when it was asked
	lastRequest   wampcore.ID

	only   wampcore.URI // the topic, where there is one
	last   wampcore.ID  // the publication that came last
	cursor wampcore.ID  // what the reader has seen
	seen   uint64       // events
	beats  int
	timer  *time.Timer // of the heartbeat, which before it begins is that of the beginning
}

// answer is what the router says to a question.
type answer struct {
	payload wampcore.Payload
	err     error
}

// Stream subscribes to topics, and has the stream served until it is over. Then over is called, whose error says why it did not begin. ctx counts
// until it begins.
func (b *Bridge) Stream(ctx context.Context, p Principal, req *StreamRequest, over func(error)) {
	if req.Heartbeat <= 0 {
		req.Heartbeat = 15 * time.Second
	}
	if req.Timeout <= 0 {
		req.Timeout = joinTimeout
	}
	s := &Stream{
		b: b, p: p, req: *req, over: over, wake: make(chan struct{}, 1), opening: newOpening(req), subscriptions: make([]wampcore.ID, len(req.Topics)),
	}
	if len(req.Topics) == 1 {
		s.only, s.reserved = req.Topics[0].URI, req.Topics[0].URI.Reserved()
	}
	s.backlog.bound(b.cfg.StreamEvents, b.cfg.StreamBytes)
	s.req.Cursor = ""
	if err := b.admit(s); err != nil {
		over(err)
		return
	}
	s.opening.begun = context.AfterFunc(ctx, func() { s.End(context.Cause(ctx)) })
	s.mu.Lock()
	s.timer = time.AfterFunc(req.Timeout, s.beat)
	s.mu.Unlock()
	if b.cfg.Attach != nil {
		s.open(p.Realm)
		s.serve = b.cfg.Attach(peer{s}, p)
	} else {
		s.serve = s.share(ctx)
	}
	go s.turn() // the bridge waits for its last one, through release
}

// turn does what there is to do, on a goroutine that ends when there is nothing.
func (s *Stream) turn() {
	for {
		err := s.serve()
		if !errors.Is(err, wampcore.ErrResting) {
			s.End(err)
			s.leave()
			return
		}
		s.mu.Lock()
		s.resting = s.idle()
		resting := s.resting
		s.mu.Unlock()
		if resting {
			return
		}
	}
}

// idle reports whether there is nothing to do. mu is held.
func (s *Stream) idle() bool {
	return s.err == nil && !s.interrupted && len(s.requests) == 0 && s.answer == nil && (s.opening == nil || !s.opening.more || s.blocked)
}

// leave says the last word.
func (s *Stream) leave() {
	s.mu.Lock()
	o := s.opening
	s.mu.Unlock()
	if o != nil {
		o.begun()
	}
	err := s.finish()
	s.b.release(s)
	s.over(err)
}

// ID returns the id of the session that the stream began with.
func (s *Stream) ID() wampcore.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// End ends the stream. The first reason counts; nil is that the session is over.
func (s *Stream) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(err)
}

// end is End with mu held.
func (s *Stream) end(err error) {
	if s.err != nil {
		return
	}
	hungUp := errors.Is(err, ErrHungUp)
	switch {
	case s.drained && !hungUp:
		err = ErrDraining
	case err == nil:
		err = wampcore.ErrClosed
	}
	if hungUp || errors.Is(err, ErrSlow) {
		s.backlog.clear()
	}
	s.err = err
	s.notify()
}

// notify has the stream served. mu is held.
func (s *Stream) notify() {
	if s.sink != nil {
		if s.resting {
			s.resting = false
			go s.turn()
		}
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// finish says the last word. It returns the stream's error if it never began.
func (s *Stream) finish() error {
	s.mu.Lock()
	sink, err := s.sink, s.err
	rest := bytes.Join(s.backlog.frames, nil)
	s.timer.Stop()
	s.mu.Unlock()
	if sink == nil {
		return err
	}
	s.b.streamStats.ended(err)
	switch {
	case errors.Is(err, ErrHungUp):
		sink.Cut()
	default:
		sink.Finish(append(rest, s.req.Frames.Last(err)...))
	}
	return nil
}

// cut ends the stream, whatever its reader does.
func (s *Stream) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(ErrDraining)
	if s.sink != nil {
		s.sink.Cut()
	}
}

// next returns what there is to ask the router. It does what the stream has to do, and waits until that has begun; then it rests.
func (s *Stream) next() (wampcore.Message, error) {
	for {
		s.mu.Lock()
		if s.opening != nil && s.opening.more && !s.blocked {
			s.opening.more = false
			s.askForPage()
		}
		m, a, err := s.take()
		sink := s.sink
		s.mu.Unlock()
		switch {
		case err != nil || m != nil:
			return m, err
		case a != nil:
			s.answered(a)
		case sink == nil:
			<-s.wake
		default:
			return nil, wampcore.ErrResting
		}
	}
}

// take returns a request, or the router's answer. mu is held.
func (s *Stream) take() (wampcore.Message, *answer, error) {
	switch {
	case s.interrupted:
		return nil, nil, wampcore.ErrInterrupted
	case s.err != nil:
		return nil, nil, wampcore.ErrClosed
	case len(s.requests) > 0:
		m := s.requests[0]
		if s.requests = s.requests[1:]; len(s.requests) == 0 {
			s.requests = nil
		}
		return m, nil, nil
	}
	a := s.answer
	s.answer = nil
	return nil, a, nil
}

// request queues a message for the router. mu is held.
func (s *Stream) request(build func(wampcore.ID) wampcore.Message) wampcore.ID {
	s.lastRequest = s.lastRequest.Next()
	s.requests = append(s.requests, build(s.lastRequest))
	return s.lastRequest
}

// event takes an event that came. mu is held.
func (s *Stream) event(o *outgoing, e *wampcore.Event) {
	if s.err != nil || e.Details.Retained && (s.opening == nil || !s.req.Retained) {
		return
	}
	if !e.Details.Retained {
		if e.Publication == s.last { // another of the subscriptions gets it, too
			return
		}
		s.last = e.Publication
	}
	topic, reserved := s.topicOf(e)
	if s.opening != nil {
		// What comes before all is subscribed to has no known place among the rest.
		if e.Details.Retained || !s.opening.lost && !slices.Contains(s.subscriptions, 0) {
			s.opening.hold(topic, e, &s.b.cfg)
		}
		return
	}
	if !reserved {
		s.cursor = e.Publication
	}
	s.seen++
	o.frames = append(o.frames, s.req.Frames.Event(topic, e))
	if s.req.Slow == SlowConflate {
		o.topics = append(o.topics, topic)
	}
}

// topicOf returns an event's topic, and whether that is the router's own.
func (s *Stream) topicOf(e *wampcore.Event) (topic wampcore.URI, reserved bool) {
	switch {
	case e.Details.Topic != "":
		return e.Details.Topic, e.Details.Topic.Reserved()
	case s.only != "":
		return s.only, s.reserved
	}
	topic = s.req.Topics[0].URI
	for i, id := range s.subscriptions {
		if id == e.Subscription {
			topic = s.req.Topics[i].URI
			break
		}
	}
	return topic, topic.Reserved()
}

// revoked ends the stream when the router takes one of its subscriptions away: its reader would wait in vain. mu is held.
func (s *Stream) revoked(d wampcore.RevokedDetails) { s.end(revocation(d)) }

func revocation(d wampcore.RevokedDetails) error {
	reason := d.Reason
	if reason == "" {
		reason = "the router took it away"
	}
	return &wampcore.Error{URI: wampcore.ErrNotAuthorized, Message: reason}
}
