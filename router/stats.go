package router

import (
	"errors"
	"maps"
	"sync/atomic"

	"github.com/wampgate/wampgate/wampcore"
)

// Stats are what the router has at this moment, and what it has done since it was started.
type Stats struct {
	Realms        int
	Connections   int
	Sessions      map[SessionKind]int
	Subscriptions int // with at least one session
	Registrations int // with at least one session
	OpenCalls     int
	QueueMessages int // outbound, of all connections
	QueueBytes    int

	Joined        uint64 // sessions
	Publications  uint64
	Events        uint64
	Calls         map[string]uint64 // by result: ok, error, canceled, timeout, callee_gone, no_such_procedure, unavailable
	Refusals      map[string]uint64 // by reason
	CallDurations Durations         // from the CALL to its last RESULT or ERROR, of calls that a callee got; exact to what a peer sends at once
	SlowConsumers uint64            // connections that were ended since their queue was full
	Violations    uint64            // connections that were ended since they broke the protocol
}

// SessionKind is how a session's peer is connected.
type SessionKind struct {
	Transport  string // websocket, rawsocket, longpoll, pipe
	Serializer string // json, msgpack, cbor; empty for a pipe
}

// refusalReason is why something was refused.
type refusalReason uint8

const (
	refusedAuthentication refusalReason = iota
	refusedAuthFailure
	refusedRole
	refusedRealm
	refusedRealms
	refusedAction
	refusedAuthorizer
	refusedDisclosure
	refusedSize
	refusedRate
	refusedFlood
	refusedCalls
	refusedSubscriptions
	refusedRegistrations
	refusedSessions

	numRefusals
)

func (r refusalReason) String() string {
	return [numRefusals]string{
		"authentication", "authentication_failed", "no_such_role", "no_such_realm", "realms", "not_authorized", "authorization_failed",
		"disclosure", "message_size", "rate", "flood", "calls", "subscriptions", "registrations", "sessions",
	}[r]
}

// callResult is what became of a call.
type callResult uint8

const (
	callOK callResult = iota
	callError
	callCanceled
	callTimeout
	callCalleeGone
	callNoSuchProcedure
	callUnavailable

	numCallResults
)

func (r callResult) String() string {
	return [numCallResults]string{"ok", "error", "canceled", "timeout", "callee_gone", "no_such_procedure", "unavailable"}[r]
}

// resultOf says what became of a call that the router has answered itself.
func resultOf(e *wampcore.Error) callResult {
	switch {
	case e == errCalleeGone:
		return callCalleeGone
	case e.URI == wampcore.ErrCanceled:
		return callCanceled
	case e.URI == wampcore.ErrTimeout:
		return callTimeout
	case e.URI == wampcore.ErrNoSuchProcedure:
		return callNoSuchProcedure
	default:
		return callUnavailable
	}
}

// counters are the router's that are counted rarely.
type counters struct {
	refusals         [numRefusals]atomic.Uint64
	joined           atomic.Uint64
	slow, violations atomic.Uint64
}

// tally is what a realm has done. calls and durations are guarded by the realm's mu, the others by its publishing: where they are counted, that is held.
type tally struct {
	calls        [numCallResults]uint64
	durations    durations // of calls
	publications uint64
	events       uint64
}

func (t *tally) add(o *tally) {
	for i, n := range o.calls {
		t.calls[i] += n
	}
	t.durations.add(&o.durations)
	t.publications += o.publications
	t.events += o.events
}

func (r *Router) refuse(reason refusalReason) { r.counters.refusals[reason].Add(1) }

func (s *session) refuse(reason refusalReason) { s.conn.router.refuse(reason) }

// Stats returns a snapshot. It takes the locks of the realms for a moment each.
func (r *Router) Stats() Stats {
	out := Stats{
		Sessions: map[SessionKind]int{}, Calls: map[string]uint64{}, Refusals: map[string]uint64{},
		Joined: r.counters.joined.Load(), SlowConsumers: r.counters.slow.Load(), Violations: r.counters.violations.Load(),
	}
	for reason := range numRefusals {
		out.Refusals[reason.String()] = r.counters.refusals[reason].Load()
	}
	r.mu.Lock()
	realms, conns := make([]*realm, 0, len(r.realms)), make([]*conn, 0, len(r.conns))
	for realm := range maps.Values(r.realms) {
		realms = append(realms, realm)
	}
	for c := range r.conns {
		conns = append(conns, c)
	}
	total := r.past
	r.mu.Unlock()
	out.Realms, out.Connections = len(realms), len(conns)
	for _, realm := range realms {
		realm.stats(&out, &total)
	}
	for _, c := range conns {
		messages, bytes := c.out.size()
		out.QueueMessages += messages
		out.QueueBytes += bytes
	}
	out.Publications, out.Events, out.CallDurations = total.publications, total.events, total.durations.snapshot()
	for result := range numCallResults {
		out.Calls[result.String()] = total.calls[result]
	}
	return out
}

func (r *realm) stats(out *Stats, total *tally) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for kind, n := range r.kinds {
		out.Sessions[kind] += n
	}
	out.Subscriptions += len(r.broker.byID)
	out.Registrations += len(r.dealer.byID)
	out.OpenCalls += r.dealer.open
	r.publishing.Lock()
	defer r.publishing.Unlock()
	total.add(&r.tally)
}

// kind says how the session's peer is connected.
func (s *session) kind() SessionKind {
	k := SessionKind{Transport: s.conn.peer.Transport}
	if s.conn.peer.Encoding != 0 {
		k.Serializer = s.conn.peer.Encoding.String()
	}
	return k
}

// countRefusal counts a HELLO that did not lead to a session.
func (r *Router) countRefusal(err error) {
	e, ok := errors.AsType[*wampcore.Error](err)
	if !ok {
		return
	}
	switch {
	case e == errTooManyRealms:
		r.refuse(refusedRealms)
	case e.URI == wampcore.ErrNoSuchRealm:
		r.refuse(refusedRealm)
	case e.URI == wampcore.ErrNoSuchRole:
		r.refuse(refusedRole)
	case e.URI == wampcore.ErrAuthenticationFailed:
		r.refuse(refusedAuthFailure)
	case e.URI == wampcore.ErrAuthenticationDenied, e.URI == wampcore.ErrNoMatchingAuthMethod:
		r.refuse(refusedAuthentication)
	}
}
