package client

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// pending is a request that waits for its answer.
type pending struct {
	kind   wampcore.MessageType
	answer chan answer            // of size 1
	accept func(wampcore.Message) // called by the reader before the answer is passed on; may be nil
	parts  chan wampcore.Payload  // progressive results; nil if none were asked for
	bytes  atomic.Int64           // of those that wait
	undo   func(wampcore.Message) // called instead of accept if nobody waits any more; nil: there is nothing to undo
	given  bool                   // given up, and kept for undo
}

func (s *Session) newPending(kind wampcore.MessageType) *pending {
	p, ok := s.spare.Get().(*pending)
	if !ok {
		p = &pending{answer: make(chan answer, 1)}
	}
	p.kind = kind
	return p
}

type answer struct {
	id      wampcore.ID // of a subscription, registration or publication
	payload wampcore.Payload
	err     error
	givenUp bool // nobody waits any more for what the router says
}

// answered passes an answer to the one who waits. One for a request that was given up, or never made, is dropped.
func (s *Session) answered(kind wampcore.MessageType, request wampcore.ID, m wampcore.Message, a answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[request]
	if p == nil {
		return nil
	}
	if p.kind != kind {
		return wampcore.Violation("request %d is of type %d, not %d", request, p.kind, kind)
	}
	delete(s.pending, request)
	defer s.settle()
	if p.given {
		p.undo(m)
		return nil
	}
	if p.accept != nil && a.err == nil {
		p.accept(m) // under the lock, before the next message is looked at
	}
	p.answer <- a
	return nil
}

// request sends what build makes of the next request id, and waits for the answer.
func (s *Session) request(ctx context.Context, p *pending, build func(wampcore.ID) wampcore.Message) (wampcore.ID, answer) {
	id, err := s.begin(ctx, p, build)
	if err != nil {
		return 0, answer{err: err}
	}
	return id, s.await(ctx, id, p)
}

func (s *Session) await(ctx context.Context, id wampcore.ID, p *pending) answer {
	select {
	case a := <-p.answer:
		return a
	case <-ctx.Done():
		return s.giveUp(id, p, context.Cause(ctx))
	}
}

// callGrace is how long after a call's timeout the router's word is waited for, or that of a callee that measures the time itself.
const callGrace = 100 * time.Millisecond

// awaitFor is await for a call that has a timeout, unless that is 0. It costs less than a context with a deadline.
func (s *Session) awaitFor(ctx context.Context, timeout time.Duration, id wampcore.ID, p *pending) answer {
	if timeout <= 0 {
		return s.await(ctx, id, p)
	}
	timeout += callGrace
	timer, ok := s.timers.Get().(*time.Timer)
	if !ok {
		timer = time.NewTimer(timeout)
	} else {
		timer.Reset(timeout)
	}
	defer func() {
		timer.Stop()
		s.timers.Put(timer)
	}()
	select {
	case a := <-p.answer:
		return a
	case <-ctx.Done():
		return s.giveUp(id, p, context.Cause(ctx))
	case <-timer.C:
		return s.giveUp(id, p, context.DeadlineExceeded)
	}
}

func (s *Session) giveUp(id wampcore.ID, p *pending, err error) answer {
	if s.abandon(id) {
		return answer{err: err, givenUp: true}
	}
	return <-p.answer // it came at the same moment
}

// begin waits for room and sends what build makes of the next request id.
func (s *Session) begin(ctx context.Context, p *pending, build func(wampcore.ID) wampcore.Message) (wampcore.ID, error) {
	if err := s.out.room(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	id, err := s.send(p, build)
	s.mu.Unlock()
	s.out.flush()
	return id, err
}

// send queues what build makes of the next request id. mu is held: ids go out in their order.
func (s *Session) send(p *pending, build func(wampcore.ID) wampcore.Message) (wampcore.ID, error) {
	if s.ctx.Err() != nil || s.closing && len(s.running) == 0 {
		return 0, ErrClosed
	}
	if p.answer == nil {
		p.answer = make(chan answer, 1)
	}
	s.lastRequest = s.lastRequest.Next()
	id := s.lastRequest
	s.pending[id] = p
	s.out.queue(build(id))
	return id, nil
}

// abandon forgets a request; it reports whether the answer had not come. What the router may grant all the same is taken
// back then.
func (s *Session) abandon(id wampcore.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, open := s.pending[id]
	switch {
	case !open:
	case p.undo != nil:
		p.given = true
	default:
		delete(s.pending, id)
	}
	s.settle()
	return open
}

// tell sends a request whose answer does not matter. mu is held.
func (s *Session) tell(build func(wampcore.ID) wampcore.Message) {
	if s.ctx.Err() != nil || s.parting {
		return
	}
	s.lastRequest = s.lastRequest.Next()
	s.out.put(build(s.lastRequest))
}
