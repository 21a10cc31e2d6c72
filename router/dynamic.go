package router

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// askTimeout is the default time for an Asker to answer.
const askTimeout = 5 * time.Second

// DynamicAuthorizer is an Authorizer that asks: [session, uri, action, options], where session is a dict of session, realm, authid,
// authrole, authmethod, authprovider and transport, action is call, register, publish or subscribe, and options has the match policy, among
// others. The answer is a bool, or a dict of allow, disclose and cache. Anything else, an error too, denies with
// wamp.error.authorization_failed.
type DynamicAuthorizer struct{ Asker Asker }

// Authorize asks.
func (a DynamicAuthorizer) Authorize(ctx context.Context, q *Question) (Decision, error) {
	answer, err := a.Asker.Ask(ctx, q.via, []any{q.Session.dict(), q.URI, q.Action.String(), q.Options})
	if err != nil {
		return Decision{}, fmt.Errorf("ask: %v", err) //nolint:errorlint // the error of a callee is not the answer
	}
	var v any
	if err := answer.Decode(&v); err != nil {
		return Decision{}, err
	}
	switch v := v.(type) {
	case bool:
		return Decision{Allow: v}, nil
	case map[string]any:
		var d struct {
			Allow    *bool `codec:"allow"`
			Disclose bool  `codec:"disclose"`
			Cache    bool  `codec:"cache"`
		}
		if err := answer.Decode(&d); err != nil || d.Allow == nil {
			return Decision{}, errGarbage
		}
		return Decision{Allow: *d.Allow, Disclose: d.Disclose, Cache: d.Cache}, nil
	default:
		return Decision{}, errGarbage
	}
}

func (d *SessionDetails) dict() map[string]any {
	return map[string]any{
		"session": d.ID, "realm": d.Realm, "authid": d.AuthID, "authrole": d.AuthRole, "authmethod": d.Method, "authprovider": d.Provider,
		"transport": d.Peer.dict(),
	}
}

// dict is what others than operators are told of a peer's transport.
func (p *Peer) dict() map[string]any {
	d := map[string]any{"type": p.Transport}
	if p.Encoding != 0 {
		d["serializer"] = p.Encoding.String()
	}
	return d
}

// DynamicPrincipals are Principals, and a TicketVerifier, that ask: [realm, authid, details], where details is a dict of session, authmethod,
// authextra and transport, and ticket if the method is ticket.
//
// The answer is an authrole, or a dict of role, authid (default: the one that was asked about) and extra, a dict for the client; and
// of what the method needs: secret, and salt, iterations and keylen where it is salted; kdf, salt, iterations, memory, stored_key and
// server_key; pubkey, or the list authorized_keys (default: the key that the peer has named). Null, and the errors
// wamp.error.no_such_principal, authentication_denied and not_authorized, mean that there is nobody of that name. Anything else fails with
// wamp.error.authentication_failed.
type DynamicPrincipals struct {
	Asker   Asker
	Timeout time.Duration // default 5 s
}

// Find asks for a principal.
func (d DynamicPrincipals) Find(ctx context.Context, l *Login, authID string) (*Principal, error) {
	a, err := d.ask(ctx, l, authID, nil)
	if a == nil || err != nil {
		return nil, err
	}
	return a.principal(l)
}

// Principal is for callers that have no Login, of which there are none.
func (d DynamicPrincipals) Principal(context.Context, wampcore.URI, string) (*Principal, error) {
	return nil, errors.New("dynamic principals are found for logins alone")
}

// VerifyTicket asks whether a ticket is good, and for whom.
func (d DynamicPrincipals) VerifyTicket(ctx context.Context, l *Login, ticket string) (Identity, error) {
	a, err := d.ask(ctx, l, l.AuthID, map[string]any{"ticket": ticket})
	switch {
	case err != nil:
		return Identity{}, err
	case a == nil:
		return Identity{}, errDenied
	}
	return Identity{AuthID: cmp.Or(a.AuthID, l.AuthID), AuthRole: a.Role, Provider: dynamic, Extra: a.Extra}, nil
}

