package client

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// Call calls a procedure. When ctx ends first, the call is cancelled (killnowait), and so it is shortly after the timeout of opts
// if nobody has answered by then. A deadline of ctx is sent as the call's timeout, unless opts has one. A call that fails returns a
// *wampcore.Error.
func (s *Session) Call(
	ctx context.Context, procedure wampcore.URI, p wampcore.Payload, opts wampcore.CallOptions,
) (wampcore.Payload, error) {
	opts.ReceiveProgress, opts.Progress = false, false
	given := opts.Timeout
	opts.Timeout = timeout(ctx, given)
	req := s.newPending(wampcore.TypeCall)
	id, err := s.begin(ctx, req, func(id wampcore.ID) wampcore.Message {
		return &wampcore.Call{Request: id, Options: opts, Procedure: procedure, Payload: p}
	})
	if err != nil {
		return wampcore.Payload{}, err
	}
	a := s.awaitFor(ctx, given, id, req)
	s.spare.Put(req)
	if a.givenUp {
		s.out.put(&wampcore.Cancel{Request: id, Mode: wampcore.CancelKillNoWait})
	}
	return a.payload, a.err
}

// timeout returns what a call says of its time: opts', else what is left until ctx ends.
func timeout(ctx context.Context, given time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok && given == 0 {
		return max(time.Until(deadline), time.Millisecond)
	}
	return given
}

// cancelCall gives a call up, if its answer has not come. The id 0 is none.
func (s *Session) cancelCall(id wampcore.ID) {
	if id != 0 && s.abandon(id) {
		s.out.put(&wampcore.Cancel{Request: id, Mode: wampcore.CancelKillNoWait})
	}
}

// Part is a piece of a call or of its result. The last one is final.
type Part struct {
	Payload wampcore.Payload
	Final   bool
}

// ErrSlow is why a call ends whose results come faster than they are taken.
var ErrSlow = errors.New("client: progressive results come faster than they are taken")

// CallParts calls a procedure and yields its results as they come: progressive ones, then the final one, or an error. To
// stop taking them, or the end of ctx, cancels the call. At most Config.EventQueue results of Config.PartBytes wait to be
// taken; one more ends the call with ErrSlow.
func (s *Session) CallParts(
	ctx context.Context, procedure wampcore.URI, p wampcore.Payload, opts wampcore.CallOptions,
) iter.Seq2[Part, error] {
	whole := func(context.Context) iter.Seq[Part] { return func(yield func(Part) bool) { yield(Part{p, true}) } }
	return s.Exchange(ctx, procedure, whole, opts)
}

// Exchange is CallParts for a call whose arguments come in parts, too, while results may come already (progressive call
// invocations). The parts are taken by a goroutine that Exchange waits for: the sequence has to end when the context that
// it gets does, which is when the call is over. A sequence that ends without a final part is ended by an empty one. The
// procedure's callee has to take calls in parts.
func (s *Session) Exchange(
	ctx context.Context, procedure wampcore.URI, parts func(context.Context) iter.Seq[Part], opts wampcore.CallOptions,
) iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var sending sync.WaitGroup
		defer sending.Wait()
		defer cancel()
		next, stop := iter.Pull(parts(ctx))
		first, more := next()
		if !more {
			first.Final = true
		}
		opts.ReceiveProgress, opts.Progress = true, !first.Final
		opts.Timeout = timeout(ctx, opts.Timeout)
		req := &pending{kind: wampcore.TypeCall, parts: make(chan wampcore.Payload, s.cfg.EventQueue)}
		id, err := s.begin(ctx, req, func(id wampcore.ID) wampcore.Message {
			return &wampcore.Call{Request: id, Options: opts, Procedure: procedure, Payload: first.Payload}
		})
		if err != nil {
			stop()
			yield(Part{}, err)
			return
		}
		sending.Go(func() {
			defer stop()
			if !first.Final {
				s.sendParts(ctx, id, procedure, next)
			}
		})
		defer s.cancelCall(id)
		s.receiveParts(ctx, req, yield)
	}
}

