package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// JWTConfig says which tokens of one issuer are believed. Issuer, Audiences, and one of Keys and JWKSURL are required.
type JWTConfig struct {
	Issuer     string        // iss
	Audiences  []string      // aud has to have one of them
	Algorithms []string      // default: RS256, ES256 and EdDSA; those with a shared secret are refused
	Keys       []byte        // public keys: a JWK, a JWK set, or PEM
	JWKSURL    string        // where they are found; https, but on this machine
	Leeway     time.Duration // between the clocks; default 5 s
	Refresh    time.Duration // of what JWKSURL has; default 15 min

	AuthIDClaim   string            // default: sub
	AuthRoleClaim string            // a.b is a member of an object; a list of which the first that is in AuthRoles counts
	AuthRoles     map[string]string // authroles by what the claim says; empty: what it says is the authrole
	AuthRole      string            // of tokens without one by the claim; empty: they are refused
	RealmClaim    string            // a realm, or a list of them
	Realms        []wampcore.URI    // that tokens without the claim are for: see Grant
	Provider      string            // default: Issuer

	Client *http.Client // for JWKSURL; optional
}

func (c JWTConfig) withDefaults() JWTConfig {
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"RS256", "ES256", "EdDSA"}
	}
	if c.Leeway <= 0 {
		c.Leeway = 5 * time.Second
	}
	if c.Refresh <= 0 {
		c.Refresh = 15 * time.Minute
	}
	if c.AuthIDClaim == "" {
		c.AuthIDClaim = "sub"
	}
	if c.Provider == "" {
		c.Provider = c.Issuer
	}
	return c
}

