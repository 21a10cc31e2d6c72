package router

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// realm routes between its sessions.
type realm struct {
	// Set before the first session joins, never changed after.
	router *Router
	name   wampcore.URI

	// Changed under mu, read without.
	policy atomic.Pointer[policy]
	strict atomic.Bool

	// mu guards everything below, and what sessions hold in the realm. Messages are queued while it is held, so peers see
	// one order of things.
	mu         sync.RWMutex
	sessions   map[wampcore.ID]*session
	kinds      map[SessionKind]int
	byRole     map[string]int // sessions
	own        int            // sessions of the router itself
	principals map[principalKey]*principal
	gone       bool        // nobody joins any more
	idle       *time.Timer // of a realm on demand that has no sessions
	broker     broker
	dealer     dealer
	catalog    catalog

	// publishing is held while a publication is queued and remembered, so that the history has the order in which
	// subscribers get things. It is taken inside mu.
	publishing sync.Mutex
	reading    sync.Locker // mu's, for reading
	history    history
	tally      tally // calls in it are mu's
	retained   retained
}

func newRealm(router *Router, name wampcore.URI, p *policy) *realm {
	r := &realm{router: router, name: name, sessions: map[wampcore.ID]*session{}, kinds: map[SessionKind]int{}, byRole: map[string]int{}, principals: map[principalKey]*principal{}, history: newHistory(p.cfg.History)}
	r.policy.Store(p)
	r.strict.Store(p.cfg.Strict)
	r.reading = r.mu.RLocker()
	r.broker = newBroker(r)
	r.dealer = newDealer(r)
	r.startIdle()
	return r
}

// startIdle begins the time that a realm on demand may be without sessions. mu is held, or nobody else knows of the realm.
func (r *realm) startIdle() {
	r.stopIdle()
	if o := r.policy.Load().cfg.OnDemand; o != nil {
		r.idle = time.AfterFunc(o.IdleTimeout, func() { r.router.retire(r) })
	}
}

func (r *realm) stopIdle() {
	if r.idle != nil {
		r.idle.Stop()
		r.idle = nil
	}
}

// join lets s in, if there is a role for it, and if the policy in force is the one that it comes by: it returns that, and nil where the
// realm is gone.
func (r *realm) join(b *batch, s *session, by *policy, welcome func() *wampcore.Welcome) (now *policy, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return nil, nil
	}
	p := r.policy.Load()
	if p != by {
		return p, nil
	}
	rules := s.rulesOf(p)
	if rules == nil {
		return p, &wampcore.Error{URI: wampcore.ErrNoSuchRole, Message: "the realm has no role " + s.authRole}
	}
	if !r.router.door.Load().open(s.conn.peer) {
		return p, errShutdown
	}
	if err := r.enroll(s, rules); err != nil {
		return p, err
	}
	s.rules.Store(rules)
	if !s.own() {
		r.stopIdle()
	}
	r.sessions[s.id] = s
	r.kinds[s.kind()]++
	r.router.counters.joined.Add(1)
	b.send(s, welcome())
	r.announce(b, "wamp.session.on_join", func() []any { return []any{s.describe()} })
	return p, nil
}

// leave takes s out, and counts what a realm that is gone does to its end.
func (r *realm) leave(b *batch, s *session) {
	if late, gone := r.remove(b, s); gone {
		r.router.mu.Lock()
		r.router.past.add(&late)
		r.router.mu.Unlock()
	}
}

func (r *realm) remove(b *batch, s *session) (late tally, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takeOut(b, s)
	if r.gone {
		return r.settleUp(), true
	}
	return tally{}, false
}

// takeOut has s leave. mu is held.
func (r *realm) takeOut(b *batch, s *session) {
	delete(r.sessions, s.id)
	r.broker.remove(b, s)
	r.dealer.remove(b, s)
	r.catalog.remove(b, s)
	r.dismiss(s)
	if r.empty() && !r.gone && !s.own() {
		r.startIdle()
	}
	if s.buried {
		return
	}
	for _, p := range s.testaments.all() {
		r.deliver(b, p)
	}
	r.announce(b, "wamp.session.on_leave", func() []any { return []any{s.id, s.authID, s.authRole} })
}

// announce publishes one of the router's own events. mu is held. The arguments are asked for, and encoded, only where
// somebody listens; they are small. A pattern that does not begin with wamp gets none: who asks for all of an
// application's topics does not want to hear of its own subscription.
func (r *realm) announce(b *batch, topic wampcore.URI, args func() []any) {
	var p *publication
	r.broker.index.each(topic, func(sub *subscription, _ wampcore.Match) {
		if !sub.topic.Reserved() {
			return
		}
		if p == nil {
			payload, _ := wampcore.NewPayload(wampcore.JSON, args(), nil) // of plain values: it cannot fail
			p = &publication{id: wampcore.NewID(), topic: topic, payload: payload}
		}
		event := p.event(sub)
		for _, member := range sub.members {
			b.send(member, event)
		}
	})
}