// sendParts sends the rest of a call, unless it is over before that.
func (s *Session) sendParts(ctx context.Context, id wampcore.ID, procedure wampcore.URI, next func() (Part, bool)) {
	for last := false; !last; {
		part, ok := next()
		last = part.Final || !ok
		if s.out.room(ctx) != nil {
			return
		}
		m := &wampcore.Call{Request: id, Procedure: procedure, Payload: part.Payload}
		m.Options.Progress = !last
		s.mu.Lock()
		if s.pending[id] == nil { // answered: what is sent now would not be looked at
			last = true
		} else {
			s.out.queue(m)
		}
		s.mu.Unlock()
		s.out.flush()
	}
}

func (s *Session) receiveParts(ctx context.Context, req *pending, yield func(Part, error) bool) {
	for {
		select {
		case p := <-req.parts:
			req.bytes.Add(-int64(p.Size()))
			if !yield(Part{Payload: p}, nil) {
				return
			}
		case a := <-req.answer:
			for len(req.parts) > 0 && !errors.Is(a.err, ErrSlow) { // they came before it
				if !yield(Part{Payload: <-req.parts}, nil) {
					return
				}
			}
			if a.err != nil {
				yield(Part{}, a.err)
				return
			}
			yield(Part{Payload: a.payload, Final: true}, nil)
			return
		case <-ctx.Done():
			yield(Part{}, context.Cause(ctx))
			return
		}
	}
}

// progress passes a progressive result on. The one who takes them may be too slow: that ends the call.
func (s *Session) progress(m *wampcore.Result) {
	s.mu.Lock()
	p := s.pending[m.Request]
	if p == nil || p.parts == nil {
		s.mu.Unlock()
		return // it was not asked for, or not any more
	}
	size := int64(m.Payload.Size())
	if waiting := p.bytes.Load(); waiting == 0 || waiting+size <= int64(s.cfg.PartBytes) {
		p.bytes.Add(size)
		select {
		case p.parts <- m.Payload.Take():
			s.mu.Unlock()
			return
		default:
		}
	}
	delete(s.pending, m.Request)
	p.answer <- answer{err: ErrSlow}
	s.settle()
	s.mu.Unlock()
	s.out.put(&wampcore.Cancel{Request: m.Request, Mode: wampcore.CancelKillNoWait})
}

// Testament scopes: when a session's testaments are published. Where sessions are not resumed, both come to the same.
const (
	ScopeDestroyed = "destroyed"
	ScopeDetached  = "detached"
)

// AddTestament has something published when this session ends, for whatever reason. [RFC session testament]
func (s *Session) AddTestament(
	ctx context.Context, topic wampcore.URI, p wampcore.Payload, opts wampcore.PublishOptions, scope string,
) error {
	args, kwargs := wampcore.Raw{Encoding: p.Encoding, Bytes: p.Args}, wampcore.Raw{Encoding: p.Encoding, Bytes: p.Kwargs}
	given := func(r wampcore.Raw, empty any) any {
		if len(r.Bytes) == 0 {
			return empty
		}
		return r
	}
	in, err := wampcore.NewPayload(wampcore.MessagePack,
		[]any{topic, given(args, []any{}), given(kwargs, map[string]any{})},
		map[string]any{"publish_options": opts.Raw(), "scope": scope})
	if err != nil {
		return err
	}
	_, err = s.Call(ctx, "wamp.session.add_testament", in, wampcore.CallOptions{})
	return err
}

// FlushTestaments takes the testaments of a scope back.
func (s *Session) FlushTestaments(ctx context.Context, scope string) error {
	in, err := wampcore.NewPayload(wampcore.MessagePack, nil, map[string]any{"scope": scope})
	if err != nil {
		return err
	}
	_, err = s.Call(ctx, "wamp.session.flush_testaments", in, wampcore.CallOptions{})
	return err
}
