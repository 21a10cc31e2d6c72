package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// ErrClosed is why a request fails on a session that is over.
var ErrClosed = errors.New("client: session closed")

var errOverflow = errors.New("client: an event handler does not keep up with its events")

// Config says how a session is opened. Realm is required.
type Config struct {
	Realm  wampcore.URI
	Agent  string
	AuthID string
	// Auth are the methods to log in by, best first; default: anonymous. Where it is set, a router that lets the client in by none
	// of them is not believed.
	Auth []auth.Method

	// Concurrency is how many invocations run at once (default 64); the rest wait, bounded by Backlog (default 1024),
	// beyond which they are answered with wamp.error.unavailable.
	Concurrency int
	Backlog     int
	// EventQueue bounds the events of one subscription that wait for their handlers (default 1024); an overflow ends the
	// session.
	EventQueue int
	// PartBytes bounds the progressive results of one call that wait to be taken (default 4 MiB; one always may). EventQueue bounds
	// their number. An overflow ends the call.
	PartBytes int
	// OnRevoked is told of subscriptions and registrations that the router takes away, by the reader: it must not wait.
	OnRevoked func(kind wampcore.MessageType, d wampcore.RevokedDetails) // TypeSubscribe or TypeRegister; optional
}

func (c Config) withDefaults() Config {
	for _, d := range []struct{ v, def *int }{
		{&c.Concurrency, new(64)}, {&c.Backlog, new(1024)}, {&c.EventQueue, new(1024)}, {&c.PartBytes, new(4 << 20)},
	} {
		if *d.v <= 0 {
			*d.v = *d.def
		}
	}
	return c
}

// Session is an open WAMP session. Its methods may be called by any number of goroutines.
type Session struct {
	// Set by Join, never changed after.
	cfg     Config
	t       wampcore.Transport
	welcome *wampcore.Welcome
	ctx     context.Context // ends with the session: it is the session's lifetime
	cancel  context.CancelCauseFunc
	out     outbox
	slots   chan struct{} // one for each invocation that runs
	work    sync.WaitGroup
	done    chan struct{}
	spare   sync.Pool // of *pending that were waited for to their end: nobody knows them any more
	timers  sync.Pool // of *time.Timer that are stopped

	mu            sync.Mutex
	lastRequest   wampcore.ID
	pending       map[wampcore.ID]*pending
	subscriptions map[wampcore.ID]*subscription
	subscribing   map[topicKey]int // SUBSCRIBEs that are not answered yet
	orphans       bool             // there may be subscriptions that are kept, without handlers, for one of those
	registrations map[wampcore.ID]*Registration
	running       map[wampcore.ID]*Invocation // by request
	unfinished    []wampcore.ID               // invocations that were answered before all of them came
	closing       bool                        // Close was called: what is open is finished, and nothing new begun
	parting       bool                        // GOODBYE was sent
	finished      chan struct{}               // closed when nothing is open any more; made by Close
}

// Join opens a session over t and owns t from then on. A router's ABORT is returned as a *wampcore.Error.
func Join(ctx context.Context, t wampcore.Transport, cfg Config) (*Session, error) {
	s := &Session{
		cfg:           cfg.withDefaults(),
		t:             t,
		done:          make(chan struct{}),
		pending:       map[wampcore.ID]*pending{},
		subscriptions: map[wampcore.ID]*subscription{},
		subscribing:   map[topicKey]int{},
		registrations: map[wampcore.ID]*Registration{},
		running:       map[wampcore.ID]*Invocation{},
	}
	s.slots = make(chan struct{}, s.cfg.Concurrency)
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.out.init(t, s.cancel)
	stop := context.AfterFunc(ctx, func() { _ = t.Close(0) })
	err := s.handshake()
	if !stop() && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		s.cancel(err)
		_ = t.Close(0)
		s.out.wait()
		return nil, fmt.Errorf("join %s: %w", cfg.Realm, err)
	}
	go s.read() //nolint:contextcheck // the session outlives the context that it was opened with; waited for through done
	return s, nil
}

