package router

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// WAMPCRA has a challenge signed with a secret that both know. [RFC WAMP-CRA]
type WAMPCRA struct {
	Principals Principals
	// Salt is what unknown names seem to be salted with: set Iterations and KeyLen as the known ones have them. The zero value
	// is right where they are not salted.
	Salt auth.CRASalt
	// Key makes the salts of unknown names; it should not change. Default: a new one each start.
	Key []byte
}

// Authenticate sends a challenge and checks its signature. The role is not told before: an unknown name has none.
func (c WAMPCRA) Authenticate(ctx context.Context, l *Login) (Identity, error) {
	p, known, err := find(ctx, c.Principals, l, l.AuthID)
	if err != nil {
		return Identity{}, err
	}
	salt := p.Salt
	known = known && p.Secret != "" // else it is unknown here, whatever other methods know it
	if mock := base64.StdEncoding.EncodeToString(mockSalt(c.Key, l.AuthID)); !known && c.Salt.Iterations > 0 {
		salt = c.Salt
		salt.Salt = mock
	}
	text, err := json.Marshal(struct { // in the order of the RFC's examples
		AuthID       string      `json:"authid"`
		AuthRole     string      `json:"authrole"`
		AuthMethod   string      `json:"authmethod"`
		AuthProvider string      `json:"authprovider"`
		Nonce        string      `json:"nonce"`
		Timestamp    string      `json:"timestamp"`
		Session      wampcore.ID `json:"session"`
	}{
		l.AuthID, "", l.Method, provider(c.Principals), auth.Nonce(), time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), l.Session,
	})
	if err != nil {
		return Identity{}, err
	}
	extra := map[string]any{"challenge": string(text)}
	if salt.Salt != "" {
		extra["salt"], extra["iterations"], extra["keylen"] = salt.Salt, salt.Iterations, salt.KeyLen
	}
	raw, err := challenge(l, extra)
	if err != nil {
		return Identity{}, err
	}
	answer, err := l.Challenge(ctx, raw)
	if err != nil {
		return Identity{}, err
	}
	if equal := auth.Equal(answer.Signature, auth.CRASignature(p.Secret, string(text))); !equal || !known {
		return Identity{}, errDenied
	}
	return p.identity(l.AuthID), nil
}

// Holds reports whether the principal is still there.
func (c WAMPCRA) Holds(ctx context.Context, who SessionDetails) (bool, error) {
	return holds(ctx, c.Principals, who)
}
