package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
)

// Authorizer decides what a session may do. It is asked by the session's own goroutine, before anything is done: it may wait,
// until ctx ends with Config.AuthorizeTimeout or the session, and that session alone waits with it. Many are asked at once.
//
// Where it fails, or is late, the request is denied: with the URI of a *wampcore.Error; any other error is logged, and the peer told
// wamp.error.authorization_failed.
type Authorizer interface {
	Authorize(ctx context.Context, q *Question) (Decision, error)
}

// Question is what an Authorizer is asked.
type Question struct {
	Session SessionDetails
	URI     wampcore.URI
	Match   wampcore.Match // of a subscription or registration: it is about all URIs that match
	Action  Action
	Options map[string]any // of the message, as far as they matter to who may do it

	via Via
}

// SessionDetails are what is known of who asks.
type SessionDetails struct {
	ID       wampcore.ID
	Realm    wampcore.URI
	AuthID   string
	AuthRole string
	Method   string
	Provider string
	Peer     Peer
}

// Decision is an answer to a Question.
type Decision struct {
	Allow    bool
	Disclose bool // of a call or publication: the receiver is told who makes it
	Cache    bool // the session remembers the answer, for the same action and URI, until the router is reconfigured
}

// rules are what the sessions of one authrole may do. They are never changed: others take their place.
type rules struct {
	role       string
	index      index[Permission]
	all        []Permission
	authorizer Authorizer
	disclosure Disclosure
	trustLevel *int64
	limits     Limits
	principal  Limits
	open       bool // everything is allowed, but for what begins with wamp: there the permissions are looked at
}

func newRules(name string, role Role, cfg *RealmConfig) *rules {
	r := &rules{
		role: name, index: newIndex[Permission](), authorizer: role.Authorizer, disclosure: cfg.Disclosure, trustLevel: role.TrustLevel,
	}
	r.limits, r.principal = role.Limits.withDefaults(), role.Principal.withDefaults()
	if role.Disclosure != nil {
		r.disclosure = *role.Disclosure
	}
	if level, ok := cfg.TrustLevels[name]; ok && r.trustLevel == nil {
		r.trustLevel = &level
	}
	r.all = slices.Clone(role.Permissions)
	r.open = len(r.all) == 1 && r.all[0] == everything.Permissions[0]
	if slices.Contains(cfg.Operators, name) {
		r.all = slices.DeleteFunc(r.all, func(p Permission) bool { return p.Match == wampcore.MatchExact && taking[p.URI] })
		for uri := range taking {
			r.all = append(r.all, Permission{URI: uri, Allow: ActionCall})
		}
	}
	for i := range r.all {
		p := &r.all[i]
		r.index.set(p.URI, p.Match, p)
	}
	return r
}

// taking are the procedures that take something from other sessions. A permission for all URIs does not mean them: it has to
// name what begins with wamp.
var taking = map[wampcore.URI]bool{ //nolint:gochecknoglobals // a constant table
	"wamp.session.kill":                   true,
	"wamp.session.kill_by_authid":         true,
	"wamp.session.kill_by_authrole":       true,
	"wamp.session.kill_all":               true,
	"wamp.registration.remove_callee":     true,
	"wamp.subscription.remove_subscriber": true,
}

// everything is what everybody may do in a realm whose roles are not configured.
var everything = Role{Permissions: []Permission{{Match: wampcore.MatchPrefix, Allow: AllActions}}} //nolint:gochecknoglobals // a constant

// roles are a realm's rules by authrole.
type roles struct {
	byName map[string]*rules
	others *rules // nil: there are no others
}

func newRoles(cfg *RealmConfig) *roles {
	rs := &roles{byName: make(map[string]*rules, len(cfg.Roles))}
	for name, role := range cfg.Roles {
		rs.byName[name] = newRules(name, role, cfg)
	}
	if cfg.Roles != nil {
		return rs
	}
	rs.others = newRules("", everything, cfg)
	for _, name := range cfg.Operators {
		rs.byName[name] = newRules(name, everything, cfg)
	}
	for name := range cfg.TrustLevels {
		rs.byName[name] = newRules(name, everything, cfg)
	}
	return rs
}

// of returns a role's rules, nil if there is no such role.
func (rs *roles) of(name string) *rules {
	if r := rs.byName[name]; r != nil {
		return r
	}
	return rs.others
}

func validateRoles(cfg *RealmConfig) error {
	for name, role := range cfg.Roles {
		seen := map[Permission]bool{}
		for i := range role.Permissions {
			p := &role.Permissions[i]
			key := Permission{URI: p.URI, Match: p.Match}
			if err := p.validate(); err != nil {
				return fmt.Errorf("role %s: %w", name, err)
			}
			if seen[key] {
				return fmt.Errorf("role %s has two permissions for %q, %s", name, p.URI, p.Match)
			}
			seen[key] = true
		}
	}
	return nil
}

