package router

import (
	"slices"
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
	began   time.Duration // by the router's clock

	progress bool // the caller takes progressive results, and the callee was asked for them
	killed   bool // the callee was interrupted, and its answer is waited for
	partial  bool // a progressive result was passed on

	more *more // of a call that may go on, or be routed again; nil: neither

	timeout time.Duration
	timer   *time.Timer // runs out after timeout without a sign of the callee; nil: none
}

// more is what is kept of a call that its first INVOCATION does not end.
type more struct {
	registration wampcore.ID
	open         bool // the caller has not sent the last of it. [RFC progressive call invocations]
	details      wampcore.InvocationDetails

	// To route it again. [RFC call re-routing]
	reg     *registration
	options wampcore.CallOptions
	uri     wampcore.URI
	payload wampcore.Payload // a copy
	size    int              // that it counts in dealer.kept
	tried   []*session
}

var errTimeout = &wampcore.Error{URI: wampcore.ErrTimeout, Message: "the callee did not answer in time"}

// call finds the callee of m, which is a new call, and queues the INVOCATION.
func (d *dealer) call(b *batch, s *session, m *wampcore.Call) error {
	if r := s.rules.Load(); len(s.calls) >= r.limits.Calls || s.principal.calls >= r.principal.Calls {
		s.refuse(refusedCalls)
		return errTooMany
	}
	if s.leaving || d.realm.router.door.Load().closed {
		d.count(callUnavailable)
		return errLeaving
	}
	reg := d.index.best(m.Procedure)
	if reg == nil {
		d.count(callNoSuchProcedure)
		return &wampcore.Error{
			URI:     wampcore.ErrNoSuchProcedure,
			Message: "no callee is registered for " + string(m.Procedure),
		}
	}
	to, err := reg.calleeFor(&m.Options)
	if err != nil {
		return err
	}
	d.invoke(b, reg, to, s, m) // from here on nothing fails
	return nil
}

// calleeFor chooses the callee of a call, and checks that it has what the call wants of it.
func (reg *registration) calleeFor(o *wampcore.CallOptions) (callee, error) {
	var to callee
	switch {
	case o.RunMode == "":
		to = reg.choose()
	case o.RunMode != "partition": // "all" has no description. [RFC sharded registration]
		return to, &wampcore.Error{URI: wampcore.ErrOptionNotAllowed, Message: "runmode is partition, if it is given"}
	case o.RKey == "":
		return to, &wampcore.Error{URI: wampcore.ErrInvalidArgument, Message: "runmode partition needs an rkey"}
	default:
		to = reg.partition(o.RKey)
	}
	return to, to.takes(o)
}

func (c callee) takes(o *wampcore.CallOptions) error {
	roles := c.s.roles
	pieces := roles.Supports(wampcore.RoleCallee, wampcore.ProgressiveCallInvocations) &&
		roles.Supports(wampcore.RoleCallee, wampcore.CallCanceling)
	switch {
	case o.Progress && !pieces:
		return errUnfinished
	case o.Passthru.Scheme != "" && !roles.Supports(wampcore.RoleCallee, wampcore.PayloadPassthruMode):
		return errCalleePassthru
	}
	return nil
}

func (d *dealer) invoke(b *batch, reg *registration, to callee, s *session, m *wampcore.Call) {
	inv := d.newInvocation()
	inv.caller, inv.request, inv.realm, inv.began = s, m.Request, d.realm, s.conn.now
	if s.calls == nil {
		s.calls = map[wampcore.ID]*invocation{}
	}
	s.calls[inv.request] = inv
	s.principal.calls++
	d.open++
	if m.Options.Progress {
		inv.more = &more{registration: reg.id, open: true}
	}
	d.offer(b, inv, reg, to, m)
}

