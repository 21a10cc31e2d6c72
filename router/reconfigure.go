package router

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
)

// OnDemand makes a RealmConfig a template: a realm is there, with the name that a peer asks for, from the first session in it that is
// let in until it has been without sessions for some time.
type OnDemand struct {
	Match       wampcore.Match // prefix or wildcard: RealmConfig.Name is a pattern
	Max         int            // realms at the same time; default 1000
	IdleTimeout time.Duration  // default 5 min
}

func (o OnDemand) withDefaults() *OnDemand {
	if o.Max <= 0 {
		o.Max = 1000
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 5 * time.Minute
	}
	return &o
}

// policy is what is configured of a realm, or of those that a template stands for. It is never changed: another takes its place.
type policy struct {
	cfg            RealmConfig
	roles          *roles
	authenticators map[string]Authenticator
}

func newPolicy(cfg RealmConfig) *policy {
	if cfg.Authenticators == nil {
		cfg.Authenticators = map[string]Authenticator{anonymous: Anonymous{}}
	}
	if cfg.OnDemand != nil {
		cfg.OnDemand = cfg.OnDemand.withDefaults()
	}
	return &policy{cfg: cfg, roles: newRoles(&cfg), authenticators: cfg.Authenticators}
}

// policies are those of all realms. They are never changed.
type policies struct {
	byName    map[wampcore.URI]*policy
	templates index[policy]
}

func newPolicies(realms []RealmConfig) *policies {
	ps := &policies{byName: map[wampcore.URI]*policy{}, templates: newIndex[policy]()}
	for _, cfg := range realms {
		if p := newPolicy(cfg); cfg.OnDemand != nil {
			ps.templates.set(cfg.Name, cfg.OnDemand.Match, p)
		} else {
			ps.byName[cfg.Name] = p
		}
	}
	return ps
}

// of returns the policy of a realm, nil if there is no such realm.
func (ps *policies) of(name wampcore.URI) *policy {
	if p := ps.byName[name]; p != nil {
		return p
	}
	if name.Reserved() {
		return nil
	}
	return ps.templates.best(name)
}

var (
	errNoSuchRealm   = &wampcore.Error{URI: wampcore.ErrNoSuchRealm, Message: "no such realm"}
	errRealmClosed   = &wampcore.Error{URI: wampcore.CloseRealm, Message: "the realm is closed"}
	errTooManyRealms = &wampcore.Error{URI: wampcore.ErrLimitExceeded, Message: "there are as many realms as the router allows"}
	errRoleGone      = &wampcore.Error{URI: wampcore.ErrNoSuchRole, Message: "the realm has no such role any more"}
	errLoginGone     = &wampcore.Error{URI: wampcore.CloseKilled, Message: "the login does not count any more"}
)

// policy returns a realm's policy; an error is for ABORT, since there is no session yet to answer with ERROR.
func (r *Router) policy(name wampcore.URI) (*policy, error) {
	if !name.Valid(false) || oversized(name, wampcore.MatchExact) {
		return nil, &wampcore.Error{URI: wampcore.ErrInvalidURI, Message: "the realm's name is no URI, or longer than 1024 bytes"}
	}
	if p := r.policies.Load().of(name); p != nil {
		return p, nil
	}
	return nil, errNoSuchRealm
}

// HasRealm reports whether the router serves a realm with this name, or would on demand.
func (r *Router) HasRealm(name wampcore.URI) bool {
	_, err := r.policy(name)
	return err == nil
}

// join lets s into the realm of this name, which is made if there is a template for it. It does not where another policy than p is in
// force, which it returns: by that one the login may not count.
func (r *Router) join(b *batch, s *session, name wampcore.URI, p *policy, welcome func() *wampcore.Welcome) (now *policy, err error) {
	for {
		realm, err := r.open(name, !s.own())
		if err != nil {
			return nil, err
		}
		s.realm = realm
		if now, err := realm.join(b, s, p, welcome); now != nil {
			return now, err
		}
	}
}

// open returns the realm of this name. What is on demand is made if create is set.
func (r *Router) open(name wampcore.URI, create bool) (*realm, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if realm := r.realms[name]; realm != nil {
		return realm, nil
	}
	p := r.policies.Load().of(name)
	switch {
	case p == nil, !create:
		return nil, errNoSuchRealm
	case p.cfg.OnDemand != nil && r.instances(p) >= p.cfg.OnDemand.Max:
		return nil, errTooManyRealms
	}
	realm := newRealm(r, name, p)
	r.realms[name] = realm
	return realm, nil
}

