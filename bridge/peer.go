package bridge

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// peer is a stream as the router sees it: a client with a session of its own, as any other. Receive returns what the stream wants of the router; what the
// router writes goes to the reader's connection, on the goroutine that writes it.
type peer struct{ s *Stream }

// Receive returns the stream's next request.
func (t peer) Receive() (wampcore.Message, error) { return t.s.next() }

// Ready reports whether there is a request.
func (t peer) Ready() bool {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return len(t.s.requests) > 0
}

// Write takes what the router says. It never has to wait: what the reader does not take waits in the stream, within its bounds.
func (t peer) Write(ms []wampcore.Message) (bool, error) {
	o := newOutgoing()
	defer o.release()
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range ms {
		if e, ok := m.(*wampcore.Event); ok {
			s.event(o, e)
			continue
		}
		s.handle(m)
		s.notify()
	}
	if len(o.frames) > 0 {
		s.send(o)
	}
	return true, nil
}

// Flush has nothing to wait for.
func (peer) Flush() error { return nil }

// Interrupt wakes Receive.
func (t peer) Interrupt() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.interrupted = true
	t.s.notify()
}

// Close ends the stream.
func (t peer) Close(time.Duration) error {
	t.s.End(nil)
	return nil
}

// open asks for a session and the subscriptions.
func (s *Stream) open(realm wampcore.URI) {
	roles := wampcore.NewRoles(wampcore.RoleSubscriber, wampcore.RoleCaller)
	roles.Add(wampcore.RoleSubscriber, wampcore.PatternBasedSubscription, wampcore.PublisherIdentification,
		wampcore.PublicationTrustlevels, wampcore.SubscriptionRevocation, wampcore.PayloadPassthruMode, wampcore.EventHistory)
	s.requests = append(make([]wampcore.Message, 0, 1+len(s.req.Topics)), &wampcore.Hello{
		Realm: realm, Details: wampcore.HelloDetails{Roles: roles, Agent: agent},
	})
	for _, topic := range s.req.Topics {
		s.request(func(id wampcore.ID) wampcore.Message {
			return &wampcore.Subscribe{Request: id, Topic: topic.URI, Options: s.options(topic)}
		})
	}
}

func (s *Stream) options(topic Topic) wampcore.SubscribeOptions {
	return wampcore.SubscribeOptions{Match: topic.Match, GetRetained: s.req.Retained}
}

// handle takes what is no event. mu is held.
func (s *Stream) handle(m wampcore.Message) {
	switch m := m.(type) {
	case *wampcore.Welcome:
		s.id = m.Session
	case *wampcore.Subscribed:
		s.subscribed(int(m.Request)-1, m.Subscription)
	case *wampcore.Result:
		if m.Request == s.asking {
			s.answer = &answer{payload: m.Payload.Take()}
		}
	case *wampcore.ErrorMsg:
		err := &wampcore.Error{URI: m.URI, Payload: m.Payload.Take()}
		switch {
		case m.RequestType == wampcore.TypeSubscribe:
			s.end(fmt.Errorf("subscribe to %s: %w", s.req.Topics[m.Request-1].URI, err))
		case m.Request == s.asking:
			s.answer = &answer{err: err}
		}
	case *wampcore.Unsubscribed:
		s.revoked(m.Details) // it has not unsubscribed itself
	case *wampcore.Abort:
		s.end(&wampcore.Error{URI: m.Reason, Message: m.Details.Message})
	case *wampcore.Goodbye:
		s.end(client.NewGoodbyeError(m))
	default:
		s.end(errors.New("the router wants to know who the stream is, although the program vouches for it"))
	}
}

// subscribed notes the router's consent to one of the topics. With the last one, the stream asks where the realm is, or for what
// it missed. mu is held.
func (s *Stream) subscribed(i int, id wampcore.ID) {
	s.subscriptions[i] = id
	if !slices.Contains(s.subscriptions, 0) {
		s.askForPage()
	}
}