func (r *realm) subscribe(b *batch, s *session, m *wampcore.Subscribe) error {
	if !m.Topic.ValidPattern(m.Options.Match, r.strict.Load()) || oversized(m.Topic, m.Options.Match) {
		return invalidURI("topic", m.Topic)
	}
	if err := s.enter(b, question{ActionSubscribe, m.Topic, m.Options.Match, m}); err != nil {
		return err
	}
	defer r.mu.Unlock()
	r.broker.subscribe(b, s, m)
	return nil
}

// maxURIBytes bounds the URIs that are kept, of which a session may have many. maxComponents bounds a wildcard pattern, and so the
// depth of the tree it goes into.
const (
	maxURIBytes   = 1 << 10
	maxComponents = 64
)

func oversized(uri wampcore.URI, match wampcore.Match) bool {
	return len(uri) > maxURIBytes || match == wampcore.MatchWildcard && strings.Count(string(uri), ".") >= maxComponents
}

func (r *realm) unsubscribe(b *batch, s *session, m *wampcore.Unsubscribe) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broker.unsubscribe(b, s, m)
}

func (r *realm) register(b *batch, s *session, m *wampcore.Register) error {
	if !m.Procedure.ValidPattern(m.Options.Match, r.strict.Load()) || m.Procedure.Reserved() ||
		oversized(m.Procedure, m.Options.Match) {
		return invalidURI("procedure", m.Procedure)
	}
	if err := s.enter(b, question{ActionRegister, m.Procedure, m.Options.Match, m}); err != nil {
		return err
	}
	defer r.mu.Unlock()
	if m.Options.DiscloseCaller && s.rules.Load().disclosure == DiscloseNever {
		s.refuse(refusedDisclosure)
		return errDisclosure
	}
	return r.dealer.register(b, s, m)
}

func (r *realm) unregister(b *batch, s *session, m *wampcore.Unregister) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dealer.unregister(b, s, m)
}

func (r *realm) cancel(b *batch, s *session, m *wampcore.Cancel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dealer.cancel(b, s, m)
}

// publish queues the events of m. Unless it was asked for, there is no answer, not even an error.
func (s *session) publish(b *batch, m *wampcore.Publish) error {
	if err := s.checkRequest(m.Request); err != nil {
		return err
	}
	if err := s.checkPassthru(wampcore.RolePublisher, m.Options.Passthru); err != nil {
		return err
	}
	p, err := s.admit(b, s.realm.reading, m)
	if err == nil && s.realm.router.door.Load().closed { // there may be no one left who would have got it
		s.realm.mu.RUnlock()
		err = errLeaving
	}
	if err != nil {
		if !m.Options.Acknowledge {
			return nil
		}
		return s.reply(b, m.Type(), m.Request, err)
	}
	defer s.realm.mu.RUnlock()
	if m.Options.Acknowledge { // before an event that the publisher gets itself
		b.send(s, &wampcore.Published{Request: m.Request, Publication: p.id})
	}
	s.realm.deliver(b, willed{p, m.Options.Retain})
	return nil
}

// admit takes the realm's lock when m may be published, by rules that still hold then. It takes over m's payload.
func (s *session) admit(b *batch, lock sync.Locker, m *wampcore.Publish) (publication, error) {
	if !m.Topic.Valid(s.realm.strict.Load()) || m.Topic.Reserved() {
		return publication{}, invalidURI("topic", m.Topic)
	}
	wish := m.Options.DiscloseMe
	for {
		r := s.rules.Load()
		d, err := s.decide(b, r, question{ActionPublish, m.Topic, wampcore.MatchExact, m})
		if err == nil {
			m.Options.DiscloseMe, err = s.disclose(r, wish, d)
		}
		if err != nil {
			return publication{}, err
		}
		p := newPublication(s, r, m)
		m.Payload = p.payload
		lock.Lock()
		if s.rules.Load() == r {
			return p, nil
		}
		lock.Unlock()
	}
}

// willed is a publication, with what is to become of it.
type willed struct {
	publication

	retain bool
}

// deliver queues a publication for its subscribers, and remembers it. mu is held, to read at least.
func (r *realm) deliver(b *batch, p willed) {
	r.publishing.Lock()
	defer r.publishing.Unlock()
	p.at = time.Now()
	r.tally.publications++
	r.tally.events += uint64(r.broker.publish(b, &p.publication))
	r.history.remember(&p.publication)
	if p.retain {
		r.retained.keep(p.publication)
	}
}

