package client

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

// EventHandler handles events of one subscription, one after another, in the order they came. ctx ends with the session.
type EventHandler func(ctx context.Context, e *wampcore.Event)

// topicKey is what a router knows one subscription of a session by.
type topicKey struct {
	topic wampcore.URI
	match wampcore.Match
}

// subscription is what the router knows one id for. Several handlers share it.
type subscription struct {
	id       wampcore.ID
	key      topicKey
	handlers []*Subscription // guarded by Session.mu
	direct   int             // of handlers
	events   chan *wampcore.Event
	end      context.CancelFunc
}

// Subscription is a handler's share of a subscription.
type Subscription struct {
	s       *Session
	shared  *subscription
	handler EventHandler
	direct  func(*wampcore.Event) // called by the reader instead, with Session.mu held; may be nil
}

// ID returns the subscription's id.
func (sub *Subscription) ID() wampcore.ID { return sub.shared.id }

// Subscribe subscribes to a topic, or a pattern of topics. No event is lost between the router's answer and the handler.
func (s *Session) Subscribe(
	ctx context.Context, topic wampcore.URI, h EventHandler, opts wampcore.SubscribeOptions,
) (*Subscription, error) {
	return s.subscribe(ctx, topic, &Subscription{s: s, handler: h}, opts, func(wampcore.ID) {})
}

// Watch is Subscribe with a handler that is called by the reader itself, for all subscriptions in the order in which things came. It
// must neither wait nor use the session.
func (s *Session) Watch(
	ctx context.Context, topic wampcore.URI, h func(*wampcore.Event), opts wampcore.SubscribeOptions,
) (*Subscription, error) {
	return s.subscribe(ctx, topic, &Subscription{s: s, direct: h}, opts, func(wampcore.ID) {})
}

// subscribe has agreed called by the reader, with mu held, when the router has agreed.
func (s *Session) subscribe(
	ctx context.Context, topic wampcore.URI, sub *Subscription, opts wampcore.SubscribeOptions, agreed func(wampcore.ID),
) (*Subscription, error) {
	key := topicKey{topic, opts.Match}
	accept := func(m wampcore.Message) { //nolint:contextcheck // handlers live as long as the session
		if m, ok := m.(*wampcore.Subscribed); ok {
			s.addHandler(m.Subscription, key, sub)
			agreed(m.Subscription)
		}
		s.answeredSubscribe(key)
	}
	undo := func(m wampcore.Message) {
		if m, ok := m.(*wampcore.Subscribed); ok && s.subscriptions[m.Subscription] == nil && s.subscribing[key] == 1 {
			s.unsubscribe(m.Subscription)
		}
		s.answeredSubscribe(key)
	}
	id, a := s.request(ctx, &pending{kind: wampcore.TypeSubscribe, accept: accept, undo: undo},
		func(id wampcore.ID) wampcore.Message { // called with the lock held
			s.subscribing[key]++
			return &wampcore.Subscribe{Request: id, Options: opts, Topic: topic}
		})
	if a.err != nil {
		if id != 0 && !a.givenUp {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.answeredSubscribe(key)
		}
		return nil, a.err
	}
	return sub, nil
}

// answeredSubscribe counts a SUBSCRIBE as answered. A subscription that was kept for it, and has no handler after all, is
// ended. mu is held.
func (s *Session) answeredSubscribe(key topicKey) {
	if s.subscribing[key]--; s.subscribing[key] > 0 {
		return
	}
	delete(s.subscribing, key)
	if !s.orphans {
		return
	}
	for id, shared := range s.subscriptions {
		if shared.key == key && len(shared.handlers) == 0 {
			s.forget(shared)
			s.unsubscribe(id)
		}
	}
}

// forget ends a subscription on this side. mu is held.
func (s *Session) forget(shared *subscription) {
	delete(s.subscriptions, shared.id)
	shared.end()
}

// unsubscribe tells the router to end a subscription. mu is held.
func (s *Session) unsubscribe(sub wampcore.ID) {
	s.tell(func(id wampcore.ID) wampcore.Message { return &wampcore.Unsubscribe{Request: id, Subscription: sub} })
}

// addHandler is called by the reader, with mu held.
func (s *Session) addHandler(id wampcore.ID, key topicKey, sub *Subscription) {
	shared := s.subscriptions[id]
	if shared == nil {
		ctx, end := context.WithCancel(s.ctx)
		shared = &subscription{id: id, key: key, events: make(chan *wampcore.Event, s.cfg.EventQueue), end: end}
		s.subscriptions[id] = shared
		s.work.Go(func() { s.dispatch(ctx, shared) })
	}
	if sub.direct != nil {
		shared.direct++
	}
	sub.shared = shared
	shared.handlers = append(slices.Clone(shared.handlers), sub)
}