// Holds reports whether a login was asked about. What was answered holds until the session ends.
func (d DynamicPrincipals) Holds(_ context.Context, who SessionDetails) (bool, error) {
	return who.Provider == dynamic, nil
}

const dynamic = "dynamic"

// answered is what there may be in an answer.
type answered struct {
	Role   string       `codec:"role"`
	AuthID string       `codec:"authid"`
	Extra  wampcore.Raw `codec:"extra"`

	Secret     string `codec:"secret"`
	Salt       string `codec:"salt"`
	Iterations int    `codec:"iterations"`
	KeyLen     int    `codec:"keylen"`

	KDF       string `codec:"kdf"`
	Memory    int    `codec:"memory"`
	StoredKey string `codec:"stored_key"`
	ServerKey string `codec:"server_key"`

	PublicKey  string   `codec:"pubkey"`
	PublicKeys []string `codec:"authorized_keys"`
}

// ask returns nil where there is nobody of that name.
func (d DynamicPrincipals) ask(ctx context.Context, l *Login, authID string, more map[string]any) (*answered, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.Timeout, askTimeout))
	defer cancel()
	details := map[string]any{"session": l.Session, "authmethod": l.Method, "transport": l.Peer.dict(), "authextra": nil}
	if len(l.Extra.Bytes) > 0 {
		details["authextra"] = l.Extra
	}
	maps.Copy(details, more)
	raw, err := d.Asker.Ask(ctx, Via{l.Realm, l.c.router}, []any{l.Realm, authID, details})
	if e, ok := errors.AsType[*wampcore.Error](err); ok && nobody[e.URI] || err == nil && raw.Null() {
		return nil, nil //nolint:nilnil // nobody, which is no error
	}
	if err != nil {
		return nil, fmt.Errorf("ask: %v", err) //nolint:errorlint // the error of a callee is not the answer
	}
	var v any
	if err := raw.Decode(&v); err != nil {
		return nil, errGarbage // the decoder's error might quote a secret
	}
	a := &answered{}
	switch v := v.(type) {
	case string:
		a.Role = v
	case map[string]any:
		if raw.Decode(a) != nil {
			return nil, errGarbage
		}
	}
	if a.Role == "" {
		return nil, errGarbage
	}
	return a, nil
}

var nobody = map[wampcore.URI]bool{ //nolint:gochecknoglobals // a constant table
	wampcore.ErrNoSuchPrincipal: true, wampcore.ErrAuthenticationDenied: true, wampcore.ErrNotAuthorized: true,
}

func (a *answered) principal(l *Login) (*Principal, error) {
	p := &Principal{AuthRole: a.Role, AuthID: a.AuthID, Extra: a.Extra, Provider: dynamic, Secret: a.Secret}
	if a.StoredKey != "" {
		scram, err := a.scram()
		if err != nil {
			return nil, err
		}
		p.SCRAM = scram
	} else if a.Salt != "" {
		p.Salt = auth.CRASalt{Salt: a.Salt, Iterations: cmp.Or(a.Iterations, 1000), KeyLen: cmp.Or(a.KeyLen, 32)}
	}
	keys := a.PublicKeys
	if a.PublicKey != "" {
		keys = append(keys, a.PublicKey)
	}
	for _, text := range keys {
		key, err := hex.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, errGarbage
		}
		p.PublicKeys = append(p.PublicKeys, key)
	}
	if len(keys) == 0 && l.Method == "cryptosign" {
		if key, err := publicKey(l.Extra); err == nil && key != nil {
			p.PublicKeys = []ed25519.PublicKey{key}
		}
	}
	return p, nil
}

func (a *answered) scram() (*auth.SCRAMCredential, error) {
	cred := &auth.SCRAMCredential{SCRAMParams: auth.SCRAMParams{KDF: a.KDF, Iterations: a.Iterations, Memory: a.Memory}}
	for _, f := range []struct {
		text string
		to   *[]byte
	}{{a.Salt, &cred.Salt}, {a.StoredKey, &cred.StoredKey}, {a.ServerKey, &cred.ServerKey}} {
		b, err := base64.StdEncoding.DecodeString(f.text)
		if err != nil || len(b) == 0 {
			return nil, errGarbage
		}
		*f.to = b
	}
	return cred, nil
}
