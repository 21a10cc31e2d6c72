package router

import (
	"github.com/wampgate/wampgate/wampcore"
)

// maxPerSession bounds what one session may hold of each: subscriptions, registrations, calls in flight.
const maxPerSession = 1 << 17

// broker holds a realm's subscriptions. It has no lock and no goroutine: the realm's lock guards it.
type broker struct {
	index  index[subscription]
	byID   map[wampcore.ID]*subscription
	lastID wampcore.ID
}

// subscription is a topic, or a pattern of topics, with the sessions that get its events. It lives as long as it has any.
type subscription struct {
	id    wampcore.ID
	topic wampcore.URI
	match wampcore.Match

	members []*session // a slice, since events go through it; position has the indices
	posn    map[*session]int
}

func newBroker() broker {
	return broker{index: newIndex[subscription](), byID: map[wampcore.ID]*subscription{}}
}

// subscribe adds s to a subscription. A session that is on it already gets the same id again.
func (k *broker) subscribe(b *batch, s *session, m *wampcore.Subscribe) {
	if len(s.subscriptions) >= maxPerSession {
		b.send(s, s.errorMsg(m.Type(), m.Request, errTooMany))
		return
	}
	sub := k.index.at(m.Topic, m.Options.Match)
	if sub == nil {
		k.lastID++
		sub = &subscription{id: k.lastID, topic: m.Topic, match: m.Options.Match, posn: map[*session]int{}}
		k.index.set(sub.topic, sub.match, sub)
		k.byID[sub.id] = sub
	}
	if _, ok := sub.posn[s]; !ok {
		sub.posn[s] = len(sub.members)
		sub.members = append(sub.members, s)
		if s.subscriptions == nil {
			s.subscriptions = map[wampcore.ID]*subscription{}
		}
		s.subscriptions[sub.id] = sub
	}
	b.send(s, &wampcore.Subscribed{Request: m.Request, Subscription: sub.id})
}

var errTooMany = &wampcore.Error{
	URI:     wampcore.ErrUnavailable,
	Message: "this session holds as many of these as the router allows",
}

func (k *broker) unsubscribe(b *batch, s *session, m *wampcore.Unsubscribe) error {
	sub := s.subscriptions[m.Subscription]
	if sub == nil {
		return &wampcore.Error{URI: wampcore.ErrNoSuchSubscription}
	}
	k.drop(s, sub)
	b.send(s, &wampcore.Unsubscribed{Request: m.Request})
	return nil
}

// remove takes a session that leaves out of all its subscriptions.
func (k *broker) remove(s *session) {
	for _, sub := range s.subscriptions {
		k.drop(s, sub)
	}
}

func (k *broker) drop(s *session, sub *subscription) {
	delete(s.subscriptions, sub.id)
	i, last := sub.posn[s], len(sub.members)-1
	sub.members[i] = sub.members[last]
	sub.posn[sub.members[i]] = i
	sub.members[last] = nil
	sub.members = sub.members[:last]
	delete(sub.posn, s)
	if len(sub.members) == 0 {
		k.index.set(sub.topic, sub.match, nil)
		delete(k.byID, sub.id)
	}
}

// publish queues one EVENT a subscription for each of its eligible sessions. They share the message.
func (k *broker) publish(b *batch, s *session, m *wampcore.Publish, publication wampcore.ID) {
	var payload wampcore.Payload
	taken := false
	to := newFilter(s, &m.Options)
	k.index.each(m.Topic, func(sub *subscription, match wampcore.Match) {
		if !taken { // the events own it from here on, for as long as anybody has one
			payload, taken = m.Payload.Take(), true
		}
		event := &wampcore.Event{Subscription: sub.id, Publication: publication, Payload: payload}
		event.Details.Custom = m.Options.Custom
		if match != wampcore.MatchExact {
			event.Details.Topic = m.Topic
		}
		if m.Options.DiscloseMe {
			event.Details.Publisher = s.id
			event.Details.PublisherAuthID = s.authID
			event.Details.PublisherAuthRole = s.authRole
		}
		for _, member := range sub.members {
			if to.eligible(member) {
				b.send(member, event)
			}
		}
	})
}