// offer hands a call to a callee.
func (d *dealer) offer(b *batch, inv *invocation, reg *registration, to callee, m *wampcore.Call) {
	s := inv.caller
	inv.callee = to.s
	inv.progress = m.Options.ReceiveProgress && d.progresses(to.s)
	to.s.lastInvocation = to.s.lastInvocation.Next()
	inv.id = to.s.lastInvocation
	if to.s.invocations == nil {
		to.s.invocations = map[wampcore.ID]*invocation{}
	}
	to.s.invocations[inv.id] = inv

	d.keep(inv, reg, m)
	out := wampcore.NewInvocation()
	out.Request, out.Registration, out.Payload = inv.id, reg.id, m.Payload.Take()
	out.Details.ReceiveProgress = inv.progress
	out.Details.Progress = m.Options.Progress
	out.Details.Passthru = m.Options.Passthru
	out.Details.Custom = m.Options.Custom
	rules := s.rules.Load()
	out.Details.TrustLevel = rules.trustLevel
	if reg.match != wampcore.MatchExact {
		out.Details.Procedure = m.Procedure
	}
	if m.Options.DiscloseMe || to.discloseCaller && rules.disclosure != DiscloseNever {
		out.Details.Caller, out.Details.CallerAuthID, out.Details.CallerAuthRole = s.id, s.authID, s.authRole
	}
	if m.Options.Timeout > 0 {
		if to.forwardTimeout && to.s.roles.Supports(wampcore.RoleCallee, wampcore.CallTimeout) {
			out.Details.Timeout = m.Options.Timeout
		} else if inv.timer == nil { // else the call was routed again, and its time is running
			inv.timeout = m.Options.Timeout
			inv.timer = time.AfterFunc(inv.timeout, inv.expire)
		}
	}
	if inv.more != nil && inv.more.open {
		inv.more.details = out.Details
	}
	b.send(to.s, out)
}

// maxKeptBytes bounds what a realm keeps of calls to route them again. The callees of those that do not fit are their last ones.
const maxKeptBytes = 64 << 20

// keep remembers a call whose callee may say that it cannot take it now.
func (d *dealer) keep(inv *invocation, reg *registration, m *wampcore.Call) {
	if inv.more != nil || reg.invoke == wampcore.InvokeSingle || !inv.callee.roles.Supports(wampcore.RoleCallee, wampcore.CallReroute) {
		return
	}
	o := &m.Options
	size := m.Payload.Size() + len(m.Procedure) + len(o.RKey) + len(o.RunMode) + o.Passthru.Size() + o.Custom.Size()
	if d.kept+size > maxKeptBytes {
		return
	}
	d.kept += size
	inv.more = &more{reg: reg, options: *o, uri: m.Procedure, payload: m.Payload.Clone(), size: size}
}

// unkeep gives up what keep remembered.
func (d *dealer) unkeep(inv *invocation) {
	if inv.more != nil {
		d.kept -= inv.more.size
	}
}

// progresses reports whether a callee may be asked for progressive results. [RFC progressive call results] It has to
// support call canceling too; few real ones say so, hence only a strict realm insists.
func (d *dealer) progresses(callee *session) bool {
	return callee.roles.Supports(wampcore.RoleCallee, wampcore.ProgressiveCallResults) &&
		(!d.realm.strict.Load() || callee.roles.Supports(wampcore.RoleCallee, wampcore.CallCanceling))
}

// continued handles a CALL that goes on with one that was begun before, and reports whether it is one. [RFC progressive
// call invocations] What belongs to a call that is over is dropped: the caller has, or gets, its answer.
func (s *session) continued(b *batch, m *wampcore.Call) (bool, error) {
	if i := slices.Index(s.unfinished, m.Request); i >= 0 {
		if !m.Options.Progress { // the last of it
			s.unfinished = slices.Delete(s.unfinished, i, i+1)
		}
		return true, nil
	}
	inv := s.calls[m.Request]
	if inv == nil {
		return false, nil
	}
	if inv.more == nil || !inv.more.open {
		return false, wampcore.Violation("CALL %d is open already", m.Request)
	}
	inv.more.open = m.Options.Progress
	out := wampcore.NewInvocation()
	out.Request, out.Registration, out.Payload = inv.id, inv.more.registration, m.Payload.Take()
	out.Details = inv.more.details
	out.Details.Progress = m.Options.Progress
	b.send(inv.callee, out)
	return true, nil
}

// maxUnfinished is how many answered calls are remembered whose callers have not sent the last of them.
const maxUnfinished = 1024

