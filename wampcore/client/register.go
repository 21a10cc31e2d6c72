package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/wampgate/wampgate/wampcore"
)

// InvocationHandler answers an invocation. A returned *wampcore.Error is sent as it is, any other as
// wamp.error.runtime_error without its text. ctx ends with the session, an INTERRUPT or the call's timeout.
type InvocationHandler func(ctx context.Context, inv *wampcore.Invocation) (wampcore.Payload, error)

var (
	errInterrupted = &wampcore.Error{URI: wampcore.ErrCanceled}
	errBusy        = &wampcore.Error{URI: wampcore.ErrUnavailable, Message: "the callee has too many calls open"}
)

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
	reg := &Registration{s: s, handler: h}
	accept := func(m wampcore.Message) {
		if m, ok := m.(*wampcore.Registered); ok {
			reg.id = m.Registration
			s.registrations[reg.id] = reg
		}
	}
	id, a := s.request(ctx, &pending{kind: wampcore.TypeRegister, accept: accept}, func(id wampcore.ID) wampcore.Message {
		return &wampcore.Register{Request: id, Options: opts, Procedure: procedure}
	})
	if a.err != nil {
		s.abandon(id)
		return nil, a.err
	}
	return reg, nil
}

// Unregister takes the procedure back. What runs goes on.
func (reg *Registration) Unregister(ctx context.Context) error {
	s := reg.s
	id, a := s.request(ctx, &pending{kind: wampcore.TypeUnregister, accept: func(wampcore.Message) {
		delete(s.registrations, reg.id)
	}}, func(id wampcore.ID) wampcore.Message {
		return &wampcore.Unregister{Request: id, Registration: reg.id}
	})
	if a.err != nil {
		s.abandon(id)
	}
	return a.err
}

func (s *Session) revokeRegistration(id wampcore.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.registrations, id)
}

// invocation starts a handler, bounded by Backlog in all and by Concurrency at once. The message may be the transport's:
// it is copied.
func (s *Session) invocation(m *wampcore.Invocation) {
	inv := &wampcore.Invocation{
		Request: m.Request, Registration: m.Registration, Details: m.Details, Payload: m.Payload.Take(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reg := s.registrations[inv.Registration]
	switch {
	case reg == nil:
		s.out.put(failure(inv.Request, &wampcore.Error{URI: wampcore.ErrNoSuchRegistration}))
		return
	case len(s.running) >= s.cfg.Backlog+s.cfg.Concurrency:
		s.out.put(failure(inv.Request, errBusy))
		return
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	s.running[inv.Request] = cancel
	s.work.Go(func() {
		defer cancel(nil)
		s.run(ctx, reg.handler, inv)
	})
}

func (s *Session) run(ctx context.Context, h InvocationHandler, inv *wampcore.Invocation) {
	if inv.Details.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, inv.Details.Timeout, &wampcore.Error{URI: wampcore.ErrTimeout})
		defer cancel()
	}
	var payload wampcore.Payload
	var err error
	select {
	case s.slots <- struct{}{}:
		payload, err = protect(ctx, h, inv)
		<-s.slots
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	delete(s.running, inv.Request)
	s.mu.Unlock()
	if err != nil && ctx.Err() != nil { // a handler that gives up says why it had to
		if e, ok := errors.AsType[*wampcore.Error](context.Cause(ctx)); ok {
			err = e
		}
	}
	if err != nil {
		s.out.put(failure(inv.Request, err))
		return
	}
	s.out.put(&wampcore.Yield{Request: inv.Request, Payload: payload})
}

// protect runs a handler; one that panics has failed, no more.
func protect(ctx context.Context, h InvocationHandler, inv *wampcore.Invocation) (p wampcore.Payload, err error) {
	defer func() {
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
	if cancel := s.running[m.Request]; cancel != nil {
		cancel(errInterrupted)
	}
}
