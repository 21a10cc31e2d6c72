package router

import (
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// invocation is a call in flight. It ends with exactly one answer to the caller; whoever takes it out of the two maps
// it stands in (forget) is the one to answer.
type invocation struct {
	caller  *session
	request wampcore.ID // of the CALL
	callee  *session
	id      wampcore.ID // of the INVOCATION
	realm   *realm

	progress bool // the caller takes progressive results, and the callee was asked for them
	killed   bool // the callee was interrupted, and its answer is waited for

	timeout time.Duration
	timer   *time.Timer // runs out after timeout without a sign of the callee; nil: none
}

var errTimeout = &wampcore.Error{URI: wampcore.ErrTimeout, Message: "the callee did not answer in time"}

// call finds the callee of m and queues the INVOCATION.
func (d *dealer) call(b *batch, s *session, m *wampcore.Call) error {
	if s.calls[m.Request] != nil {
		return wampcore.Violation("CALL %d is open already", m.Request)
	}
	if len(s.calls) >= maxPerSession {
		return errTooMany
	}
	reg := d.index.best(m.Procedure)
	if reg == nil {
		return &wampcore.Error{URI: errNoSuchProcedure.URI, Message: "no callee is registered for " + string(m.Procedure)}
	}
	d.invoke(b, reg, reg.choose(), s, m) // from here on nothing fails
	return nil
}

func (d *dealer) invoke(b *batch, reg *registration, to callee, s *session, m *wampcore.Call) {
	inv := d.newInvocation()
	inv.caller, inv.request, inv.callee, inv.realm = s, m.Request, to.s, s.realm
	inv.progress = m.Options.ReceiveProgress && d.progresses(to.s)
	to.s.lastInvocation = to.s.lastInvocation.Next()
	inv.id = to.s.lastInvocation
	if s.calls == nil {
		s.calls = map[wampcore.ID]*invocation{}
	}
	if to.s.invocations == nil {
		to.s.invocations = map[wampcore.ID]*invocation{}
	}
	s.calls[inv.request] = inv
	to.s.invocations[inv.id] = inv

	out := wampcore.NewInvocation()
	out.Request, out.Registration, out.Payload = inv.id, reg.id, m.Payload.Take()
	out.Details.ReceiveProgress = inv.progress
	out.Details.Custom = m.Options.Custom
	if reg.match != wampcore.MatchExact {
		out.Details.Procedure = m.Procedure
	}
	if m.Options.DiscloseMe || to.discloseCaller {
		out.Details.Caller, out.Details.CallerAuthID, out.Details.CallerAuthRole = s.id, s.authID, s.authRole
	}
	if m.Options.Timeout > 0 {
		if to.forwardTimeout && to.s.roles.Supports(wampcore.RoleCallee, wampcore.CallTimeout) {
			out.Details.Timeout = m.Options.Timeout
		} else {
			inv.timeout = m.Options.Timeout
			inv.timer = time.AfterFunc(inv.timeout, inv.expire)
		}
	}
	b.send(to.s, out)
}

// progresses reports whether a callee may be asked for progressive results. [RFC progressive call results] It has to
// support call canceling too; few real ones say so, hence only a strict realm insists.
func (d *dealer) progresses(callee *session) bool {
	return callee.roles.Supports(wampcore.RoleCallee, wampcore.ProgressiveCallResults) &&
		(!d.strict || callee.roles.Supports(wampcore.RoleCallee, wampcore.CallCanceling))
}

// expire is called by the timer.
func (inv *invocation) expire() {
	var b batch
	inv.realm.mu.Lock()
	if inv.caller.calls[inv.request] == inv { // else it was answered at the same moment
		d := &inv.realm.dealer
		d.interrupt(&b, inv, wampcore.CancelKillNoWait)
		d.settle(&b, inv, errTimeout)
	}
	inv.realm.mu.Unlock()
	b.flush()
}

// yield passes a callee's answer on. An answer to what is over is dropped; one to what never was is a violation.
func (d *dealer) yield(b *batch, s *session, m *wampcore.Yield) error {
	inv, err := s.invocation(m.Request)
	if inv == nil {
		return err
	}
	if m.Options.Progress {
		if inv.timer != nil { // [RFC call timeout] it measures from one sign of life to the next
			inv.timer.Reset(inv.timeout)
		}
		if !inv.progress { // the caller would take it for the end
			return nil
		}
	} else {
		d.forget(inv)
	}
	out := wampcore.NewResult()
	out.Request, out.Payload = inv.request, m.Payload.Take()
	out.Details.Progress = m.Options.Progress
	out.Details.Custom = m.Options.Custom
	b.send(inv.caller, out)
	if !m.Options.Progress {
		d.reuse(inv)
	}
	return nil
}

// fail passes a callee's ERROR on.
func (d *dealer) fail(b *batch, s *session, m *wampcore.ErrorMsg) error {
	inv, err := s.invocation(m.Request)
	if inv == nil {
		return err
	}
	d.forget(inv)
	out := wampcore.NewErrorMsg()
	out.RequestType, out.Request, out.URI = wampcore.TypeCall, inv.request, m.URI
	out.Details, out.Payload = m.Details, m.Payload.Take()
	if !m.URI.Valid(d.strict) { // [RFC URIs] the callee cannot be answered; the caller gets a URI that is one
		out.URI = wampcore.ErrInvalidURI
	}
	b.send(inv.caller, out)
	d.reuse(inv)
	return nil
}

// invocation returns an open invocation of s, or nil: with an error if s was never sent one with this id.
func (s *session) invocation(id wampcore.ID) (*invocation, error) {
	inv := s.invocations[id]
	if inv == nil && id > s.lastInvocation {
		return nil, wampcore.Violation("there never was an INVOCATION %d", id)
	}
	return inv, nil
}

// cancel ends a call as its caller wishes: skip and killnowait answer at once, kill leaves the answer to the callee.
// A call that is over, or never was, is ignored. [RFC call canceling]
func (d *dealer) cancel(b *batch, s *session, m *wampcore.Cancel) {
	inv := s.calls[m.Request]
	if inv == nil {
		return
	}
	mode := m.Mode
	if mode == wampcore.CancelDefault {
		mode = wampcore.CancelKillNoWait
	}
	if !inv.callee.roles.Supports(wampcore.RoleCallee, wampcore.CallCanceling) {
		mode = wampcore.CancelSkip
	}
	if mode != wampcore.CancelSkip {
		d.interrupt(b, inv, mode)
	}
	if mode != wampcore.CancelKill {
		d.settle(b, inv, &wampcore.Error{URI: wampcore.ErrCanceled})
	}
}

// interrupt asks the callee to stop, if it understands that and was not asked before.
func (d *dealer) interrupt(b *batch, inv *invocation, mode wampcore.CancelMode) {
	if inv.killed || !inv.callee.roles.Supports(wampcore.RoleCallee, wampcore.CallCanceling) {
		return
	}
	inv.killed = true
	b.send(inv.callee, &wampcore.Interrupt{Request: inv.id, Mode: mode})
}

// settle ends a call with an error that is the router's.
func (d *dealer) settle(b *batch, inv *invocation, e *wampcore.Error) {
	d.forget(inv)
	b.send(inv.caller, inv.caller.errorMsg(wampcore.TypeCall, inv.request, e))
	d.reuse(inv)
}

// forget takes a call out of both maps: what still comes for it finds nothing.
func (d *dealer) forget(inv *invocation) {
	delete(inv.caller.calls, inv.request)
	delete(inv.callee.invocations, inv.id)
	if inv.timer != nil {
		inv.timer.Stop()
	}
}

// maxSpare is how many ended invocations are kept to be used again.
const maxSpare = 1024

func (d *dealer) newInvocation() *invocation {
	if n := len(d.spare); n > 0 {
		inv := d.spare[n-1]
		d.spare = d.spare[:n-1]
		return inv
	}
	return new(invocation)
}

// reuse keeps an ended invocation's memory, unless a timer may still look at it.
func (d *dealer) reuse(inv *invocation) {
	if inv.timer == nil && len(d.spare) < maxSpare {
		*inv = invocation{}
		d.spare = append(d.spare, inv)
	}
}