// roles are what this client is, with the features that it has.
func roles() wampcore.Roles {
	rs := wampcore.NewRoles(wampcore.RolePublisher, wampcore.RoleSubscriber, wampcore.RoleCaller, wampcore.RoleCallee)
	rs.Add(wampcore.RolePublisher, wampcore.PublisherExclusion, wampcore.PublisherIdentification,
		wampcore.SubscriberBlackwhiteListing, wampcore.PayloadPassthruMode)
	rs.Add(wampcore.RoleSubscriber, wampcore.PatternBasedSubscription, wampcore.PublisherIdentification,
		wampcore.PublicationTrustlevels, wampcore.SubscriptionRevocation, wampcore.PayloadPassthruMode)
	rs.Add(wampcore.RoleCaller, wampcore.CallCanceling, wampcore.CallerIdentification, wampcore.CallTimeout,
		wampcore.ProgressiveCallResults, wampcore.ProgressiveCallInvocations)
	rs.Add(wampcore.RoleCallee, wampcore.CallCanceling, wampcore.CallTimeout, wampcore.CallerIdentification,
		wampcore.CallTrustlevels, wampcore.CallReroute, wampcore.PatternBasedRegistration, wampcore.SharedRegistration,
		wampcore.ProgressiveCallResults, wampcore.ProgressiveCallInvocations, wampcore.RegistrationRevocation,
		wampcore.PayloadPassthruMode)
	return rs
}

func (s *Session) handshake() error {
	var channel *tls.ConnectionState
	if t, ok := s.t.(interface{ TLS() *tls.ConnectionState }); ok {
		channel = t.TLS()
	}
	l, err := beginLogin(s.cfg, channel)
	if err != nil {
		return err
	}
	s.out.put(&wampcore.Hello{Realm: s.cfg.Realm, Details: wampcore.HelloDetails{
		Roles: roles(), Agent: s.cfg.Agent, AuthID: s.cfg.AuthID, AuthMethods: l.names, AuthExtra: l.extra,
	}})
	for {
		m, err := s.t.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *wampcore.Challenge:
			answer, err := l.answer(m)
			if err != nil {
				return s.refuseRouter(err)
			}
			s.out.put(answer)
		case *wampcore.Welcome:
			if err := l.check(m); err != nil {
				return s.refuseRouter(err)
			}
			welcome := *m
			s.welcome = &welcome
			return nil
		case *wampcore.Abort:
			return &wampcore.Error{URI: m.Reason, Message: m.Details.Message}
		default:
			return wampcore.Violation("message %d came instead of WELCOME", m.Type())
		}
	}
}

// ID returns the session's id.
func (s *Session) ID() wampcore.ID { return s.welcome.Session }

// Welcome returns what the router said of the session.
func (s *Session) Welcome() *wampcore.Welcome { return s.welcome }

// Done is closed when the session is over and its handlers have returned.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session is over, nil before that. It is a *wampcore.Error where the router gave a reason, and
// ErrClosed after Close.
func (s *Session) Err() error {
	if s.ctx.Err() == nil {
		return nil
	}
	return context.Cause(s.ctx)
}

// Idle reports whether there are no subscriptions and registrations, and no request or invocation is open.
func (s *Session) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subscriptions)+len(s.registrations)+len(s.running) == 0 && !s.waiting()
}

// waiting reports whether somebody waits for an answer. mu is held.
func (s *Session) waiting() bool {
	for _, p := range s.pending {
		if !p.given {
			return true
		}
	}
	return false
}

// Close ends the session in good order: it takes the registrations back, lets the requests and invocations that are open
// finish, says goodbye, and waits until all handlers have returned. New requests are refused, but for those that
// invocations make to finish. When ctx ends first, what is left is cut. Close may be called again. A handler that calls it
// waits for itself, until ctx ends.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	if first {
		for registration := range s.registrations {
			s.tell(func(id wampcore.ID) wampcore.Message {
				return &wampcore.Unregister{Request: id, Registration: registration}
			})
		}
		s.closing, s.finished = true, make(chan struct{})
		s.settle()
	}
	s.mu.Unlock()
	if first {
		select {
		case <-s.finished:
			s.part()
		case <-s.done:
		case <-ctx.Done():
		}
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		s.cancel(ErrClosed)
		_ = s.t.Close(0)
		return context.Cause(ctx)
	}
}

// part says goodbye.
func (s *Session) part() {
	s.mu.Lock()
	s.parting = true
	s.mu.Unlock()
	s.out.last(&wampcore.Goodbye{Reason: wampcore.CloseRealm})
}

// settle tells Close when nothing is open any more. It is called whenever something ends; mu is held.
func (s *Session) settle() {
	if !s.closing || s.parting || len(s.running) > 0 || s.waiting() {
		return
	}
	select {
	case <-s.finished:
	default:
		close(s.finished)
	}
}

// closeGrace is how long the transport may take to close in good order.
const closeGrace = time.Second