// leaveUnfinished remembers a call that was answered before all of it came.
func (s *session) leaveUnfinished(request wampcore.ID) {
	if len(s.unfinished) >= maxUnfinished {
		s.unfinished = slices.Delete(s.unfinished, 0, 1)
	}
	s.unfinished = append(s.unfinished, request)
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
	if m.Options.Passthru.Scheme != "" && !inv.caller.roles.Supports(wampcore.RoleCaller, wampcore.PayloadPassthruMode) {
		e := &wampcore.Error{
			URI:     wampcore.ErrFeatureNotSupported,
			Message: "the caller does not take payloads in passthru mode",
		}
		b.send(s, s.errorMsg(m.Type(), m.Request, e)) // [RFC payload passthru mode] The callee is told, too.
		d.settle(b, inv, e)
		return nil
	}
	if m.Options.Progress {
		if inv.timer != nil { // [RFC call timeout] it measures from one sign of life to the next
			inv.timer.Reset(inv.timeout)
		}
		if !inv.progress { // the caller would take it for the end
			return nil
		}
		inv.partial = true
	} else {
		d.forget(inv)
	}
	out := wampcore.NewResult()
	out.Request, out.Payload = inv.request, m.Payload.Take()
	out.Details.Progress = m.Options.Progress
	out.Details.Passthru = m.Options.Passthru
	out.Details.Custom = m.Options.Custom
	b.send(inv.caller, out)
	if !m.Options.Progress {
		d.ended(inv, callOK, s.conn.now)
		d.reuse(inv)
	}
	return nil
}

// fail passes a callee's ERROR on, or routes the call to another callee.
func (d *dealer) fail(b *batch, s *session, m *wampcore.ErrorMsg) error {
	inv, err := s.invocation(m.Request)
	if inv == nil {
		return err
	}
	if m.URI == wampcore.ErrUnavailable && s.roles.Supports(wampcore.RoleCallee, wampcore.CallReroute) &&
		!inv.killed && !inv.partial && (inv.more == nil || !inv.more.open) {
		d.reroute(b, inv)
		return nil
	}
	d.forget(inv)
	d.ended(inv, callError, s.conn.now)
	out := wampcore.NewErrorMsg()
	out.RequestType, out.Request, out.URI = wampcore.TypeCall, inv.request, m.URI
	out.Details, out.Payload = m.Details, m.Payload.Take()
	if !m.URI.Valid(d.realm.strict.Load()) { // [RFC URIs] the callee cannot be answered; the caller gets a URI that is one
		out.URI = wampcore.ErrInvalidURI
	}
	b.send(inv.caller, out)
	d.reuse(inv)
	return nil
}

var errNoAvailableCallee = &wampcore.Error{
	URI:     wampcore.ErrNoAvailableCallee,
	Message: "no callee of the procedure can take the call now",
}

// reroute offers a call to another callee than those that had it.
func (d *dealer) reroute(b *batch, inv *invocation) {
	again := inv.more
	if again == nil || again.reg == nil || d.byID[again.reg.id] == nil {
		d.settle(b, inv, errNoAvailableCallee)
		return
	}
	again.tried = append(again.tried, inv.callee)
	to, ok := again.reg.reroute(again.tried, &again.options)
	if !ok {
		d.settle(b, inv, errNoAvailableCallee)
		return
	}
	delete(inv.callee.invocations, inv.id)
	inv.callee.rest()
	m := &wampcore.Call{Request: inv.request, Options: again.options, Procedure: again.uri, Payload: again.payload.Clone()}
	d.offer(b, inv, again.reg, to, m)
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
	d.ended(inv, resultOf(e), d.realm.router.clock())
	b.send(inv.caller, inv.caller.errorMsg(wampcore.TypeCall, inv.request, e))
	d.reuse(inv)
}

// forget takes a call out of both maps: what still comes for it finds nothing.
func (d *dealer) forget(inv *invocation) {
	delete(inv.caller.calls, inv.request)
	inv.caller.principal.calls--
	d.open--
	delete(inv.callee.invocations, inv.id)
	if inv.timer != nil {
		inv.timer.Stop()
	}
	if inv.more != nil && inv.more.open {
		inv.caller.leaveUnfinished(inv.request)
	}
	d.unkeep(inv)
	inv.caller.rest()
	inv.callee.rest()
}

func (d *dealer) count(result callResult) { d.realm.tally.calls[result]++ }

// ended counts a call that a callee had.
func (d *dealer) ended(inv *invocation, result callResult, now time.Duration) {
	d.count(result)
	d.realm.tally.durations.observe(now - inv.began)
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