// permission returns the one that decides about a URI, or about all that a pattern matches. Without one, it reports whether that is
// denied already, or left to the authorizer. [checklist 2.28]
func (r *rules) permission(a Action, uri wampcore.URI, match wampcore.Match) (p *Permission, denied bool) {
	if match == wampcore.MatchExact {
		p = r.index.best(uri)
		return p, p != nil && uri.Reserved() && taking[uri] && !p.URI.Reserved()
	}
	for i := range r.all { // of those that match all of it, the one that decides
		if q := &r.all[i]; q.covers(uri, match) && (p == nil || q.beats(p)) {
			p = q
		}
	}
	reserved := uri.Reserved()
	for i := range r.all {
		q := &r.all[i]
		switch {
		case q.Allow&a != 0, !q.meets(uri, match), p != nil && !q.beats(p):
		case q.URI.Reserved() && taking[q.URI]: // which nobody subscribes to or registers
		case !reserved && strings.HasPrefix(string(q.URI), "wamp."): // patterns do not mean what is the router's unless they say so
		default:
			return nil, true
		}
	}
	return p, false
}

// Allows reports whether the role's permissions allow what an action does with a URI. What they leave to its Authorizer is not.
func (role Role) Allows(a Action, uri wampcore.URI) bool {
	p, denied := newRules("", role, &RealmConfig{}).permission(a, uri, wampcore.MatchExact)
	return !denied && p != nil && p.Allow&a != 0
}

// disclose returns whether a call or publication says whose it is, of one that wishes so or not.
func (s *session) disclose(r *rules, wish bool, d Decision) (bool, error) {
	switch {
	case d.Disclose, r.disclosure == DiscloseAlways:
		return true, nil
	case r.disclosure == DiscloseNever && wish:
		s.refuse(refusedDisclosure)
		return false, errDisclosure
	default:
		return wish, nil
	}
}

// question is a request before it is decided.
type question struct {
	action Action
	uri    wampcore.URI
	match  wampcore.Match
	m      wampcore.Message // nil: there is none
}

// decisionKey is what a decision is remembered by.
type decisionKey struct {
	action Action
	match  wampcore.Match
	uri    wampcore.URI
}

// maxDecisions is how many decisions a session remembers.
const maxDecisions = 1024

// decide says whether s may do what q is about, by these rules: the error is why not. The reader alone calls it, without a lock.
func (s *session) decide(b *batch, r *rules, q question) (Decision, error) {
	d, err := s.decision(b, r, q)
	if err != nil {
		return Decision{}, err
	}
	return d, s.refusal(q, d)
}

func (s *session) decision(b *batch, r *rules, q question) (Decision, error) {
	if r.open && !q.uri.Reserved() { // for patterns, too: they do not mean what is the router's
		return Decision{Allow: true}, nil
	}
	q.match = normal(q.uri, q.match)
	if len(s.decisions) > 0 && s.decidedBy == r {
		if d, ok := s.decisions[decisionKey{q.action, q.match, q.uri}]; ok {
			return d, nil
		}
	}
	p, denied := r.permission(q.action, q.uri, q.match)
	var d Decision
	switch {
	case denied:
	case q.asks() && (p == nil || !p.URI.Reserved()):
		d.Allow = true
	case p != nil:
		d = Decision{Allow: p.Allow&q.action != 0, Cache: p.Cache}
		d.Disclose = p.DiscloseCaller && q.action == ActionCall || p.DisclosePublisher && q.action == ActionPublish
	case r.authorizer != nil:
		var err error
		if d, err = s.ask(b, r.authorizer, q); err != nil {
			return Decision{}, err
		}
	}
	if d.Cache {
		s.remember(r, q, d)
	}
	return d, nil
}

// asks reports whether a question is about a procedure that asks itself. It needs no permission; one that names what begins with wamp
// decides about it nevertheless.
func (q question) asks() bool { return q.action == ActionCall && q.uri.Reserved() && asking[q.uri] }

// asking are procedures that ask themselves: who may subscribe may know the past, and who may call what.
var asking = map[wampcore.URI]bool{ //nolint:gochecknoglobals // a constant table
	"wamp.subscription.get_events":            true,
	"wamp.reflection.procedure.list_callable": true,
}

