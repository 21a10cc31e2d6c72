// Package client is a WAMP client session: caller, callee, publisher and subscriber.
package client

import (
	"context"
	"errors"

	"github.com/wampgate/wampgate/wampcore"
)

// Config says how a session is opened. Realm is required.
type Config struct {
	Realm  wampcore.URI
	Agent  string
	AuthID string

	// Concurrency is how many invocations run at once (default 64); the rest wait, bounded by Backlog (default 1024), beyond
	// which they are answered with wamp.error.unavailable.
	Concurrency int
	Backlog     int
	// EventQueue bounds the events that wait for their handlers (default 1024); a full one ends the session.
	EventQueue int
}

// Session is an open WAMP session. Its methods may be called by any number of goroutines.
type Session struct{}

// Join opens a session over t and owns t from then on.
func Join(ctx context.Context, t wampcore.Transport, cfg Config) (*Session, error) {
	return nil, errors.New("stub")
}

// ID returns the session's id.
func (s *Session) ID() wampcore.ID { return 0 }

// Welcome returns what the router said of the session.
func (s *Session) Welcome() *wampcore.Welcome { return nil }

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return nil }

// Err returns why the session is over: nil before that; a *wampcore.Error with the router's reason where it said one.
func (s *Session) Err() error { return nil }

// Close says goodbye and waits for the end, or for ctx. It is fine to call it twice.
func (s *Session) Close(ctx context.Context) error { return nil }

// Call calls a procedure. When ctx ends first, the call is cancelled (killnowait). A deadline of ctx is sent as the
// call's timeout, unless opts has one. A call that fails returns a *wampcore.Error.
func (s *Session) Call(ctx context.Context, procedure wampcore.URI, p wampcore.Payload, opts wampcore.CallOptions) (wampcore.Payload, error) {
	return wampcore.Payload{}, errors.New("stub")
}

// Publish publishes. With opts.Acknowledge it waits for the publication's id; without it returns 0 at once.
func (s *Session) Publish(ctx context.Context, topic wampcore.URI, p wampcore.Payload, opts wampcore.PublishOptions) (wampcore.ID, error) {
	return 0, errors.New("stub")
}

// Subscription is a handler's share of a subscription.
type Subscription struct{}

// ID returns the subscription's id.
func (*Subscription) ID() wampcore.ID { return 0 }

// Unsubscribe ends it. The router is told when the last handler of the subscription goes.
func (*Subscription) Unsubscribe(ctx context.Context) error { return nil }

// EventHandler handles events of one subscription, one after another, in the order they came.
type EventHandler func(ctx context.Context, e *wampcore.Event)

// Subscribe subscribes to a topic.
func (s *Session) Subscribe(ctx context.Context, topic wampcore.URI, h EventHandler, opts wampcore.SubscribeOptions) (*Subscription, error) {
	return nil, errors.New("stub")
}

// Registration is a procedure on offer.
type Registration struct{}

// ID returns the registration's id.
func (*Registration) ID() wampcore.ID { return 0 }

// Unregister takes the procedure back.
func (*Registration) Unregister(ctx context.Context) error { return nil }

// InvocationHandler answers an invocation. A returned *wampcore.Error is sent as it is, any other as
// wamp.error.runtime_error without its text. ctx ends with the session, an INTERRUPT or the call's timeout.
type InvocationHandler func(ctx context.Context, inv *wampcore.Invocation) (wampcore.Payload, error)

// Register offers a procedure.
func (s *Session) Register(ctx context.Context, procedure wampcore.URI, h InvocationHandler, opts wampcore.RegisterOptions) (*Registration, error) {
	return nil, errors.New("stub")
}
