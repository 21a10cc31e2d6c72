package router

import (
	"slices"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// metaProcedure answers a call of the router itself. It is no client: it gets the caller and locks for itself. What it
// queues for others is in b.
type metaProcedure func(b *batch, caller *session, in wampcore.Payload) (reply, error)

// reply is what a meta procedure returns.
type reply struct {
	args   []any
	kwargs map[string]any
}

func values(v ...any) reply { return reply{args: v} }

// metaProcedures is the meta API, as the RFC's sections on sessions, registrations, subscriptions, testaments, history and
// reflection have it. The last two of registrations and subscriptions stand in its catalog alone, the forms of reflection are ours.
var metaProcedures = map[wampcore.URI]metaProcedure{ //nolint:gochecknoglobals // a constant table
	"wamp.session.count":             sessionCount,
	"wamp.session.list":              sessionList,
	"wamp.session.get":               sessionGet,
	"wamp.session.kill":              sessionKill,
	"wamp.session.kill_by_authid":    sessionKillByAuthID,
	"wamp.session.kill_by_authrole":  sessionKillByAuthRole,
	"wamp.session.kill_all":          sessionKillAll,
	"wamp.session.add_testament":     addTestament,
	"wamp.session.flush_testaments":  flushTestaments,
	"wamp.registration.list":         registrationList,
	"wamp.registration.lookup":       registrationLookup,
	"wamp.registration.match":        registrationMatch,
	"wamp.registration.get":          registrationGet,
	"wamp.registration.list_callees": registrationListCallees,

	"wamp.registration.count_callees":     registrationCountCallees,
	"wamp.registration.remove_callee":     registrationRemoveCallee,
	"wamp.subscription.list":              subscriptionList,
	"wamp.subscription.lookup":            subscriptionLookup,
	"wamp.subscription.match":             subscriptionMatch,
	"wamp.subscription.get":               subscriptionGet,
	"wamp.subscription.list_subscribers":  subscriptionListSubscribers,
	"wamp.subscription.count_subscribers": subscriptionCountSubscribers,
	"wamp.subscription.remove_subscriber": subscriptionRemoveSubscriber,
	"wamp.subscription.get_events":        subscriptionGetEvents,

	"wamp.reflect.define":                     reflectDefine,
	"wamp.reflect.describe":                   reflectDescribe,
	"wamp.reflection.topic.list":              reflectionList("topic"),
	"wamp.reflection.topic.describe":          reflectionDescribe("topic"),
	"wamp.reflection.procedure.list":          reflectionList("procedure"),
	"wamp.reflection.procedure.list_callable": procedureListCallable,
	"wamp.reflection.procedure.describe":      reflectionDescribe("procedure"),
	"wamp.reflection.error.list":              reflectionList("error"),
	"wamp.reflection.error.describe":          reflectionDescribe("error"),
}

func (s *session) metaCall(b *batch, m *wampcore.Call) error {
	procedure := metaProcedures[m.Procedure]
	if procedure == nil {
		return s.reply(b, m.Type(), m.Request, &wampcore.Error{
			URI:     wampcore.ErrNoSuchProcedure,
			Message: "the router offers no " + string(m.Procedure),
		})
	}
	payload, err := s.metaResult(b, procedure, m.Payload)
	if err != nil {
		return s.reply(b, m.Type(), m.Request, err)
	}
	b.send(s, &wampcore.Result{Request: m.Request, Payload: payload})
	return nil
}

// metaResult does it on a goroutine of its own: the stack that it takes would stay with the session. A panic stays the session's.
func (s *session) metaResult(b *batch, procedure metaProcedure, in wampcore.Payload) (out wampcore.Payload, err error) {
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		var result reply
		if result, err = procedure(b, s, in); err == nil {
			out, err = wampcore.NewPayload(s.encoding(), result.args, result.kwargs)
		}
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return out, err
}

func invalidArgument(message string) error {
	return &wampcore.Error{URI: wampcore.ErrInvalidArgument, Message: message}
}

// argID decodes the first argument.
func argID(in wampcore.Payload, what string) (wampcore.ID, error) {
	var id wampcore.ID
	if err := in.DecodeArgs(&id); err != nil || !id.Valid() {
		return 0, invalidArgument("the first argument is the id of a " + what)
	}
	return id, nil
}

// argURI decodes the first argument, and the matching policy of the options that may follow.
func argURI(in wampcore.Payload, what string) (wampcore.URI, wampcore.Match, error) {
	var uri wampcore.URI
	var options struct {
		Match string `codec:"match"`
	}
	if err := in.DecodeArgs(&uri, &options); err != nil || uri == "" && options.Match == "" {
		return "", 0, invalidArgument("the first argument is a " + what + ", the second a dict of options, if it is given")
	}
	for match := wampcore.MatchExact; match <= wampcore.MatchWildcard; match++ {
		if options.Match == "" || options.Match == match.String() {
			return uri, match, nil
		}
	}
	return "", 0, invalidArgument("match is exact, prefix or wildcard")
}

// idLists are ids by matching policy.
type idLists [wampcore.MatchWildcard + 1][]wampcore.ID

// byMatch returns the ids of all entries. It is done under the realm's lock: what the lists are to be like comes later.
func byMatch[T any](entries map[wampcore.ID]*T, match func(*T) wampcore.Match) (lists idLists) {
	for id, entry := range entries {
		policy := match(entry)
		lists[policy] = append(lists[policy], id)
	}
	return lists
}

// reply is what the list procedures return: the lists by their policies' names, in rising order.
func (lists idLists) reply() reply {
	named := map[string][]wampcore.ID{}
	for i, ids := range lists {
		if ids == nil {
			ids = []wampcore.ID{}
		}
		slices.Sort(ids)
		named[wampcore.Match(i).String()] = ids
	}
	return values(named)
}

// found returns an entry's id, null if there is none.
func found[T any](entry *T, id func(*T) wampcore.ID) reply {
	if entry == nil {
		return values(nil)
	}
	return values(id(entry))
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// removal decodes the arguments of the procedures that take something from a session.
func removal(in wampcore.Payload) (id, from wampcore.ID, reason string, err error) {
	var why struct {
		Reason string `codec:"reason"`
	}
	if in.DecodeArgs(&id, &from) != nil || in.DecodeKwargs(&why) != nil || !id.Valid() || !from.Valid() {
		return 0, 0, "", invalidArgument("the arguments are two ids, of what is taken away and of the session; reason is a string")
	}
	return id, from, why.Reason, nil
}