// instances counts the realms that a template stands for. mu is held.
func (r *Router) instances(p *policy) int {
	n := 0
	for _, realm := range r.realms {
		if realm.policy.Load() == p {
			n++
		}
	}
	return n
}

// empty reports whether there are no sessions but the router's own. mu is held.
func (r *realm) empty() bool { return len(r.sessions) == r.own }

// retire ends a realm that was made on demand and has no sessions.
func (r *Router) retire(realm *realm) {
	r.mu.Lock()
	defer r.mu.Unlock()
	realm.mu.Lock()
	defer realm.mu.Unlock()
	if r.realms[realm.name] == realm && realm.empty() && realm.policy.Load().cfg.OnDemand != nil {
		realm.gone = true
		for _, s := range realm.sessions {
			s.expel(errRealmClosed)
		}
		t := realm.settleUp()
		r.past.add(&t)
		delete(r.realms, realm.name)
	}
}

// Reconfigure puts other realms, and other rules for those that there are, in the place of the configured ones: all of them at once, or,
// if there is something wrong, none. It counts for open sessions, too. What they may not subscribe to or register any more is taken from
// them; sessions end whose realm, role, method of authentication or principal is gone. Authorizers and Holders are asked again before
// Reconfigure returns, for half a minute at the most: what they do not answer stays as it was.
func (r *Router) Reconfigure(realms []RealmConfig) error {
	cfg := Config{Realms: realms}
	if err := cfg.validate(); err != nil {
		return err
	}
	r.reconfiguring.Lock()
	defer r.reconfiguring.Unlock()
	var b batch
	left := r.apply(&b, newPolicies(realms))
	b.flush()
	r.examine(left)
	return nil
}

// unsettled is what others than the router have to say something about.
type unsettled struct {
	logins   []*session
	holdings []holding
}

// holding is a subscription or registration that an authorizer has allowed.
type holding struct {
	s     *session
	rules *rules
	question
	id wampcore.ID
}

func (u *unsettled) add(o unsettled) {
	u.logins, u.holdings = append(u.logins, o.logins...), append(u.holdings, o.holdings...)
}

func (r *Router) apply(b *batch, ps *policies) (left unsettled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policies.Store(ps)
	for name, realm := range r.realms {
		if p := ps.of(name); p != nil {
			left.add(realm.apply(b, p))
		} else {
			t := realm.end()
			r.past.add(&t)
			delete(r.realms, name)
		}
	}
	for name, p := range ps.byName {
		if r.realms[name] == nil {
			r.realms[name] = newRealm(r, name, p)
		}
	}
	return left
}

// end closes a realm for good, and returns what it has done.
func (r *realm) end() tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	r.stopIdle()
	for _, s := range r.sessions {
		s.expel(errRealmClosed)
	}
	return r.settleUp()
}

// settleUp returns what is counted, and begins anew. mu is held.
func (r *realm) settleUp() tally {
	t := r.tally
	r.tally = tally{}
	return t
}

// expel ends s. It may do nothing any more, not even what is under way, or in its testament. mu is held.
func (s *session) expel(cause error) {
	s.testaments = testaments{}
	s.rules.Store(nothing)
	s.conn.stop(cause)
}

var nothing = newRules("", Role{}, &RealmConfig{}) //nolint:gochecknoglobals // a constant

// apply puts another policy in force.
func (r *realm) apply(b *batch, p *policy) (left unsettled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy.Store(p)
	r.strict.Store(p.cfg.Strict)
	r.publishing.Lock()
	r.history.reconfigure(p.cfg.History)
	r.publishing.Unlock()
	for _, s := range r.sessions {
		rules := s.rulesOf(p)
		switch {
		case rules == nil:
			s.expel(errRoleGone)
			continue
		case s.login != "" && p.authenticators[s.login] == nil:
			s.expel(errLoginGone)
			continue
		}
		s.rules.Store(rules)
		s.limit(rules)
		left.holdings = append(left.holdings, r.revoke(b, s, rules)...)
		if s.login != "" {
			left.logins = append(left.logins, s)
		}
	}
	if r.empty() {
		r.startIdle()
	}
	return left
}

const revoked = "the configuration does not allow it any more"

