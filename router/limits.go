package router

import (
	"cmp"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/wampgate/wampgate/wampcore"
)

// Limits are what is allowed of things that cost the router something. 0 is the default.
type Limits struct {
	MessageBytes  int // of a message's payload; default: what the transport takes
	Calls         int // open; default 131,072
	Subscriptions int // default 131,072
	Registrations int // default 131,072
	Sessions      int // of the role in a realm, or of the principal; default 131,072
	QueueMessages int // outbound; default Config.QueueMessages; of a principal: as many as fit in QueueBytes
	QueueBytes    int // outbound; default Config.QueueBytes; of a principal: four times that

	// Rate is how many messages a second may come; default 1,000,000, negative: no limit. A request beyond it is answered with
	// wamp.error.limit_exceeded; answers count, but are taken. Who sends twice as many is ended.
	Rate  float64
	Burst int // how many may come at once; default: those of a second
}

// maxPerSession bounds what one session, or one principal, may hold of each: subscriptions, registrations, calls in flight;
// and how many sessions a role or a principal may have.
const maxPerSession = 1 << 17

// maxRate is more than applications send, and less than one that floods can: it would take a core for itself.
const maxRate = 1e6

func (l Limits) withDefaults() Limits {
	for _, v := range []*int{&l.Calls, &l.Subscriptions, &l.Registrations, &l.Sessions} {
		if *v <= 0 {
			*v = maxPerSession
		}
	}
	if l.Rate == 0 {
		l.Rate = maxRate
	}
	if l.Burst <= 0 {
		l.Burst = max(1, int(l.Rate))
	}
	return l
}

// principal is all sessions of one authid and authrole. The realm's lock guards it, but for meter and queue.
type principal struct {
	sessions, calls, subscriptions, registrations int

	meter meter
	queue sharedQueue
}

type principalKey struct{ authID, authRole string }

// sharedQueue is what is queued for all sessions of a principal.
type sharedQueue struct {
	messages, bytes       atomic.Int64
	maxMessages, maxBytes atomic.Int64 // maxMessages 0: no limit
}

// full reports whether a message of this size is too much. Several may be found to fit at the same moment.
func (q *sharedQueue) full(size int) bool {
	ms, bs := q.maxMessages.Load(), q.maxBytes.Load()
	return ms > 0 && q.messages.Load() >= ms || q.bytes.Load()+int64(size) > bs
}

func (q *sharedQueue) add(messages, bytes int) {
	q.messages.Add(int64(messages))
	q.bytes.Add(int64(bytes))
}

// meter measures the rate of messages, and how far it is exceeded. Its limiters are made when they are first needed.
type meter struct {
	allowed, refused atomic.Pointer[rate.Limiter]
}

// limiter returns the one of p, with these limits. What was used up of others stays so.
func limiter(p *atomic.Pointer[rate.Limiter], l *Limits) *rate.Limiter {
	now := p.Load()
	if now == nil {
		p.CompareAndSwap(nil, rate.NewLimiter(rate.Limit(l.Rate), l.Burst))
		now = p.Load()
	}
	if now.Limit() != rate.Limit(l.Rate) {
		now.SetLimit(rate.Limit(l.Rate))
	}
	if now.Burst() != l.Burst {
		now.SetBurst(l.Burst)
	}
	return now
}

// credit is how many more messages a session may send before a meter is asked. Where many are allowed, a meter is asked for several at a
// time, since asking takes as long as a tenth of routing one.
type credit int

// step is how many messages a meter is asked for at a time.
func (l *Limits) step() int { return max(1, min(64, l.Burst/4096)) }

// count counts a message. It reports whether there are too many, and whether that is so for too long.
func (c *credit) count(m *meter, l *Limits) (over, flood bool) {
	if *c > 0 {
		*c--
		return false, false
	}
	if l.Rate < 0 {
		return false, false
	}
	now, step := time.Now(), l.step()
	allowed := limiter(&m.allowed, l)
	switch {
	case allowed.AllowN(now, step):
		*c = credit(step - 1)
		return false, false
	case step > 1 && allowed.AllowN(now, 1):
		return false, false
	}
	return true, !limiter(&m.refused, l).AllowN(now, 1)
}

var (
	errTooMany = &wampcore.Error{
		URI: wampcore.ErrLimitExceeded, Message: "there are as many of these as the router allows",
	}
	errTooFast = &wampcore.Error{
		URI: wampcore.ErrLimitExceeded, Message: "there are more messages than the router allows",
	}
	errTooLarge = &wampcore.Error{
		URI: wampcore.ErrPayloadSizeExceeded, Message: "the payload is larger than the router allows",
	}
)

