package router

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// Identity is who a session is.
type Identity struct {
	AuthID   string // default: a random name
	AuthRole string // default: anonymous
	Method   string // default: the one that the peer was authenticated by
	Provider string // default: static

	Extra   wampcore.Raw // WELCOME.Details.authextra, a dict; optional
	Expires time.Time    // the session is ended then; the zero time: it is not
	Realm   wampcore.URI // the only one that a peer that the program vouches for may join; empty: every

	own bool // the router itself
}

// Authenticator decides by one method of authentication who opens a session. It is asked by the peer's own goroutine: it
// may wait, until ctx ends with the time for the handshake. Many peers are authenticated at the same time.
//
// The peer is refused with the URI of a *wampcore.Error, wamp.error.authentication_denied as a rule, and its message. Any other
// error is logged, and the peer told wamp.error.authentication_failed.
type Authenticator interface {
	Authenticate(ctx context.Context, l *Login) (Identity, error)
}

// Anonymous lets everybody in, with this role. The zero value's is anonymous.
type Anonymous struct{ AuthRole string }

// Authenticate returns a new name. What the peer calls itself is not believed.
func (a Anonymous) Authenticate(context.Context, *Login) (Identity, error) {
	return Identity{AuthRole: a.AuthRole}, nil
}

const (
	anonymous = "anonymous"
	static    = "static"
)

// Login is a peer's wish to open a session.
type Login struct {
	Realm   wampcore.URI
	AuthID  string // whom the peer says it is; empty: it does not say
	Method  string
	Extra   wampcore.Raw // HELLO.Details.authextra
	Peer    Peer
	Session wampcore.ID // that the session will have

	c      *conn
	broken error // why it cannot go on, whatever the Authenticator says
}

// Challenge sends CHALLENGE, with extra, a dict, and waits for AUTHENTICATE. Any other message ends the connection, whatever
// the Authenticator does then. It may be called more than once, for more than one factor.
func (l *Login) Challenge(ctx context.Context, extra wampcore.Raw) (*wampcore.Authenticate, error) {
	l.c.batch.tell(l.c, &wampcore.Challenge{AuthMethod: l.Method, Extra: extra})
	m, err := l.c.receive()
	if err == nil {
		switch m := m.(type) {
		case *wampcore.Authenticate:
			answer := *m // that it is there after another Challenge, too
			return &answer, ctx.Err()
		case *wampcore.Abort:
			err = errAbort
		default:
			err = wampcore.Violation("message %d came instead of AUTHENTICATE", m.Type())
		}
	}
	l.broken = err
	return nil, err
}

// authenticate finds out who the peer is. It is the beginning of the context's life.
//
//nolint:contextcheck // no caller has one
func (c *conn) authenticate(p *policy, m *wampcore.Hello, session wampcore.ID) (id Identity, method string, err error) {
	if c.identity != nil { // the program vouches for it
		if only := c.identity.Realm; only != "" && only != m.Realm {
			return Identity{}, "", &wampcore.Error{URI: wampcore.ErrNotAuthorized, Message: "the peer is not let in to this realm"}
		}
		return c.identity.withDefaults("internal"), "", nil
	}
	method, a := p.authenticator(m.Details.AuthMethods, c.peer.Methods)
	if a == nil {
		return Identity{}, "", errNoMethod
	}
	ctx, cancel := context.WithCancel(context.Background()) // the end of the time for the handshake stops the connection
	defer cancel()
	if !c.onStop(cancel) {
		return Identity{}, "", c.reason()
	}
	defer c.onStop(nil)
	login := &Login{
		Realm: m.Realm, AuthID: m.Details.AuthID, Method: method, Extra: m.Details.AuthExtra, Peer: c.peer, Session: session, c: c,
	}
	id, err = a.Authenticate(ctx, login)
	switch {
	case login.broken != nil:
		return Identity{}, "", login.broken
	case c.reason() != nil: // the time is over, or the router shuts down
		return Identity{}, "", c.reason()
	case err != nil:
		return Identity{}, "", c.refused(login, err)
	}
	return id.withDefaults(method), method, nil
}

var errNoMethod = &wampcore.Error{
	URI: wampcore.ErrNoMatchingAuthMethod, Message: "the realm offers none of these authentication methods",
}

// refused is what the peer is told of an Authenticator's error.
func (c *conn) refused(l *Login, err error) error {
	if _, ok := errors.AsType[*wampcore.Error](err); ok {
		return err
	}
	c.router.complain(func() {
		c.router.cfg.Log.WithLevel(zerolog.ErrorLevel).Err(err).Str("authmethod", l.Method).Func(c.wanted(l.Realm, l.AuthID)).Msg("authentication failed")
	})
	return &wampcore.Error{URI: wampcore.ErrAuthenticationFailed, Message: "the authentication could not be done"}
}

// authenticator returns the first of the methods that the realm has, and that is allowed. A peer that names none is anonymous.
func (p *policy) authenticator(methods, allowed []string) (string, Authenticator) {
	if len(methods) == 0 {
		methods = []string{anonymous}
	}
	i := slices.IndexFunc(methods, func(name string) bool {
		return p.authenticators[name] != nil && (len(allowed) == 0 || slices.Contains(allowed, name))
	})
	if i < 0 {
		return "", nil
	}
	return methods[i], p.authenticators[methods[i]]
}

func (id Identity) withDefaults(method string) Identity {
	for _, d := range []struct {
		v   *string
		def string
	}{{&id.AuthRole, anonymous}, {&id.Method, method}, {&id.Provider, static}} {
		if *d.v == "" {
			*d.v = d.def
		}
	}
	if id.AuthID == "" {
		id.AuthID = newAuthID()
	}
	return id
}

// newAuthID returns a random name.
func newAuthID() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(wampcore.NewID()))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func challenge(l *Login, extra map[string]any) (wampcore.Raw, error) {
	e := l.Peer.Encoding
	if e == 0 {
		e = wampcore.JSON
	}
	return wampcore.NewRaw(e, extra)
}

var errBinding = &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "the channel binding is not possible here; tls-exporter is over TLS"}

// channel returns what names the peer's TLS connection. There is none where the peer has not one connection.
func (l *Login) channel(binding string) ([]byte, error) {
	if l.Peer.Transport == "longpoll" {
		return auth.ChannelID(binding, nil)
	}
	return auth.ChannelID(binding, l.Peer.TLS)
}
