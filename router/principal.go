package router

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// Principal is somebody who may log in, by the methods whose secret is set.
type Principal struct {
	AuthRole string
	AuthID   string       // default: the name that it was found by
	Provider string       // default: static
	Extra    wampcore.Raw // WELCOME.Details.authextra, a dict; optional

	Ticket     string                // ticket
	Secret     string                // WAMP-CRA: the secret, or the key that Salt makes of it
	Salt       auth.CRASalt          // WAMP-CRA; the zero value: Secret is not salted
	SCRAM      *auth.SCRAMCredential // WAMP-SCRAM
	PublicKeys []ed25519.PublicKey   // cryptosign
}

// Principals are those who may log in. The methods do not tell an unknown name from a wrong secret, neither by what they
// answer nor by how long that takes.
type Principals interface {
	// Principal returns the one of this name, nil if there is none.
	Principal(ctx context.Context, realm wampcore.URI, authID string) (*Principal, error)
}

// holds reports whether a login is still good: the principal is there, and has the role that it had.
func holds(ctx context.Context, from Principals, who SessionDetails) (bool, error) {
	if _, ok := from.(Finder); ok {
		return true, nil
	}
	if from == nil || who.Provider == dynamic { // it was asked about, and is not any more
		return false, nil
	}
	p, err := from.Principal(ctx, who.Realm, who.AuthID)
	return err != nil || p != nil && p.AuthRole == who.AuthRole, err
}

// Finder are Principals that want to know more of the login than the name. What they find holds until the session ends: it is not looked
// at again by Reconfigure.
type Finder interface {
	Find(ctx context.Context, l *Login, authID string) (*Principal, error)
}

// identity is who p is, found by a name.
func (p *Principal) identity(name string) Identity {
	return Identity{AuthID: cmp.Or(p.AuthID, name), AuthRole: p.AuthRole, Provider: p.Provider, Extra: p.Extra}
}

// errDenied is all that is ever said of a login that fails.
var errDenied = &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "the name or the secret is wrong"}

// find returns a principal that nobody can log in as where there is none.
func find(ctx context.Context, from Principals, l *Login, name string) (p *Principal, known bool, err error) {
	switch f, ok := from.(Finder); {
	case name == "" || from == nil:
	case ok:
		p, err = f.Find(ctx, l, name)
	default:
		p, err = from.Principal(ctx, l.Realm, name)
	}
	if p == nil {
		return &Principal{}, false, err
	}
	return p, true, err
}

// provider is what is said of who lets in, whether there is a principal or not.
func provider(from Principals) string {
	if _, ok := from.(Finder); ok {
		return dynamic
	}
	return static
}

// mockSalt is the same for a name each time it is asked for.
func mockSalt(key []byte, name string) []byte {
	if len(key) == 0 {
		key = processKey
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name))
	return mac.Sum(nil)[:16]
}

var processKey = []byte(rand.Text()) //nolint:gochecknoglobals // one for each start
