package router

import (
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// broker holds a realm's subscriptions. It has no lock and no goroutine: the realm's lock guards it.
type broker struct {
	realm  *realm
	index  index[subscription]
	byID   map[wampcore.ID]*subscription
	lastID wampcore.ID
}

// subscription is a topic, or a pattern of topics, with the sessions that get its events. It lives as long as it has any.
type subscription struct {
	id      wampcore.ID
	created time.Time
	topic   wampcore.URI
	match   wampcore.Match

	members []*session // a slice, since events go through it; position has the indices
	posn    map[*session]int
}

func newBroker(r *realm) broker {
	return broker{realm: r, index: newIndex[subscription](), byID: map[wampcore.ID]*subscription{}}
}

// subscribe adds s to a subscription. A session that is on it already gets the same id again.
func (k *broker) subscribe(b *batch, s *session, m *wampcore.Subscribe) {
	sub := k.index.at(m.Topic, m.Options.Match)
	created := sub == nil
	again := !created && s.subscriptions[sub.id] != nil
	r := s.rules.Load()
	if !again && (len(s.subscriptions) >= r.limits.Subscriptions || s.principal.subscriptions >= r.principal.Subscriptions) {
		s.refuse(refusedSubscriptions)
		b.send(s, s.errorMsg(m.Type(), m.Request, errTooMany))
		return
	}
	if created {
		k.lastID++
		sub = &subscription{
			id: k.lastID, created: time.Now(), topic: m.Topic, match: m.Options.Match, posn: map[*session]int{},
		}
		k.index.set(sub.topic, sub.match, sub)
		k.byID[sub.id] = sub
	}
	if !again {
		sub.posn[s] = len(sub.members)
		sub.members = append(sub.members, s)
		if s.subscriptions == nil {
			s.subscriptions = map[wampcore.ID]*subscription{}
		}
		s.subscriptions[sub.id] = sub
		s.principal.subscriptions++
	}
	b.send(s, &wampcore.Subscribed{Request: m.Request, Subscription: sub.id})
	if m.Options.GetRetained {
		k.realm.sendRetained(b, s, sub)
	}
	if created {
		k.realm.announce(b, "wamp.subscription.on_create", func() []any { return []any{s.id, sub.describe()} })
	}
	if !again {
		k.realm.announce(b, "wamp.subscription.on_subscribe", func() []any { return []any{s.id, sub.id} })
	}
}

func (k *broker) unsubscribe(b *batch, s *session, m *wampcore.Unsubscribe) error {
	sub := s.subscriptions[m.Subscription]
	if sub == nil {
		return &wampcore.Error{URI: wampcore.ErrNoSuchSubscription}
	}
	b.send(s, &wampcore.Unsubscribed{Request: m.Request})
	k.drop(b, s, sub)
	return nil
}

// revoke takes a subscription away from s, and tells s if it understands that. [RFC subscription revocation]
func (k *broker) revoke(b *batch, s *session, sub *subscription, reason string) {
	if s.roles.Supports(wampcore.RoleSubscriber, wampcore.SubscriptionRevocation) {
		b.send(s, &wampcore.Unsubscribed{Details: wampcore.RevokedDetails{ID: sub.id, Reason: reason}})
	}
	k.drop(b, s, sub)
}

// remove takes a session that leaves out of all its subscriptions.
func (k *broker) remove(b *batch, s *session) {
	for _, sub := range s.subscriptions {
		k.drop(b, s, sub)
	}
}

func (k *broker) drop(b *batch, s *session, sub *subscription) {
	delete(s.subscriptions, sub.id)
	s.principal.subscriptions--
	i, last := sub.posn[s], len(sub.members)-1
	sub.members[i] = sub.members[last]
	sub.posn[sub.members[i]] = i
	sub.members[last] = nil
	sub.members = sub.members[:last]
	delete(sub.posn, s)
	gone := len(sub.members) == 0
	if gone {
		k.index.set(sub.topic, sub.match, nil)
		delete(k.byID, sub.id)
	}
	k.realm.announce(b, "wamp.subscription.on_unsubscribe", func() []any { return []any{s.id, sub.id} })
	if gone {
		k.realm.announce(b, "wamp.subscription.on_delete", func() []any { return []any{s.id, sub.id} })
	}
}

// publish queues one EVENT a subscription for each of its eligible sessions, and returns how many that are. They share the message.
func (k *broker) publish(b *batch, p *publication) (events int) {
	var first *wampcore.Event
	k.index.each(p.topic, func(sub *subscription, _ wampcore.Match) {
		var event *wampcore.Event
		for _, member := range sub.members {
			if !p.eligible(member) {
				continue
			}
			if event == nil {
				event = p.event(sub)
				event.IsOf(first)
				if first == nil {
					first = event
				}
			}
			b.send(member, event)
			events++
		}
	})
	return events
}
