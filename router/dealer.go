package router

import (
	"math/rand/v2"
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

var (
	errNoSuchProcedure = &wampcore.Error{URI: wampcore.ErrNoSuchProcedure}
	errExists          = &wampcore.Error{URI: wampcore.ErrProcedureAlreadyExists}
	errCalleeGone      = &wampcore.Error{URI: wampcore.ErrCanceled, Message: "the callee left"}
)

// dealer holds a realm's registrations. The realm's lock guards it. The calls in flight are with their sessions: each
// with the caller under CALL.Request, and with the callee under INVOCATION.Request, so that no other session's answer
// can match.
type dealer struct {
	strict bool
	index  index[registration]
	lastID wampcore.ID
	spare  []*invocation // memory to use again
}

// registration is a procedure, or a pattern of procedures, with the sessions that serve it.
type registration struct {
	id        wampcore.ID
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

func newDealer(strict bool) dealer {
	return dealer{strict: strict, index: newIndex[registration]()}
}

// register adds s to a registration, whose policy the first callee sets. A session that is on it already gets the same
// id again.
func (d *dealer) register(b *batch, s *session, m *wampcore.Register) error {
	if len(s.registrations) >= maxPerSession {
		return errTooMany
	}
	reg := d.index.at(m.Procedure, m.Options.Match)
	if reg == nil {
		d.lastID++
		reg = &registration{id: d.lastID, procedure: m.Procedure, match: m.Options.Match, invoke: m.Options.Invoke}
		d.index.set(reg.procedure, reg.match, reg)
	} else if reg.invoke == wampcore.InvokeSingle || reg.invoke != m.Options.Invoke {
		return errExists
	}
	if s.registrations[reg.id] == nil {
		reg.callees = append(reg.callees, callee{s, m.Options.DiscloseCaller, m.Options.ForwardTimeout})
		if s.registrations == nil {
			s.registrations = map[wampcore.ID]*registration{}
		}
		s.registrations[reg.id] = reg
	}
	b.send(s, &wampcore.Registered{Request: m.Request, Registration: reg.id})
	return nil
}

func (d *dealer) unregister(b *batch, s *session, m *wampcore.Unregister) error {
	reg := s.registrations[m.Registration]
	if reg == nil {
		return &wampcore.Error{URI: wampcore.ErrNoSuchRegistration}
	}
	d.drop(s, reg)
	b.send(s, &wampcore.Unregistered{Request: m.Request})
	return nil
}

func (d *dealer) drop(s *session, reg *registration) {
	delete(s.registrations, reg.id)
	i := slices.IndexFunc(reg.callees, func(c callee) bool { return c.s == s })
	reg.callees = slices.Delete(reg.callees, i, i+1)
	if reg.turn > i {
		reg.turn--
	}
	if len(reg.callees) == 0 {
		d.index.set(reg.procedure, reg.match, nil)
	}
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
			return len(a.s.invocations) - len(b.s.invocations)
		})
	default: // single has one; first has the first
		return reg.callees[0]
	}
}

// remove ends what a leaving session has begun: its calls are given up, those it serves fail.
func (d *dealer) remove(b *batch, s *session) {
	for _, reg := range s.registrations {
		d.drop(s, reg)
	}
	for _, inv := range s.calls {
		d.interrupt(b, inv, wampcore.CancelKillNoWait)
		d.forget(inv)
	}
	for _, inv := range s.invocations {
		d.settle(b, inv, errCalleeGone)
	}
}
