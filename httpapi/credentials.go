package httpapi

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// APIKey is somebody's, of the form id.secret. Only its hash is stored.
type APIKey struct {
	ID   string // what stands before the dot
	Hash string // see HashAPIKey

	AuthID   string // default: ID
	AuthRole string
	Realms   []wampcore.URI // see Grant
	Expires  time.Time      // zero: never
}

// APIKeys takes keys from the header X-Api-Key, and from Authorization with the scheme ApiKey or Bearer.
type APIKeys struct{ keys map[string]apiKey }

type apiKey struct {
	hash  [sha256.Size]byte
	grant Grant
}

// NewAPIKeys returns a Method.
func NewAPIKeys(keys ...APIKey) (*APIKeys, error) {
	m := &APIKeys{map[string]apiKey{}}
	for _, k := range keys {
		hash, err := hex.DecodeString(k.Hash)
		switch {
		case CheckAPIKeyID(k.ID) != nil:
			return nil, fmt.Errorf("api key: %w", CheckAPIKeyID(k.ID))
		case err != nil || len(hash) != sha256.Size:
			return nil, fmt.Errorf("api key %s: its hash is not a SHA-256 in hex", k.ID)
		case k.AuthRole == "":
			return nil, fmt.Errorf("api key %s: it has no authrole", k.ID)
		case m.keys[k.ID].grant.AuthRole != "":
			return nil, fmt.Errorf("api key %s: there are two", k.ID)
		}
		if k.AuthID == "" {
			k.AuthID = k.ID
		}
		m.keys[k.ID] = apiKey{[sha256.Size]byte(hash), Grant{
			AuthID: k.AuthID, AuthRole: k.AuthRole, Method: "apikey", Realms: k.Realms, Expires: k.Expires,
		}}
	}
	return m, nil
}

// CheckAPIKeyID says what is wrong with the id of an API key: it stands in a header, before a dot.
func CheckAPIKeyID(id string) error {
	const want = "want letters, digits and other visible characters of ASCII but the dot, such as shop-1"
	if id == "" {
		return errors.New(`the id "" is empty; ` + want)
	}
	for _, c := range id {
		if c <= ' ' || c > '~' || c == '.' {
			return fmt.Errorf("the id %q has %q; %s", id, c, want)
		}
	}
	return nil
}

// NewAPIKey makes a key, and what is stored of it. The secret has 130 random bits: it needs no salt and no slow hash.
func NewAPIKey(id string) (key, hash string) {
	key = id + "." + rand.Text()
	return key, HashAPIKey(key)
}

// HashAPIKey is what is stored of a key.
func HashAPIKey(key string) string {
	hash := sha256.Sum256([]byte(key))
	return hex.EncodeToString(hash[:])
}

// Scheme is ApiKey.
func (*APIKeys) Scheme() string { return schemeAPIKey }

// Authenticate looks the key up by its id. A bearer token is one if it has a single dot, as no JWT has.
func (m *APIKeys) Authenticate(r *http.Request) (*Grant, error) {
	key := r.Header.Get(apiKeyHeader)
	if key == "" {
		var ok bool
		if key, ok = credentials(r, schemeAPIKey); !ok {
			if key, ok = credentials(r, schemeBearer); !ok || strings.Count(key, ".") != 1 {
				return nil, nil //nolint:nilnil // none of this kind
			}
		}
	}
	id, _, _ := strings.Cut(key, ".")
	k, known := m.keys[id]
	hash := sha256.Sum256([]byte(key))
	if equal := subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1; !equal || !known {
		return nil, &CredentialsError{"there is no such API key"}
	}
	return fresh(k.grant, "the API key has expired")
}

// Recognizes reports whether there is a key that is the principal's.
func (m *APIKeys) Recognizes(p bridge.Principal, byDefault wampcore.URI) bool {
	for _, k := range m.keys {
		if k.grant.is(p, byDefault) {
			return true
		}
	}
	return false
}

func fresh(g Grant, expired string) (*Grant, error) {
	if !g.Expires.IsZero() && !time.Now().Before(g.Expires) {
		return nil, &CredentialsError{expired}
	}
	return &g, nil
}

// Sidecar takes one token, which a process shares with the gateway, as Bearer.
type Sidecar struct {
	hash  [sha256.Size]byte
	grant Grant
}

// minShared is how long a shared token has to be.
const minShared = 16

// NewSidecar returns a Method. Who has the token has this authid and authrole.
func NewSidecar(token, authID, authRole string, realms ...wampcore.URI) (*Sidecar, error) {
	if len(token) < minShared || strings.ContainsAny(token, " \t\r\n") || authID == "" || authRole == "" {
		return nil, fmt.Errorf("sidecar: want a token of at least %d characters without spaces, an authid and an authrole", minShared)
	}
	return &Sidecar{sha256.Sum256([]byte(token)), Grant{AuthID: authID, AuthRole: authRole, Method: "sidecar", Realms: realms}}, nil
}

// Scheme is Bearer.
func (*Sidecar) Scheme() string { return schemeBearer }

// Authenticate compares the bearer token. Any other may be another method's.
func (m *Sidecar) Authenticate(r *http.Request) (*Grant, error) {
	token, ok := credentials(r, schemeBearer)
	hash := sha256.Sum256([]byte(token))
	if equal := subtle.ConstantTimeCompare(hash[:], m.hash[:]) == 1; !ok || !equal {
		return nil, nil //nolint:nilnil // not this one
	}
	return &m.grant, nil
}