// normal returns the policy that a pattern has in truth: exact, where it has no wildcard.
func normal(uri wampcore.URI, match wampcore.Match) wampcore.Match {
	if match == wampcore.MatchWildcard && uri.Valid(false) {
		return wampcore.MatchExact
	}
	return match
}

// rulesOf returns the rules for s, nil if there is no such role.
func (s *session) rulesOf(p *policy) *rules {
	if s.own() {
		return ownRules
	}
	return p.roles.of(s.authRole)
}

// own reports whether s is one of the router's.
func (s *session) own() bool { return s.conn.identity != nil && s.conn.identity.own }

func (s *session) remember(r *rules, q question, d Decision) {
	if len(q.uri) > maxURIBytes {
		return
	}
	if s.decidedBy != r || len(s.decisions) >= maxDecisions {
		s.decidedBy, s.decisions = r, map[decisionKey]Decision{}
	}
	s.decisions[decisionKey{q.action, q.match, q.uri}] = d
}

// refusal is the error of a decision, nil if it allows.
func (s *session) refusal(q question, d Decision) error {
	if d.Allow {
		return nil
	}
	s.refuse(refusedAction)
	return &wampcore.Error{
		URI:     wampcore.ErrNotAuthorized,
		Message: fmt.Sprintf("the authrole %s may not %s %s", s.authRole, q.action, q.uri),
	}
}

// ask has an authorizer decide. Others do not wait for what was queued for them before.
//
//nolint:contextcheck // it is the beginning of the context's life
func (s *session) ask(b *batch, a Authorizer, q question) (Decision, error) {
	b.flush()
	ctx, cancel := context.WithTimeout(context.Background(), s.conn.router.cfg.AuthorizeTimeout)
	defer cancel()
	if !s.conn.onStop(cancel) {
		return Decision{}, errAuthorization // the session ends
	}
	defer s.conn.onStop(nil)
	d, err := s.consult(ctx, a, q)
	if err == nil {
		return d, nil
	}
	s.refuse(refusedAuthorizer)
	if e, ok := errors.AsType[*wampcore.Error](err); ok {
		return Decision{}, e
	}
	s.conn.router.complain(func() {
		s.log(zerolog.ErrorLevel).Err(err).Stringer("action", q.action).Str("uri", string(q.uri)).Msg("authorization failed")
	})
	return Decision{}, errAuthorization
}

func (s *session) consult(ctx context.Context, a Authorizer, q question) (Decision, error) {
	d, err := a.Authorize(ctx, &Question{
		Session: s.details(), URI: q.uri, Match: q.match, Action: q.action, Options: q.options(), via: Via{s.realm.name, s.conn.router},
	})
	if err == nil {
		err = ctx.Err() // what came too late does not count
	}
	return d, err
}

var errAuthorization = &wampcore.Error{URI: wampcore.ErrAuthorizationFailed, Message: "whether this is allowed could not be found out"}

func (s *session) details() SessionDetails {
	return SessionDetails{
		ID: s.id, Realm: s.realm.name, AuthID: s.authID, AuthRole: s.authRole, Method: s.authMeth, Provider: s.authProv, Peer: s.conn.peer,
	}
}

// options returns the options of the message that an authorizer gets to see.
func (q question) options() map[string]any {
	o := map[string]any{}
	switch m := q.m.(type) {
	case *wampcore.Call:
		o["receive_progress"], o["progress"], o["disclose_me"] = m.Options.ReceiveProgress, m.Options.Progress, m.Options.DiscloseMe
	case *wampcore.Publish:
		o["acknowledge"], o["retain"], o["disclose_me"] = m.Options.Acknowledge, m.Options.Retain, m.Options.DiscloseMe
		o["exclude_me"] = !m.Options.IncludeMe
	case *wampcore.Subscribe:
		o["match"], o["get_retained"] = m.Options.Match.String(), m.Options.GetRetained
	case *wampcore.Register:
		o["match"], o["invoke"], o["disclose_caller"] = m.Options.Match.String(), m.Options.Invoke.String(), m.Options.DiscloseCaller
	default: // it is not about a message at hand
		o["match"] = q.match.String()
	}
	return o
}

// enter takes the realm's lock when s may do what q is about. The rules that say so still hold then: they are changed under the lock
// alone.
func (s *session) enter(b *batch, q question) error {
	for {
		r := s.rules.Load()
		if _, err := s.decide(b, r, q); err != nil {
			return err
		}
		s.realm.mu.Lock()
		if s.rules.Load() == r {
			return nil
		}
		s.realm.mu.Unlock()
	}
}

// may decides a question that is not about the message at hand.
func (s *session) may(b *batch, q question) error {
	_, err := s.decide(b, s.rules.Load(), q)
	return err
}