// admission checks the size and the rate of what s sends. refused is a request's answer, end the end of the session.
func (s *session) admission(r *rules, m wampcore.Message) (refused *wampcore.Error, end error) {
	if r.limits.MessageBytes > 0 && payloadSize(m) > r.limits.MessageBytes {
		s.refuse(refusedSize)
		return errTooLarge, nil
	}
	if s.creditedBy != r { // the first messages are free, so that sessions that send little do without limiters
		s.creditedBy, s.credit, s.principalCredit = r, credit(r.limits.step()-1), credit(r.principal.step()-1)
	}
	over, flood := s.credit.count(&s.meter, &r.limits)
	if !over {
		over, flood = s.principalCredit.count(&s.principal.meter, &r.principal)
	}
	switch {
	case flood:
		s.refuse(refusedFlood)
		return nil, errTooFast
	case over:
		s.refuse(refusedRate)
		return errTooFast, nil
	}
	return nil, nil
}

// payloadSize returns the size of what an application has put in a message.
func payloadSize(m wampcore.Message) int {
	switch m := m.(type) {
	case *wampcore.Call:
		return m.Payload.Size()
	case *wampcore.Publish:
		return m.Payload.Size()
	case *wampcore.Yield:
		return m.Payload.Size()
	case *wampcore.ErrorMsg:
		return m.Payload.Size()
	default:
		return 0
	}
}

// turnDown answers a message that is not routed. What is no request goes its way, but for what is too large for it.
func (s *session) turnDown(b *batch, m wampcore.Message, e *wampcore.Error) (done bool, err error) {
	switch m := m.(type) {
	case *wampcore.Publish:
		if err := s.checkRequest(m.Request); err != nil || !m.Options.Acknowledge {
			return true, err
		}
		return true, s.reply(b, m.Type(), m.Request, e)
	case *wampcore.Call:
		return true, s.turnDownCall(b, m, e)
	case *wampcore.Subscribe:
		return true, s.answer(b, m.Type(), m.Request, func() error { return e })
	case *wampcore.Register:
		return true, s.answer(b, m.Type(), m.Request, func() error { return e })
	case *wampcore.Yield:
		return s.tooLarge(b, m.Request, e)
	case *wampcore.ErrorMsg:
		return s.tooLarge(b, m.Request, e)
	default:
		return false, nil
	}
}

// turnDownCall answers a call that is not routed. The pieces of one that is open go their way, unless they are too large.
func (s *session) turnDownCall(b *batch, m *wampcore.Call, e *wampcore.Error) error {
	if e == errTooLarge {
		s.realm.mu.Lock()
		inv := s.calls[m.Request]
		if inv != nil {
			s.realm.dealer.interrupt(b, inv, wampcore.CancelKillNoWait)
			s.realm.dealer.settle(b, inv, e)
		}
		s.realm.mu.Unlock()
		if inv != nil {
			return nil
		}
	}
	for {
		_, again, err := s.dispatch(b, s.rules.Load(), m, Decision{}, e)
		if !again {
			return s.reply(b, m.Type(), m.Request, err)
		}
	}
}

// tooLarge answers a caller whose callee's answer is too large.
func (s *session) tooLarge(b *batch, invocation wampcore.ID, e *wampcore.Error) (done bool, err error) {
	if e != errTooLarge {
		return false, nil
	}
	s.realm.mu.Lock()
	defer s.realm.mu.Unlock()
	inv, err := s.invocation(invocation)
	if inv != nil {
		s.realm.dealer.interrupt(b, inv, wampcore.CancelKillNoWait)
		s.realm.dealer.settle(b, inv, errTooLarge)
	}
	return true, err
}

// enroll makes s one of its principal's sessions, if there may be one more. mu is held.
func (r *realm) enroll(s *session, rules *rules) error {
	key := principalKey{s.authID, s.authRole}
	p := r.principals[key]
	switch {
	case r.byRole[s.authRole] >= rules.limits.Sessions, p != nil && p.sessions >= rules.principal.Sessions:
		s.refuse(refusedSessions)
		return errTooMany
	}
	if p == nil {
		p = &principal{}
		r.principals[key] = p
	}
	p.sessions++
	if s.own() {
		r.own++
	}
	r.byRole[s.authRole]++
	s.principal = p
	s.limit(rules)
	return nil
}

// dismiss takes a session that leaves from its principal. mu is held.
func (r *realm) dismiss(s *session) {
	s.conn.out.share(nil)
	if s.own() {
		r.own--
	}
	if r.kinds[s.kind()]--; r.kinds[s.kind()] == 0 {
		delete(r.kinds, s.kind())
	}
	if r.byRole[s.authRole]--; r.byRole[s.authRole] == 0 {
		delete(r.byRole, s.authRole)
	}
	if s.principal.sessions--; s.principal.sessions == 0 {
		delete(r.principals, principalKey{s.authID, s.authRole})
	}
}

// limit puts the limits of rules in force. mu is held.
func (s *session) limit(rules *rules) {
	cfg, p := &s.conn.router.cfg, s.principal
	s.conn.out.limit(cmp.Or(rules.limits.QueueMessages, cfg.QueueMessages), cmp.Or(rules.limits.QueueBytes, cfg.QueueBytes))
	p.queue.maxMessages.Store(int64(rules.principal.QueueMessages))
	p.queue.maxBytes.Store(int64(cmp.Or(rules.principal.QueueBytes, 4*cfg.QueueBytes)))
	s.conn.out.share(&p.queue)
}