// read is the reader: it ends the session when it ends.
func (s *Session) read() {
	defer close(s.done)
	cause := s.receive()
	s.mu.Lock()
	if _, ok := errors.AsType[*wampcore.ProtocolError](cause); s.closing && !ok {
		cause = ErrClosed // whatever the router did then
	}
	s.mu.Unlock()
	s.cancel(cause) // before the last word, whose failure is not the cause
	if v, ok := errors.AsType[*wampcore.ProtocolError](cause); ok {
		s.out.last(&wampcore.Abort{
			Reason:  wampcore.ErrProtocolViolation,
			Details: wampcore.CloseDetails{Message: v.Message},
		})
	}
	cut := time.AfterFunc(closeGrace, func() { _ = s.t.Close(0) })
	s.out.wait()
	cut.Stop()
	_ = s.t.Close(closeGrace)
	s.mu.Lock()
	for id, p := range s.pending {
		delete(s.pending, id)
		if !p.given {
			p.answer <- answer{err: s.gone()}
		}
	}
	s.mu.Unlock()
	s.work.Wait()
}

// gone is what a request fails with when the session is over.
func (s *Session) gone() error {
	cause := context.Cause(s.ctx)
	if errors.Is(cause, ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, cause)
}

func (s *Session) receive() error {
	stop := context.AfterFunc(s.ctx, s.t.Interrupt)
	defer stop()
	for {
		m, err := s.t.Receive()
		if errors.Is(err, wampcore.ErrInterrupted) {
			return context.Cause(s.ctx)
		}
		if err != nil {
			return err
		}
		if err := s.handle(m); err != nil {
			return err
		}
	}
}

func (s *Session) handle(m wampcore.Message) error {
	switch m := m.(type) {
	case *wampcore.Result:
		return s.result(m)
	case *wampcore.ErrorMsg:
		return s.answered(m.RequestType, m.Request, nil, answer{err: asError(m)})
	case *wampcore.Published:
		return s.answered(wampcore.TypePublish, m.Request, m, answer{id: m.Publication})
	case *wampcore.Subscribed:
		return s.answered(wampcore.TypeSubscribe, m.Request, m, answer{id: m.Subscription})
	case *wampcore.Unsubscribed:
		if m.Request == 0 {
			s.revokeSubscription(m.Details)
			return nil
		}
		return s.answered(wampcore.TypeUnsubscribe, m.Request, m, answer{})
	case *wampcore.Registered:
		return s.answered(wampcore.TypeRegister, m.Request, m, answer{id: m.Registration})
	case *wampcore.Unregistered:
		if m.Request == 0 {
			s.revokeRegistration(m.Details)
			return nil
		}
		return s.answered(wampcore.TypeUnregister, m.Request, m, answer{})
	case *wampcore.Event:
		return s.event(m)
	case *wampcore.Invocation:
		if err := s.out.room(s.ctx); err != nil { // a router that does not read gets no more answers ready
			return err
		}
		s.invocation(m)
		return nil
	case *wampcore.Interrupt:
		s.interrupt(m)
		return nil
	case *wampcore.Goodbye:
		return s.goodbye(m)
	case *wampcore.Abort:
		return &wampcore.Error{URI: m.Reason, Message: m.Details.Message}
	default:
		return wampcore.Violation("message %d is not for a client with an open session", m.Type())
	}
}

func (s *Session) result(m *wampcore.Result) error {
	if m.Details.Progress {
		s.progress(m)
		return nil
	}
	err := s.answered(wampcore.TypeCall, m.Request, m, answer{payload: m.Payload.Take()})
	wampcore.Recycle(m) // nobody else looks at it
	return err
}

func (s *Session) revoked(kind wampcore.MessageType, d wampcore.RevokedDetails) {
	if s.cfg.OnRevoked != nil {
		s.cfg.OnRevoked(kind, d)
	}
}

func (s *Session) goodbye(m *wampcore.Goodbye) error {
	s.mu.Lock()
	parting := s.parting
	s.mu.Unlock()
	if parting {
		return ErrClosed
	}
	cause := NewGoodbyeError(m)
	s.cancel(cause) // before the answer, whose failure is not the cause
	s.out.last(&wampcore.Goodbye{Reason: wampcore.CloseGoodbyeAndOut})
	return cause
}

// GoodbyeError is why a session is over that the router has ended.
type GoodbyeError struct{ Reason *wampcore.Error }

// NewGoodbyeError returns what a GOODBYE says.
func NewGoodbyeError(m *wampcore.Goodbye) *GoodbyeError {
	return &GoodbyeError{&wampcore.Error{URI: m.Reason, Message: m.Details.Message}}
}

// Error returns the reason.
func (e *GoodbyeError) Error() string { return e.Reason.Error() }

// Unwrap returns the reason.
func (e *GoodbyeError) Unwrap() error { return e.Reason }

// asError returns what an ERROR says. Its payload is the caller's.
func asError(m *wampcore.ErrorMsg) *wampcore.Error {
	return &wampcore.Error{URI: m.URI, Payload: m.Payload.Take()}
}
