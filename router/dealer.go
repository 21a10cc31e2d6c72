package router

import (
	"cmp"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

var (
	errExists     = &wampcore.Error{URI: wampcore.ErrProcedureAlreadyExists}
	errCalleeGone = &wampcore.Error{URI: wampcore.ErrCanceled, Message: "the callee left"}
	errUnfinished = &wampcore.Error{
		URI:     wampcore.ErrFeatureNotSupported,
		Message: "the callee does not take progressive call invocations",
	}
	errCalleePassthru = &wampcore.Error{
		URI:     wampcore.ErrFeatureNotSupported,
		Message: "the callee does not take payloads in passthru mode",
	}
)

// dealer holds a realm's registrations. The realm's lock guards it. The calls in flight are with their sessions: each
// with the caller under CALL.Request, and with the callee under INVOCATION.Request, so that no other session's answer
// can match.
type dealer struct {
	realm  *realm
	index  index[registration]
	byID   map[wampcore.ID]*registration
	lastID wampcore.ID
	spare  []*invocation // memory to use again
	open   int           // calls
	kept   int           // bytes, of calls that may be routed again
}

// registration is a procedure, or a pattern of procedures, with the sessions that serve it.
type registration struct {
	id        wampcore.ID
	created   time.Time
	procedure wampcore.URI
	match     wampcore.Match
	invoke    wampcore.Invoke

	callees []callee // in the order of registration
	turn    int      // of round robin: who is next
}

type callee struct {
	s              *session
	discloseCaller bool
	forwardTimeout bool
}

func newDealer(r *realm) dealer {
	return dealer{realm: r, index: newIndex[registration](), byID: map[wampcore.ID]*registration{}}
}

// register adds s to a registration, whose policy the first callee sets. A session that is on it already gets the same
// id again.
func (d *dealer) register(b *batch, s *session, m *wampcore.Register) error {
	if s.leaving || d.realm.router.door.Load().closed {
		return errLeaving
	}
	reg := d.index.at(m.Procedure, m.Options.Match)
	if reg != nil && (reg.invoke == wampcore.InvokeSingle || reg.invoke != m.Options.Invoke) {
		return errExists
	}
	created := reg == nil
	again := !created && s.registrations[reg.id] != nil
	r := s.rules.Load()
	if !again && (len(s.registrations) >= r.limits.Registrations || s.principal.registrations >= r.principal.Registrations) {
		s.refuse(refusedRegistrations)
		return errTooMany
	}
	if created {
		d.lastID++
		reg = &registration{
			id: d.lastID, created: time.Now(), procedure: m.Procedure, match: m.Options.Match, invoke: m.Options.Invoke,
		}
		d.index.set(reg.procedure, reg.match, reg)
		d.byID[reg.id] = reg
	}
	if !again {
		reg.callees = append(reg.callees, callee{s, m.Options.DiscloseCaller, m.Options.ForwardTimeout})
		if s.registrations == nil {
			s.registrations = map[wampcore.ID]*registration{}
		}
		s.registrations[reg.id] = reg
		s.principal.registrations++
	}
	b.send(s, &wampcore.Registered{Request: m.Request, Registration: reg.id})
	if created {
		d.realm.announce(b, "wamp.registration.on_create", func() []any { return []any{s.id, reg.describe()} })
	}
	if !again {
		d.realm.announce(b, "wamp.registration.on_register", func() []any { return []any{s.id, reg.id} })
	}
	return nil
}

func (d *dealer) unregister(b *batch, s *session, m *wampcore.Unregister) error {
	reg := s.registrations[m.Registration]
	if reg == nil {
		return &wampcore.Error{URI: wampcore.ErrNoSuchRegistration}
	}
	b.send(s, &wampcore.Unregistered{Request: m.Request})
	d.drop(b, s, reg)
	return nil
}

// revoke takes a registration away from s, and tells s if it understands that. What runs goes on. [RFC registration
// revocation]
func (d *dealer) revoke(b *batch, s *session, reg *registration, reason string) {
	if s.roles.Supports(wampcore.RoleCallee, wampcore.RegistrationRevocation) {
		b.send(s, &wampcore.Unregistered{Details: wampcore.RevokedDetails{ID: reg.id, Reason: reason}})
	}
	d.drop(b, s, reg)
}

func (d *dealer) drop(b *batch, s *session, reg *registration) {
	delete(s.registrations, reg.id)
	s.principal.registrations--
	i := reg.position(s)
	reg.callees = slices.Delete(reg.callees, i, i+1)
	if reg.turn > i {
		reg.turn--
	}
	gone := len(reg.callees) == 0
	if gone {
		d.index.set(reg.procedure, reg.match, nil)
		delete(d.byID, reg.id)
	}
	d.realm.announce(b, "wamp.registration.on_unregister", func() []any { return []any{s.id, reg.id} })
	if gone {
		d.realm.announce(b, "wamp.registration.on_delete", func() []any { return []any{s.id, reg.id} })
	}
}

func (reg *registration) position(s *session) int {
	return slices.IndexFunc(reg.callees, func(c callee) bool { return c.s == s })
}

// choose returns the callee of the next call, by the registration's policy.
func (reg *registration) choose() callee {
	n := len(reg.callees)
	switch reg.invoke {
	case wampcore.InvokeRoundRobin:
		if reg.turn >= n {
			reg.turn = 0
		}
		c := reg.callees[reg.turn]
		reg.turn++
		return c
	case wampcore.InvokeRandom:
		return reg.callees[rand.IntN(n)]
	case wampcore.InvokeLast:
		return reg.callees[n-1]
	case wampcore.InvokeLeastPending:
		return slices.MinFunc(reg.callees, func(a, b callee) int {
			return cmp.Compare(len(a.s.invocations), len(b.s.invocations))
		})
	default: // single has one; first has the first
		return reg.callees[0]
	}
}

// partition returns the callee that serves a key, the same as long as it stays: the one with the highest hash of both.
// [RFC sharded registration, partitioned calls]
func (reg *registration) partition(key string) callee {
	score := func(c callee) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(key))
		var id [8]byte
		for i := range id {
			id[i] = byte(c.s.id >> (8 * i))
		}
		_, _ = h.Write(id[:])
		return h.Sum64()
	}
	return slices.MaxFunc(reg.callees, func(a, b callee) int { return cmp.Compare(score(a), score(b)) })
}