// signed are the algorithms that there may be: by key pairs alone, so that a public key is never taken for a secret.
var signed = []string{ //nolint:gochecknoglobals // a constant table
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

func (c JWTConfig) validate() error {
	switch {
	case c.Issuer == "":
		return errors.New("jwt: the issuer is missing")
	case len(c.Audiences) == 0 || slices.Contains(c.Audiences, ""):
		return errors.New("jwt: the audience is missing: without one, tokens for other services would be taken")
	case (len(c.Keys) > 0) == (c.JWKSURL != ""):
		return errors.New("jwt: want either keys or the URL of a JWK set")
	case c.AuthRole == "" && c.AuthRoleClaim == "":
		return errors.New("jwt: want an authrole, or the claim that has it")
	}
	for _, alg := range c.Algorithms {
		if !slices.Contains(signed, alg) {
			return fmt.Errorf("jwt: the algorithm %q is not one of %s", alg, strings.Join(signed, ", "))
		}
	}
	if c.JWKSURL == "" {
		return nil
	}
	u, err := url.Parse(c.JWKSURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return errors.New("jwt: the URL of the JWK set has to be https://…, or http://… on this machine")
	}
	return nil
}

// JWT believes bearer tokens that one issuer has signed. [RFC 7519, RFC 8725]
type JWT struct {
	cfg        JWTConfig
	algorithms []jose.SignatureAlgorithm
	keys       keySource

	mu       sync.Mutex
	verified *recent[[sha256.Size]byte, *Grant] // by the token's hash
	version  uint64                             // of the keys that those were verified with
}

// maxVerified is how many tokens are remembered, so that they are verified once.
const maxVerified = 10_000

// NewJWT returns a Method that is also for others who get such tokens: see Verify.
func NewJWT(cfg JWTConfig) (*JWT, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	j := &JWT{cfg: cfg, verified: newRecent[[sha256.Size]byte, *Grant](maxVerified)}
	for _, alg := range cfg.Algorithms {
		j.algorithms = append(j.algorithms, jose.SignatureAlgorithm(alg))
	}
	if cfg.JWKSURL != "" {
		j.keys = newRemoteKeys(cfg)
		return j, nil
	}
	set, err := parseKeys(cfg.Keys)
	if err != nil {
		return nil, fmt.Errorf("jwt: %w", err)
	}
	j.keys = staticKeys(set)
	return j, nil
}

// Provider is what its Grants name as theirs.
func (j *JWT) Provider() string { return j.cfg.Provider }

// Scheme is Bearer.
func (*JWT) Scheme() string { return schemeBearer }

// Authenticate verifies the bearer token, if it says that it is of this issuer.
func (j *JWT) Authenticate(r *http.Request) (*Grant, error) {
	token, ok := credentials(r, schemeBearer)
	if !ok {
		return nil, nil //nolint:nilnil // none of this kind
	}
	if g := j.known(sha256.Sum256([]byte(token))); g != nil {
		return g, nil
	}
	if !j.Knows(token) {
		return nil, nil //nolint:nilnil // another's
	}
	return j.Verify(r.Context(), token)
}

// maxToken bounds what is taken for a token.
const maxToken = 16 << 10

// Knows reports whether a token says that it is of this issuer, which says nothing of whether that is so.
func (j *JWT) Knows(token string) bool {
	if len(token) > maxToken || strings.Count(token, ".") != 2 {
		return false
	}
	t, err := jwt.ParseSigned(token, named)
	var claims struct {
		Issuer string `json:"iss"`
	}
	return err == nil && t.UnsafeClaimsWithoutVerification(&claims) == nil && claims.Issuer == j.cfg.Issuer
}

// named are the algorithms that a token may name and still be told that it is the wrong one.
var named = []jose.SignatureAlgorithm{ //nolint:gochecknoglobals // a constant table
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512", "none",
}

// Verify returns what a token is good for. A *CredentialsError says what is wrong with it; any other error that the keys are not
// there.
func (j *JWT) Verify(ctx context.Context, token string) (*Grant, error) {
	hash := sha256.Sum256([]byte(token))
	if g := j.known(hash); g != nil {
		return g, nil
	}
	if len(token) > maxToken {
		return nil, &CredentialsError{"the token is too long"}
	}
	t, err := jwt.ParseSigned(token, j.algorithms)
	if err != nil || len(t.Headers) != 1 {
		return nil, &CredentialsError{"the token is no JWT that is signed by " + strings.Join(j.cfg.Algorithms, ", ")}
	}
	if !isAccessToken(t.Headers[0]) {
		return nil, &CredentialsError{"the token's typ says that it is for something else"}
	}
	set, version, err := j.keys.find(ctx, t.Headers[0].KeyID)
	if err != nil {
		return nil, err
	}
	var claims jwt.Claims
	all := map[string]any{}
	if !verifies(t, set, &claims, &all) {
		return nil, &CredentialsError{"the token's signature is not one of its issuer's"}
	}
	if err := j.check(claims); err != nil {
		return nil, err
	}
	g, err := j.grant(claims, all)
	if err != nil {
		return nil, err
	}
	j.remember(hash, g, version)
	return g, nil
}

// isAccessToken keeps tokens out that are made for another purpose, such as DPoP proofs. [RFC 8725 3.11]
func isAccessToken(h jose.Header) bool {
	typ, given := h.ExtraHeaders[jose.HeaderType].(string)
	return !given && h.ExtraHeaders[jose.HeaderType] == nil ||
		slices.Contains([]string{"jwt", "at+jwt", "application/jwt", "application/at+jwt"}, strings.ToLower(typ))
}

// verifies decodes the claims if one of the keys has signed them.
func verifies(t *jwt.JSONWebToken, set []jose.JSONWebKey, out ...any) bool {
	return slices.ContainsFunc(set, func(k jose.JSONWebKey) bool {
		return fits(k, t.Headers[0].Algorithm) && t.Claims(k.Key, out...) == nil
	})
}

func (j *JWT) check(c jwt.Claims) error {
	if c.Expiry == nil {
		return &CredentialsError{"the token has no exp"}
	}
	err := c.ValidateWithLeeway(jwt.Expected{Issuer: j.cfg.Issuer, AnyAudience: j.cfg.Audiences}, j.cfg.Leeway)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrExpired):
		return &CredentialsError{"the token has expired"}
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return &CredentialsError{"the token is not valid yet"}
	case errors.Is(err, jwt.ErrInvalidAudience):
		return &CredentialsError{"the token's aud is for somebody else"}
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return &CredentialsError{"the token's iss is another issuer"}
	default:
		return &CredentialsError{"the token's claims are not valid"}
	}
}

