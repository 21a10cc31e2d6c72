package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

// InvocationHandler answers an invocation. A returned *wampcore.Error is sent as it is, any other as
// wamp.error.runtime_error without its text. ctx ends with the session, an INTERRUPT or the call's timeout.
type InvocationHandler func(ctx context.Context, inv *Invocation) (wampcore.Payload, error)

var (
	errInterrupted = &wampcore.Error{URI: wampcore.ErrCanceled}
	errLeaving     = &wampcore.Error{URI: wampcore.ErrUnavailable, Message: "the callee is about to leave"}
	errBusy        = &wampcore.Error{URI: wampcore.ErrUnavailable, Message: "the callee has too many calls open"}
)

// Invocation is a call that a handler answers. Payload holds all of it, or the first part: see Parts.
type Invocation struct {
	wampcore.Invocation

	s      *Session
	cancel context.CancelCauseFunc
	parts  chan Part // what comes after the first; nil if nothing does
	open   bool      // more is to come; guarded by Session.mu
}

// Session returns the id of the session that it came to. Together with Request it names the invocation.
func (inv *Invocation) Session() wampcore.ID { return inv.s.ID() }

// Progress sends a progressive result, where the caller takes them; elsewhere it does nothing. It waits while the
// connection is behind.
func (inv *Invocation) Progress(ctx context.Context, p wampcore.Payload) error {
	if !inv.Details.ReceiveProgress {
		return ctx.Err()
	}
	if err := inv.s.out.room(ctx); err != nil {
		return err
	}
	inv.s.out.put(&wampcore.Yield{Request: inv.Request, Options: wampcore.YieldOptions{Progress: true}, Payload: p})
	return nil
}