// revoke takes from s what it may not have any more, and returns what is for an authorizer to say. mu is held.
func (r *realm) revoke(b *batch, s *session, rules *rules) (left []holding) {
	for _, id := range idsOf(s.subscriptions) {
		sub := s.subscriptions[id]
		switch ok, ask := rules.keeps(ActionSubscribe, sub.topic, sub.match); {
		case ask:
			left = append(left, holding{s, rules, question{ActionSubscribe, sub.topic, sub.match, nil}, id})
		case !ok:
			r.broker.revoke(b, s, sub, revoked)
		}
	}
	for _, id := range idsOf(s.registrations) {
		reg := s.registrations[id]
		switch ok, ask := rules.keeps(ActionRegister, reg.procedure, reg.match); {
		case ask:
			left = append(left, holding{s, rules, question{ActionRegister, reg.procedure, reg.match, nil}, id})
		case !ok:
			r.dealer.revoke(b, s, reg, revoked)
		}
	}
	s.testaments.keep(func(p willed) bool {
		ok, ask := rules.keeps(ActionPublish, p.topic, wampcore.MatchExact)
		return ok || ask
	})
	return left
}

// take revokes a holding, if the session still has it by the same rules.
func (r *realm) take(b *batch, h holding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sub, reg := h.s.subscriptions[h.id], h.s.registrations[h.id]
	switch {
	case h.s.rules.Load() != h.rules:
	case h.action == ActionSubscribe && sub != nil:
		r.broker.revoke(b, h.s, sub, revoked)
	case h.action == ActionRegister && reg != nil:
		r.dealer.revoke(b, h.s, reg, revoked)
	}
}

func idsOf[T any](m map[wampcore.ID]T) []wampcore.ID {
	ids := make([]wampcore.ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, cmp.Compare[wampcore.ID])
	return ids
}

// keeps reports whether what was allowed before still is, or whether that is for an authorizer to say.
func (r *rules) keeps(a Action, uri wampcore.URI, match wampcore.Match) (ok, ask bool) {
	p, denied := r.permission(a, uri, normal(uri, match))
	if p == nil || denied {
		return false, !denied && r.authorizer != nil
	}
	return p.Allow&a != 0, false
}

// Holder is an Authenticator that knows whether a login that it has let in before would be let in now, as who it was. Where an
// Authenticator is none, its logins hold until their sessions end.
type Holder interface {
	Holds(ctx context.Context, who SessionDetails) (bool, error)
}

// examineTimeout bounds the time for all Holders and Authorizers.
const examineTimeout = 30 * time.Second

// examine ends the sessions whose login does not hold any more, and takes what an authorizer does not allow any more. Where there is no
// answer, all stays as it is.
func (r *Router) examine(left unsettled) {
	ctx, cancel := context.WithTimeout(context.Background(), examineTimeout)
	defer cancel()
	r.examineLogins(ctx, left.logins)
	r.examineHoldings(ctx, left.holdings)
	if ctx.Err() != nil {
		r.cfg.Log.Error().Msg("there was no time to ask about all that the configuration leaves to others")
	}
}

func (r *Router) examineHoldings(ctx context.Context, holdings []holding) {
	var b batch
	for _, h := range holdings {
		asking, cancel := context.WithTimeout(ctx, r.cfg.AuthorizeTimeout)
		d, err := h.s.consult(asking, h.rules.authorizer, h.question)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			h.s.log(zerolog.ErrorLevel).Err(err).Stringer("action", h.action).Str("uri", string(h.uri)).
				Msg("whether this is still allowed is not known")
		case !d.Allow:
			h.s.realm.take(&b, h)
			b.flush()
		}
	}
}

func (r *Router) examineLogins(ctx context.Context, guests []*session) {
	for _, s := range guests {
		if ctx.Err() != nil {
			return
		}
		holds, err := s.holds(ctx, s.realm.policy.Load())
		switch {
		case err != nil:
			s.log(zerolog.ErrorLevel).Err(err).Msg("whether the login still counts is not known")
		case !holds:
			s.realm.mu.Lock()
			if s.realm.sessions[s.id] == s { // else it has left, and another one may have its connection
				s.expel(errLoginGone)
			}
			s.realm.mu.Unlock()
		}
	}
}

// holds reports whether the login of s would be let in by a policy.
func (s *session) holds(ctx context.Context, p *policy) (bool, error) {
	a := p.authenticators[s.login]
	if h, ok := a.(Holder); ok {
		return h.Holds(ctx, s.details())
	}
	return a != nil, nil
}

func (o *OnDemand) validate(name wampcore.URI) error {
	if o.Match != wampcore.MatchPrefix && o.Match != wampcore.MatchWildcard {
		return fmt.Errorf("the template %q matches by prefix or wildcard", name)
	}
	if !name.ValidPattern(o.Match, false) || oversized(name, o.Match) {
		return fmt.Errorf("%q cannot be matched by %s", name, o.Match)
	}
	return nil
}
