package router

import (
	"cmp"
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

func (sub *subscription) ident() wampcore.ID     { return sub.id }
func (sub *subscription) policy() wampcore.Match { return sub.match }

func (sub *subscription) describe() map[string]any {
	return map[string]any{
		"id": sub.id, "created": timestamp(sub.created), "uri": sub.topic, "match": sub.match.String(),
	}
}

func subscriptionList(_ *batch, caller *session, _ wampcore.Payload) (reply, error) {
	caller.realm.mu.RLock()
	defer caller.realm.mu.RUnlock()
	return values(byMatch(caller.realm.broker.byID, (*subscription).policy)), nil
}

func subscriptionLookup(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	uri, match, err := argURI(in, "topic")
	if err != nil {
		return reply{}, err
	}
	caller.realm.mu.RLock()
	defer caller.realm.mu.RUnlock()
	return found(caller.realm.broker.index.at(uri, match), (*subscription).ident), nil
}

func subscriptionMatch(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	uri, _, err := argURI(in, "topic")
	if err != nil {
		return reply{}, err
	}
	var ids []wampcore.ID
	caller.realm.mu.RLock()
	caller.realm.broker.index.each(uri, func(sub *subscription, _ wampcore.Match) { ids = append(ids, sub.id) })
	caller.realm.mu.RUnlock()
	if ids == nil {
		return values(nil), nil
	}
	slices.Sort(ids)
	return values(ids), nil
}

// subscriptionOf calls f with the subscription that the first argument names, under the lock for reading.
func subscriptionOf(caller *session, in wampcore.Payload, f func(*subscription) reply) (reply, error) {
	id, err := argID(in, "subscription")
	if err != nil {
		return reply{}, err
	}
	caller.realm.mu.RLock()
	defer caller.realm.mu.RUnlock()
	sub := caller.realm.broker.byID[id]
	if sub == nil {
		return reply{}, &wampcore.Error{URI: wampcore.ErrNoSuchSubscription}
	}
	return f(sub), nil
}

func subscriptionGet(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	return subscriptionOf(caller, in, func(sub *subscription) reply { return values(sub.describe()) })
}

func subscriptionListSubscribers(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	return subscriptionOf(caller, in, func(sub *subscription) reply {
		ids := make([]wampcore.ID, len(sub.members))
		for i, s := range sub.members {
			ids[i] = s.id
		}
		slices.SortFunc(ids, cmp.Compare[wampcore.ID])
		return values(ids)
	})
}

func subscriptionCountSubscribers(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	return subscriptionOf(caller, in, func(sub *subscription) reply { return values(len(sub.members)) })
}

func subscriptionRemoveSubscriber(b *batch, caller *session, in wampcore.Payload) (reply, error) {
	id, from, reason, err := removal(in)
	if err != nil {
		return reply{}, err
	}
	r := caller.realm
	r.mu.Lock()
	defer r.mu.Unlock()
	sub, s := r.broker.byID[id], r.sessions[from]
	switch {
	case sub == nil:
		return reply{}, &wampcore.Error{URI: wampcore.ErrNoSuchSubscription}
	case s == nil || s.subscriptions[id] == nil:
		return reply{}, errNoSuchSession
	}
	r.broker.revoke(b, s, sub, reason)
	return reply{}, nil
}

// subscriptionGetEvents returns a subscription's past. [RFC event history] Beside the events, the keyword more says that
// there are more than one answer holds, and gap that a publication that the query names is not, or no longer, kept.
func subscriptionGetEvents(b *batch, caller *session, in wampcore.Payload) (reply, error) {
	q, err := newQuery(in)
	if err != nil {
		return reply{}, err
	}
	q.asker = caller
	var id wampcore.ID
	if _, err := subscriptionOf(caller, in, func(sub *subscription) reply {
		id, q.topic, q.match = sub.id, sub.topic, sub.match
		return reply{}
	}); err != nil {
		return reply{}, err
	}
	if err := caller.may(b, question{ActionSubscribe, q.topic, q.match, nil}); err != nil {
		return reply{}, err
	}
	if q.only != "" && q.match == wampcore.MatchExact {
		return reply{}, invalidArgument("topic is for subscriptions by a pattern")
	}
	kept, more, gap := caller.realm.find(q)
	out := reply{args: make([]any, len(kept))}
	for i := range kept {
		out.args[i] = kept[i].remembered(id, q.match)
	}
	if more || gap {
		out.kwargs = map[string]any{"more": more, "gap": gap}
	}
	return out, nil
}