// Parts yields the parts of the call, the first one included, as they come; there is one if the caller sends no more.
// It ends after the final part, or with ctx, which the handler has to look at then.
func (inv *Invocation) Parts(ctx context.Context) iter.Seq[Part] {
	return func(yield func(Part) bool) {
		part := Part{inv.Payload, inv.parts == nil}
		for yield(part) && !part.Final {
			select {
			case part = <-inv.parts:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Registration is a procedure on offer.
type Registration struct {
	s       *Session
	id      wampcore.ID
	handler InvocationHandler
}

// ID returns the registration's id.
func (reg *Registration) ID() wampcore.ID { return reg.id }

// Register offers a procedure, or a pattern of procedures.
func (s *Session) Register(
	ctx context.Context, procedure wampcore.URI, h InvocationHandler, opts wampcore.RegisterOptions,
) (*Registration, error) {
	return s.register(ctx, procedure, h, opts, func(wampcore.ID) {})
}

// register is Register with a function that the reader calls, with mu held, when the router has agreed.
func (s *Session) register(
	ctx context.Context, procedure wampcore.URI, h InvocationHandler, opts wampcore.RegisterOptions, agreed func(wampcore.ID),
) (*Registration, error) {
	reg := &Registration{s: s, handler: h}
	accept := func(m wampcore.Message) {
		if m, ok := m.(*wampcore.Registered); ok {
			reg.id = m.Registration
			s.registrations[reg.id] = reg
			agreed(reg.id)
		}
	}
	undo := func(m wampcore.Message) {
		if m, ok := m.(*wampcore.Registered); ok && s.registrations[m.Registration] == nil {
			s.tell(func(id wampcore.ID) wampcore.Message {
				return &wampcore.Unregister{Request: id, Registration: m.Registration}
			})
		}
	}
	_, a := s.request(ctx, &pending{kind: wampcore.TypeRegister, accept: accept, undo: undo},
		func(id wampcore.ID) wampcore.Message {
			return &wampcore.Register{Request: id, Options: opts, Procedure: procedure}
		})
	if a.err != nil {
		return nil, a.err
	}
	return reg, nil
}

// Unregister takes the procedure back. What runs goes on.
func (reg *Registration) Unregister(ctx context.Context) error {
	s := reg.s
	_, a := s.request(ctx, &pending{kind: wampcore.TypeUnregister, accept: func(wampcore.Message) {
		delete(s.registrations, reg.id)
	}}, func(id wampcore.ID) wampcore.Message {
		return &wampcore.Unregister{Request: id, Registration: reg.id}
	})
	return a.err
}

// over reports whether it was taken back, by either side.
func (reg *Registration) over() bool {
	reg.s.mu.Lock()
	defer reg.s.mu.Unlock()
	return reg.s.registrations[reg.id] != reg
}

func (s *Session) revokeRegistration(d wampcore.RevokedDetails) {
	s.mu.Lock()
	delete(s.registrations, d.ID)
	s.mu.Unlock()
	s.revoked(wampcore.TypeRegister, d)
}

// maxUnfinished is how many answered invocations are remembered whose callers have not sent the last of them.
const maxUnfinished = 1024

// invocation starts a handler, bounded by Backlog in all and by Concurrency at once, or hands it another part of the
// call. The message may be the transport's: it is copied.
func (s *Session) invocation(m *wampcore.Invocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inv := s.running[m.Request]; inv != nil {
		s.continued(inv, m)
		return
	}
	if i := slices.Index(s.unfinished, m.Request); i >= 0 { // [RFC progressive call invocations] it was answered
		if !m.Details.Progress {
			s.unfinished = slices.Delete(s.unfinished, i, i+1)
		}
		return
	}
	reg := s.registrations[m.Registration]
	switch {
	case s.closing:
		s.refuse(m, errLeaving)
		return
	case reg == nil:
		s.refuse(m, &wampcore.Error{URI: wampcore.ErrNoSuchRegistration})
		return
	case len(s.running) >= s.cfg.Backlog+s.cfg.Concurrency:
		s.refuse(m, errBusy)
		return
	}
	inv := &Invocation{s: s, Invocation: wampcore.Invocation{
		Request: m.Request, Registration: m.Registration, Details: m.Details, Payload: m.Payload.Take(),
	}}
	if m.Details.Progress {
		inv.parts, inv.open = make(chan Part, s.cfg.EventQueue), true
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	inv.cancel = cancel
	s.running[inv.Request] = inv
	s.work.Go(func() {
		defer cancel(nil)
		s.run(ctx, reg.handler, inv)
	})
}

// refuse answers an invocation that no handler gets. mu is held.
func (s *Session) refuse(m *wampcore.Invocation, err error) {
	if m.Details.Progress {
		s.leaveUnfinished(m.Request)
	}
	s.out.put(failure(m.Request, err))
}

// leaveUnfinished remembers an invocation that was answered before all of it came. mu is held.
func (s *Session) leaveUnfinished(request wampcore.ID) {
	if len(s.unfinished) >= maxUnfinished {
		s.unfinished = slices.Delete(s.unfinished, 0, 1)
	}
	s.unfinished = append(s.unfinished, request)
}

// continued hands on another part of a call. mu is held. A handler that does not keep up is ended.
func (s *Session) continued(inv *Invocation, m *wampcore.Invocation) {
	if inv.parts == nil {
		return
	}
	part := Part{m.Payload.Take(), !m.Details.Progress}
	select {
	case inv.parts <- part:
		inv.open = m.Details.Progress
	default:
		inv.cancel(errBusy)
	}
}

func (s *Session) run(ctx context.Context, h InvocationHandler, inv *Invocation) {
	if inv.Details.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, inv.Details.Timeout, &wampcore.Error{URI: wampcore.ErrTimeout})
		defer cancel()
	}
	var payload wampcore.Payload
	err := errExited
	defer func() { s.answer(ctx, inv, payload, err) }()
	select {
	case s.slots <- struct{}{}:
		payload, err = s.protect(ctx, h, inv)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
}

var errExited = errors.New("the handler ended its goroutine")

// answer answers an invocation whose handler is over.
func (s *Session) answer(ctx context.Context, inv *Invocation, payload wampcore.Payload, err error) {
	if err != nil && ctx.Err() != nil { // a handler that gives up says why it had to
		if e, ok := errors.AsType[*wampcore.Error](context.Cause(ctx)); ok {
			err = e
		}
	}
	s.mu.Lock()
	delete(s.running, inv.Request)
	if inv.open {
		s.leaveUnfinished(inv.Request)
	}
	if err != nil {
		s.out.queue(failure(inv.Request, err))
	} else {
		s.out.queue(&wampcore.Yield{Request: inv.Request, Payload: payload})
	}
	s.settle() // the answer is queued: it goes before GOODBYE
	s.mu.Unlock()
	s.out.flush()
}

// protect runs a handler; one that panics has failed, no more.
func (s *Session) protect(ctx context.Context, h InvocationHandler, inv *Invocation) (p wampcore.Payload, err error) {
	defer func() {
		<-s.slots
		if v := recover(); v != nil {
			err = fmt.Errorf("the handler panicked: %v", v)
		}
	}()
	return h(ctx, inv)
}

// failure returns the ERROR that answers an invocation. What is no *wampcore.Error is not for others to read.
func failure(request wampcore.ID, err error) *wampcore.ErrorMsg {
	e, ok := errors.AsType[*wampcore.Error](err)
	if !ok {
		e = &wampcore.Error{URI: wampcore.ErrRuntime, Message: "the procedure failed"}
	}
	m := &wampcore.ErrorMsg{RequestType: wampcore.TypeInvocation, Request: request, URI: e.URI, Payload: e.Payload}
	if e.Message != "" && m.Payload.Empty() {
		m.Payload, _ = wampcore.NewPayload(wampcore.MessagePack, []any{e.Message}, nil) // a string: it cannot fail
	}
	return m
}

// interrupt ends a handler's context. [RFC call canceling]
func (s *Session) interrupt(m *wampcore.Interrupt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inv := s.running[m.Request]; inv != nil {
		inv.cancel(errInterrupted)
	}
}