// dispatch runs the handlers of one subscription.
func (s *Session) dispatch(ctx context.Context, shared *subscription) {
	for ctx.Err() == nil {
		select {
		case e := <-shared.events:
			s.mu.Lock()
			handlers := shared.handlers
			s.mu.Unlock()
			for _, sub := range handlers {
				if sub.direct == nil {
					s.handleEvent(ctx, sub.handler, e)
				}
			}
		case <-ctx.Done():
		}
	}
}

// handleEvent runs a handler; one that panics, or ends its goroutine, ends the session, not the program.
func (s *Session) handleEvent(ctx context.Context, h EventHandler, e *wampcore.Event) {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			s.cancel(fmt.Errorf("client: an event handler panicked: %v\n%s", v, debug.Stack()))
		} else if !returned { // by runtime.Goexit, as a test's Fatal does
			s.cancel(errors.New("client: an event handler ended its goroutine"))
		}
	}()
	h(ctx, e)
	returned = true
}

// event queues an event for its handlers. The message may be shared, or the transport's: it is copied.
func (s *Session) event(m *wampcore.Event) error {
	s.mu.Lock()
	shared := s.subscriptions[m.Subscription]
	if shared == nil {
		s.mu.Unlock()
		return nil // it was on its way when the last handler went
	}
	e := &wampcore.Event{
		Subscription: m.Subscription, Publication: m.Publication, Details: m.Details, Payload: m.Payload.Take(),
	}
	queued := shared.direct < len(shared.handlers)
	for i := 0; shared.direct > 0 && i < len(shared.handlers); i++ {
		if take := shared.handlers[i].direct; take != nil {
			take(e)
		}
	}
	s.mu.Unlock()
	if !queued {
		return nil
	}
	select {
	case shared.events <- e:
		return nil
	default:
		return errOverflow
	}
}

// Unsubscribe ends it. The router is told when the last handler of the subscription goes. A second call does nothing.
func (sub *Subscription) Unsubscribe(ctx context.Context) error {
	s := sub.s
	s.mu.Lock()
	before := len(sub.shared.handlers)
	sub.shared.handlers = slices.DeleteFunc(slices.Clone(sub.shared.handlers), func(o *Subscription) bool { return o == sub })
	if sub.direct != nil && len(sub.shared.handlers) < before {
		sub.shared.direct--
	}
	last := before == 1 && len(sub.shared.handlers) == 0
	if last && s.subscribing[sub.shared.key] > 0 {
		last, s.orphans = false, true // another handler is on its way, and the router would end its subscription too
	}
	if !last {
		s.mu.Unlock()
		return nil
	}
	s.forget(sub.shared)
	req := &pending{kind: wampcore.TypeUnsubscribe}
	id, err := s.send(req, func(id wampcore.ID) wampcore.Message { // with the lock still held: no SUBSCRIBE comes between
		return &wampcore.Unsubscribe{Request: id, Subscription: sub.shared.id}
	})
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.out.flush()
	return s.await(ctx, id, req).err
}

// over reports whether it was taken back, by either side.
func (sub *Subscription) over() bool {
	sub.s.mu.Lock()
	defer sub.s.mu.Unlock()
	return !slices.Contains(sub.shared.handlers, sub)
}

func (s *Session) revokeSubscription(d wampcore.RevokedDetails) {
	s.mu.Lock()
	if shared := s.subscriptions[d.ID]; shared != nil {
		shared.handlers = nil
		s.forget(shared)
	}
	s.mu.Unlock()
	s.revoked(wampcore.TypeSubscribe, d)
}

// Retained returns the newest event that the router retains of a topic for this session, nil if there is none. [RFC event
// retention]
func (s *Session) Retained(ctx context.Context, topic wampcore.URI) (*wampcore.Event, error) {
	var newest *wampcore.Event // the reader's, until what follows it is answered
	sub, err := s.Watch(ctx, topic, func(e *wampcore.Event) {
		if e.Details.Retained {
			newest = e
		}
	}, wampcore.SubscribeOptions{GetRetained: true})
	if err != nil {
		return nil, err
	}
	// The event, if there is one, comes before the answer to this, whatever it is.
	_, err = s.Call(ctx, "wamp.session.count", wampcore.Payload{}, wampcore.CallOptions{})
	if _, answered := errors.AsType[*wampcore.Error](err); answered {
		err = nil
	}
	if err := errors.Join(err, sub.Unsubscribe(ctx)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return newest, nil
}
