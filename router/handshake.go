package router

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
)

// handshake waits for HELLO and answers it with WELCOME. An *Error or *ProtocolError becomes an ABORT.
func (c *conn) handshake(wait time.Duration, timeout error) (*session, error) {
	timer := time.AfterFunc(wait, func() { c.stop(timeout) })
	defer timer.Stop()
	m, err := c.receive()
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *wampcore.Hello:
		return c.hello(*m)
	case *wampcore.Abort:
		return nil, errAbort
	default:
		return nil, wampcore.Violation("message %d came before HELLO", m.Type())
	}
}

// hello has a HELLO of its own: what was received is the transport's again while AUTHENTICATE is waited for.
func (c *conn) hello(m wampcore.Hello) (_ *session, err error) {
	defer func() { c.refusal(&m, err) }()
	p, err := c.router.policy(m.Realm)
	if err != nil {
		return nil, err
	}
	roles := m.Details.Roles
	if !slices.ContainsFunc(clientRoles[:], roles.Has) {
		return nil, wampcore.Violation("HELLO announces none of the roles publisher, subscriber, caller, callee")
	}
	number := wampcore.NewID()
	id, login, err := c.authenticate(p, &m, number)
	if err != nil {
		return nil, err
	}
	s := &session{
		conn:     c,
		id:       number,
		roles:    roles,
		agent:    m.Details.Agent,
		authID:   id.AuthID,
		authRole: id.AuthRole,
		authMeth: id.Method,
		authProv: id.Provider,
		joined:   time.Now(),
		expires:  id.Expires,
	}
	if c.identity == nil {
		s.login = login
	}
	welcome := func() *wampcore.Welcome { return s.welcome(id.Extra) }
	for {
		now, err := c.router.join(&c.batch, s, m.Realm, p, welcome)
		switch {
		case err != nil:
			return nil, err
		case now == p:
			return s, nil
		}
		p = now
		if err := c.still(s, p); err != nil {
			return nil, err
		}
	}
}

// still checks whether a login holds by a policy that came into force after it: what Reconfigure asks about who has joined.
//
//nolint:contextcheck // it is the beginning of the context's life
func (c *conn) still(s *session, p *policy) error {
	if s.login == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), examineTimeout)
	defer cancel()
	if !c.onStop(cancel) {
		return c.reason()
	}
	defer c.onStop(nil)
	holds, err := s.holds(ctx, p)
	switch {
	case c.reason() != nil:
		return c.reason()
	case err != nil:
		return c.refused(&Login{Realm: p.cfg.Name, AuthID: s.authID, Method: s.login}, err)
	case !holds:
		return errLoginGone
	}
	return nil
}

// refusal counts, and logs, that the peer is not let in.
func (c *conn) refusal(m *wampcore.Hello, err error) {
	c.router.countRefusal(err)
	_, violation := errors.AsType[*wampcore.ProtocolError](err)
	e, refused := errors.AsType[*wampcore.Error](err)
	if !violation && !refused || refused && e.URI == wampcore.ErrAuthenticationFailed || c.peer.Transport == pipe {
		return // it is let in, or is gone; it is logged with its cause; it is in this process
	}
	c.router.refusals.Do(func() {
		c.router.cfg.Log.WithLevel(zerolog.WarnLevel).Err(err).Func(c.wanted(m.Realm, m.Details.AuthID)).Msg("session refused")
	})
}

// wanted adds to a line of the log what a peer wanted to be, as far as it fits.
func (c *conn) wanted(realm wampcore.URI, authID string) func(*zerolog.Event) {
	return func(line *zerolog.Event) {
		line.Str("realm", string(realm[:min(len(realm), maxLogged)])).Str("authid", authID[:min(len(authID), maxLogged)]).
			Str("transport", c.peer.Transport).Str("peer", c.peer.Address)
	}
}

// maxLogged bounds what is logged of a text that a stranger has sent.
const maxLogged = 128

var clientRoles = [...]wampcore.Role{ //nolint:gochecknoglobals // a constant table
	wampcore.RolePublisher, wampcore.RoleSubscriber, wampcore.RoleCaller, wampcore.RoleCallee,
}

// routerRoles is what WELCOME announces: only what is whole.
func routerRoles() wampcore.Roles {
	var roles wampcore.Roles
	roles.Add(wampcore.RoleBroker,
		wampcore.EventHistory,
		wampcore.EventRetention,
		wampcore.PatternBasedSubscription,
		wampcore.PayloadPassthruMode,
		wampcore.PublicationTrustlevels,
		wampcore.PublisherExclusion,
		wampcore.PublisherIdentification,
		wampcore.SessionMetaAPI,
		wampcore.SubscriberBlackwhiteListing,
		wampcore.SubscriptionMetaAPI,
		wampcore.SubscriptionRevocation)
	roles.Add(wampcore.RoleDealer,
		wampcore.CallCanceling,
		wampcore.CallReroute,
		wampcore.CallTimeout,
		wampcore.CallTrustlevels,
		wampcore.CallerIdentification,
		wampcore.PatternBasedRegistration,
		wampcore.PayloadPassthruMode,
		wampcore.ProgressiveCallInvocations,
		wampcore.ProgressiveCallResults,
		wampcore.RegistrationMetaAPI,
		wampcore.RegistrationRevocation,
		wampcore.SessionMetaAPI,
		wampcore.SharedRegistration,
		wampcore.TestamentMetaAPI)
	roles.AddReflection(wampcore.RoleBroker)
	roles.AddReflection(wampcore.RoleDealer)
	return roles
}
