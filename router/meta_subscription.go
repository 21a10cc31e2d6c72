package router

import (
	"cmp"
	"errors"
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
	lists := byMatch(caller.realm.broker.byID, (*subscription).policy)
	caller.realm.mu.RUnlock()
	return lists.reply(), nil
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
		return reply{}, errNoSuchSubscription
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
		return reply{}, errNoSuchSubscription
	case s == nil || s.subscriptions[id] == nil:
		return reply{}, errNoSuchSession
	}
	r.broker.revoke(b, s, sub, reason)
	return reply{}, nil
}

// subscriptionGetEvents returns a subscription's past. [RFC event history] Beside the events, the keyword more says that
// there are more than one answer holds, and gap that a publication that the query names is not, or no longer, kept.
//
// Our own form has a list of subscriptions, none among them, for the first argument. It returns what any of them would have got, once, in
// the order of the realm, with its topic. more, gap, and last, the newest publication of the realm, are always said then.
func subscriptionGetEvents(b *batch, caller *session, in wampcore.Payload) (reply, error) {
	q, err := newQuery(in)
	if err != nil {
		return reply{}, err
	}
	q.asker = caller
	var ids []wampcore.ID
	if q.counting = len(in.Args) > 0 && in.DecodeArgs(&ids) == nil; !q.counting {
		id, err := argID(in, "subscription")
		if err != nil {
			return reply{}, err
		}
		ids = []wampcore.ID{id}
	}
	if len(ids) > maxAsked {
		return reply{}, invalidArgument("the past of no more than 1024 subscriptions can be asked for at once")
	}
	subscriptions, err := caller.realm.asked(ids)
	if err != nil {
		return reply{}, err
	}
	q.ask(subscriptions)
	for _, a := range q.subscriptions {
		err := caller.may(b, question{ActionSubscribe, a.topic, a.match, nil})
		if e, ok := errors.AsType[*wampcore.Error](err); ok && e.URI == wampcore.ErrNotAuthorized { // it would tell the topic
			return reply{}, errNoSuchSubscription
		}
		if err != nil {
			return reply{}, err
		}
	}
	if q.only != "" && !q.counting && q.subscriptions[0].match == wampcore.MatchExact {
		return reply{}, invalidArgument("topic is for subscriptions by a pattern")
	}
	found := caller.realm.find(q)
	out := reply{args: make([]any, len(found.events))}
	for i := range found.events {
		p := &found.events[i]
		a := q.of(p)
		out.args[i] = p.remembered(a.id, q.counting || a.match != wampcore.MatchExact)
	}
	switch {
	case q.counting:
		out.kwargs = map[string]any{"more": found.more, "gap": found.gap}
		if found.last != 0 {
			out.kwargs["last"] = found.last
		}
	case found.more, found.gap:
		out.kwargs = map[string]any{"more": found.more, "gap": found.gap}
	}
	return out, nil
}

var errNoSuchSubscription = &wampcore.Error{URI: wampcore.ErrNoSuchSubscription}

// maxAsked is how many subscriptions one question about the past may name.
const maxAsked = 1024

// asked returns what there is to know of subscriptions to look for their past.
func (r *realm) asked(ids []wampcore.ID) ([]asked, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]asked, len(ids))
	for i, id := range ids {
		sub := r.broker.byID[id]
		if sub == nil {
			return nil, errNoSuchSubscription
		}
		all[i] = asked{sub.id, sub.topic, sub.match}
	}
	return all, nil
}