// Recognizes reports whether tokens of the issuer can be the principal's.
func (j *JWT) Recognizes(p bridge.Principal, byDefault wampcore.URI) bool {
	g := Grant{AuthID: p.AuthID, AuthRole: p.AuthRole, Method: "jwt", Provider: j.cfg.Provider, Realms: j.cfg.Realms}
	if j.cfg.RealmClaim != "" {
		g.Realms = []wampcore.URI{p.Realm}
	}
	if p.AuthRole == j.cfg.AuthRole {
		return g.is(p, byDefault)
	}
	byClaim := len(j.cfg.AuthRoles) == 0 || slices.Contains(slices.Collect(maps.Values(j.cfg.AuthRoles)), p.AuthRole)
	return j.cfg.AuthRoleClaim != "" && byClaim && g.is(p, byDefault)
}

// grant makes claims an identity.
func (j *JWT) grant(c jwt.Claims, all map[string]any) (*Grant, error) {
	g := &Grant{Method: "jwt", Provider: j.cfg.Provider, Realms: j.cfg.Realms, AuthRole: j.cfg.AuthRole, Expires: c.Expiry.Time()}
	if late := time.Since(g.Expires); late > 0 {
		g.Expires = g.Expires.Add(j.cfg.Leeway)
	}
	ids := texts(all, j.cfg.AuthIDClaim)
	if len(ids) != 1 || !isName(ids[0]) {
		return nil, &CredentialsError{"the token's claim " + j.cfg.AuthIDClaim + " has no name"}
	}
	g.AuthID = ids[0]
	if role, ok := j.role(texts(all, j.cfg.AuthRoleClaim)); ok {
		g.AuthRole = role
	}
	if !isName(g.AuthRole) {
		return nil, &CredentialsError{"the token's claim " + j.cfg.AuthRoleClaim + " has no role that is known here"}
	}
	if j.cfg.RealmClaim == "" || all[j.cfg.RealmClaim] == nil && len(texts(all, j.cfg.RealmClaim)) == 0 {
		return g, nil
	}
	g.Realms = nil
	for _, realm := range texts(all, j.cfg.RealmClaim) {
		if uri := wampcore.URI(realm); uri.Valid(false) && uri != EveryRealm {
			g.Realms = append(g.Realms, uri)
		}
	}
	if len(g.Realms) == 0 {
		return nil, &CredentialsError{"the token's claim " + j.cfg.RealmClaim + " has no realm"}
	}
	return g, nil
}

// role returns the authrole by what the claim says.
func (j *JWT) role(said []string) (string, bool) {
	for _, s := range said {
		if len(j.cfg.AuthRoles) == 0 {
			return s, true
		}
		if role, ok := j.cfg.AuthRoles[s]; ok {
			return role, true
		}
	}
	return "", false
}

// texts returns what a claim says, as a list: the claim of this name, or the member that a.b names.
func texts(claims map[string]any, name string) []string {
	v, ok := claims[name]
	for !ok && name != "" {
		outer, rest, nested := strings.Cut(name, ".")
		inner, isObject := claims[outer].(map[string]any)
		if !nested || !isObject {
			return nil
		}
		claims, name = inner, rest
		v, ok = claims[name]
	}
	var all []string
	switch v := v.(type) {
	case string:
		all = append(all, v)
	case json.Number:
		all = append(all, v.String())
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

// isName reports whether a text may be an authid or authrole.
func isName(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, unicode.IsControl)
}

func (j *JWT) known(hash [sha256.Size]byte) *Grant {
	version := j.keys.version()
	j.mu.Lock()
	defer j.mu.Unlock()
	if version != j.version { // a key may have been taken back
		j.verified.clear()
		j.version = version
		return nil
	}
	g, ok := j.verified.get(hash)
	if ok && !time.Now().Before(g.Expires) {
		j.verified.remove(hash)
		return nil
	}
	return g
}

func (j *JWT) remember(hash [sha256.Size]byte, g *Grant, version uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if version == j.version {
		j.verified.put(hash, g)
	}
}