// Recognizes reports whether the token is the principal's.
func (m *Sidecar) Recognizes(p bridge.Principal, byDefault wampcore.URI) bool {
	return m.grant.is(p, byDefault)
}

// BasicUser is somebody who has a name and a password.
type BasicUser struct {
	Name     string // is the authid
	Password string
	AuthRole string
	Realms   []wampcore.URI // see Grant
}

// Basic takes names and passwords. It is for development: passwords are neither hashed slowly nor kept from the configuration.
type Basic struct{ users map[string]basicUser }

type basicUser struct {
	hash  [sha256.Size]byte
	grant Grant
}

// NewBasic returns a Method.
func NewBasic(users ...BasicUser) (*Basic, error) {
	m := &Basic{map[string]basicUser{}}
	for _, u := range users {
		if u.Name == "" || strings.Contains(u.Name, ":") || u.Password == "" || u.AuthRole == "" {
			return nil, fmt.Errorf("basic: %q needs a name without colon, a password and an authrole", u.Name)
		}
		m.users[u.Name] = basicUser{sha256.Sum256([]byte(u.Password)), Grant{
			AuthID: u.Name, AuthRole: u.AuthRole, Method: "basic", Realms: u.Realms,
		}}
	}
	return m, nil
}

// Scheme is Basic.
func (*Basic) Scheme() string { return schemeBasic }

// Authenticate compares the password. An unknown name takes as long.
func (m *Basic) Authenticate(r *http.Request) (*Grant, error) {
	if !hasScheme(r, schemeBasic) {
		return nil, nil //nolint:nilnil // none of this kind
	}
	name, password, ok := r.BasicAuth()
	u, known := m.users[name]
	hash := sha256.Sum256([]byte(password))
	if equal := subtle.ConstantTimeCompare(hash[:], u.hash[:]) == 1; !equal || !known || !ok {
		return nil, &CredentialsError{"the name or the password is wrong"}
	}
	return &u.grant, nil
}

// Recognizes reports whether the principal is one of the users.
func (m *Basic) Recognizes(p bridge.Principal, byDefault wampcore.URI) bool {
	u, ok := m.users[p.AuthID]
	return ok && u.grant.is(p, byDefault)
}

// CertificateRule says who shows a client certificate: the fields that are set have to be in it, and one at least is.
type CertificateRule struct {
	CommonName string // of the subject
	DNS        string // these are subject alternative names
	URI        string
	Email      string

	AuthID   string // default: what the rule says of the certificate
	AuthRole string
	Realms   []wampcore.URI // see Grant
}

// Certificates takes TLS client certificates that the listener has verified.
type Certificates struct{ rules []CertificateRule }

// NewCertificates returns a Method. The first rule that a certificate fits counts.
func NewCertificates(rules ...CertificateRule) (*Certificates, error) {
	for i, rule := range rules {
		if rule.CommonName+rule.DNS+rule.URI+rule.Email == "" || rule.AuthRole == "" {
			return nil, fmt.Errorf("certificates: rule %d needs something that is in the certificate, and an authrole", i+1)
		}
	}
	if len(rules) == 0 {
		return nil, errors.New("certificates: there is no rule")
	}
	return &Certificates{rules}, nil
}

// Scheme is empty: a certificate is asked for by TLS.
func (*Certificates) Scheme() string { return "" }

// Authenticate finds the certificate's rule. One that was not verified does not count.
func (m *Certificates) Authenticate(r *http.Request) (*Grant, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, nil //nolint:nilnil // none
	}
	cert := r.TLS.VerifiedChains[0][0]
	for _, rule := range m.rules {
		if id, ok := rule.fits(cert); ok {
			return fresh(Grant{
				AuthID: id, AuthRole: rule.AuthRole, Method: "tls", Provider: cert.Issuer.CommonName, Realms: rule.Realms, Expires: cert.NotAfter,
			}, "the client certificate has expired")
		}
	}
	return nil, &CredentialsError{"the client certificate is nobody's here"}
}

// Recognizes reports whether there is a rule by which a certificate could be the principal's.
func (m *Certificates) Recognizes(p bridge.Principal, byDefault wampcore.URI) bool {
	return slices.ContainsFunc(m.rules, func(c CertificateRule) bool {
		g := Grant{AuthID: cmp.Or(c.AuthID, p.AuthID), AuthRole: c.AuthRole, Method: "tls", Provider: p.Provider, Realms: c.Realms}
		return g.is(p, byDefault)
	})
}

func (c CertificateRule) fits(cert *x509.Certificate) (authID string, ok bool) {
	uris := make([]string, len(cert.URIs))
	for i, u := range cert.URIs {
		uris[i] = u.String()
	}
	authID = c.AuthID
	for _, want := range []struct {
		name string
		has  []string
	}{
		{c.URI, uris},
		{c.Email, cert.EmailAddresses},
		{c.DNS, cert.DNSNames},
		{c.CommonName, []string{cert.Subject.CommonName}},
	} {
		switch {
		case want.name == "":
		case !slices.Contains(want.has, want.name):
			return "", false
		case authID == "":
			authID = want.name
		}
	}
	return authID, true
}