var errDisclosure = &wampcore.Error{
	URI:     wampcore.ErrDiscloseMeDisallowed,
	Message: "this realm does not disclose who calls and publishes",
}

// checkPassthru ends sessions that make use of the payload passthru mode without having announced it.
func (s *session) checkPassthru(role wampcore.Role, p wampcore.Passthru) error {
	if p.Scheme != "" && !s.roles.Supports(role, wampcore.PayloadPassthruMode) {
		return wampcore.Violation("ppt_scheme is given, but the %s did not announce payload_passthru_mode", role)
	}
	return nil
}

func (s *session) call(b *batch, m *wampcore.Call) error {
	if m.Options.Progress && !s.roles.Supports(wampcore.RoleCaller, wampcore.ProgressiveCallInvocations) {
		return wampcore.Violation("progress is given, but the caller did not announce progressive_call_invocations")
	}
	if err := s.checkPassthru(wampcore.RoleCaller, m.Options.Passthru); err != nil {
		return err
	}
	for {
		rules := s.rules.Load()
		var d Decision
		var err error
		switch {
		case !m.Procedure.Valid(s.realm.strict.Load()):
			err = invalidURI("procedure", m.Procedure)
		case rules.authorizer == nil || !s.continues(m): // else it was decided before
			d, err = s.decide(b, rules, question{ActionCall, m.Procedure, wampcore.MatchExact, m})
		}
		meta, again, err := s.dispatch(b, rules, m, d, err)
		switch {
		case again:
		case meta:
			return s.metaCall(b, m)
		default:
			return s.reply(b, m.Type(), m.Request, err)
		}
	}
}

// continues reports whether m belongs to a call that an authorizer has allowed: it is not asked about each piece.
func (s *session) continues(m *wampcore.Call) bool {
	if !s.roles.Supports(wampcore.RoleCaller, wampcore.ProgressiveCallInvocations) {
		return false
	}
	s.realm.mu.RLock()
	defer s.realm.mu.RUnlock()
	return s.calls[m.Request] != nil || slices.Contains(s.unfinished, m.Request)
}

// dispatch takes a call to where it belongs, or denies it; to the meta API that is for the caller to do, without the lock. It has to be
// decided again if the rules have changed, or it came behind the end of what it belongs to.
func (s *session) dispatch(b *batch, r *rules, m *wampcore.Call, d Decision, denied error) (meta, again bool, err error) {
	s.realm.mu.Lock()
	defer s.realm.mu.Unlock()
	if done, err := s.continued(b, m); done || err != nil {
		return false, false, err
	}
	if s.rules.Load() != r || denied == nil && !d.Allow {
		return false, true, nil
	}
	if err := s.checkRequest(m.Request); err != nil {
		return false, false, err
	}
	if err = denied; err == nil {
		m.Options.DiscloseMe, err = s.disclose(r, m.Options.DiscloseMe, d)
	}
	switch {
	case err != nil:
	case !m.Procedure.Reserved():
		err = s.realm.dealer.call(b, s, m)
	case m.Options.Progress:
		err = errUnfinished
	default:
		return true, false, nil
	}
	if err != nil && m.Options.Progress {
		s.leaveUnfinished(m.Request)
	}
	return false, false, err
}

func (s *session) yield(b *batch, m *wampcore.Yield) error {
	if err := s.checkPassthru(wampcore.RoleCallee, m.Options.Passthru); err != nil {
		return err
	}
	s.realm.mu.Lock()
	defer s.realm.mu.Unlock()
	return s.realm.dealer.yield(b, s, m)
}

func (s *session) fail(b *batch, m *wampcore.ErrorMsg) error {
	if m.RequestType != wampcore.TypeInvocation {
		return wampcore.Violation("ERROR for request type %d; a client fails invocations (68) only", m.RequestType)
	}
	if err := s.checkPassthru(wampcore.RoleCallee, m.Details.Passthru); err != nil {
		return err
	}
	s.realm.mu.Lock()
	defer s.realm.mu.Unlock()
	return s.realm.dealer.fail(b, s, m)
}

func invalidURI(what string, uri wampcore.URI) error {
	msg := what + " is no valid URI"
	switch {
	case len(uri) > maxURIBytes:
		msg = what + " is longer than 1024 bytes"
	case uri.Reserved():
		msg = what + " is reserved: URIs that begin with wamp. belong to the router"
	}
	return &wampcore.Error{URI: wampcore.ErrInvalidURI, Message: msg}
}