// reroute returns another callee for a call that those in tried cannot take now, by the registration's policy; false if
// there is none that has what the call wants. [RFC call re-routing]
func (reg *registration) reroute(tried []*session, o *wampcore.CallOptions) (callee, bool) {
	out := func(c callee) bool { return slices.Contains(tried, c.s) || c.takes(o) != nil }
	left := *reg
	left.callees = slices.DeleteFunc(slices.Clone(reg.callees), out)
	if reg.invoke == wampcore.InvokeSingle || len(left.callees) == 0 {
		return callee{}, false
	}
	if reg.invoke == wampcore.InvokeRoundRobin { // the next in the queue behind the one that was asked last
		at := reg.position(tried[len(tried)-1])
		for i := range reg.callees {
			if next := reg.callees[(at+1+i)%len(reg.callees)]; !out(next) {
				return next, true
			}
		}
	}
	return left.choose(), true
}

// remove ends what a leaving session has begun: its calls are given up, those it serves fail.
func (d *dealer) remove(b *batch, s *session) {
	for _, reg := range s.registrations {
		d.drop(b, s, reg)
	}
	for _, inv := range s.calls {
		d.interrupt(b, inv, wampcore.CancelKillNoWait)
		d.forget(inv)
		d.ended(inv, callCanceled, d.realm.router.clock())
	}
	for _, inv := range s.invocations {
		d.settle(b, inv, errCalleeGone)
	}
}
