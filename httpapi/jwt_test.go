package httpapi_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

const (
	issuerURL = "https://issuer.example"
	audience  = "wampgate"
)

type claims map[string]any

// pair is a key pair that tokens are signed with.
type pair struct {
	alg     jose.SignatureAlgorithm
	id      string
	private crypto.Signer
}

func (p pair) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: p.private.Public(), KeyID: p.id, Algorithm: string(p.alg), Use: "sig"}
}

// pairs are made once: RSA keys take their time.
var pairs = sync.OnceValue(func() []pair { //nolint:gochecknoglobals // a constant
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err, err2, err3); err != nil {
		panic(err)
	}
	return []pair{{"RS256", "rsa", rsaKey}, {"ES256", "ec", ecKey}, {"EdDSA", "ed", edKey}}
})

func newPair(tb testing.TB, id string) pair {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return pair{"EdDSA", id, key}
}

// token signs claims; those that are not named are right, and nil takes one away.
func (p pair) token(tb testing.TB, change claims, header ...string) string {
	tb.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", p.id)
	for i := 0; i+1 < len(header); i += 2 {
		opts = opts.WithHeader(jose.HeaderKey(header[i]), header[i+1])
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: p.alg, Key: p.private}, opts)
	if err != nil {
		tb.Fatal(err)
	}
	signature, err := signer.Sign(payload(tb, change))
	if err != nil {
		tb.Fatal(err)
	}
	text, err := signature.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func payload(tb testing.TB, change claims) []byte {
	tb.Helper()
	all := claims{
		"iss": issuerURL, "aud": []string{"other", audience}, "sub": "joe", "role": "user",
		"iat": time.Now().Unix(), "exp": time.Now().Add(2 * time.Hour).Unix(),
	}
	for name, v := range change {
		if all[name] = v; v == nil {
			delete(all, name)
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func jwks(tb testing.TB, keys ...pair) []byte {
	tb.Helper()
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, k.public())
	}
	b, err := json.Marshal(set)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func newJWT(tb testing.TB, change func(*httpapi.JWTConfig)) *httpapi.JWT {
	tb.Helper()
	cfg := httpapi.JWTConfig{Issuer: issuerURL, Audiences: []string{audience}, AuthRoleClaim: "role"}
	change(&cfg)
	j, err := httpapi.NewJWT(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

func keysOf(b []byte) func(*httpapi.JWTConfig) {
	return func(cfg *httpapi.JWTConfig) { cfg.Keys = b }
}

func wrong(err error) bool {
	_, ok := errors.AsType[*httpapi.CredentialsError](err)
	return ok
}

func TestTokensOfEveryAlgorithmAreVerifiedByAServersKeys(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwks(t, pairs()...)) }))
	defer srv.Close()
	j := newJWT(t, func(cfg *httpapi.JWTConfig) { cfg.JWKSURL = srv.URL })
	for _, p := range pairs() {
		for range 2 { // verified, and known
			g, err := j.Verify(t.Context(), p.token(t, nil))
			if err != nil || g.AuthID != "joe" || g.AuthRole != "user" || g.Method != "jwt" || g.Provider != issuerURL || g.Expires.IsZero() {
				t.Errorf("%s: got %+v, %v", p.alg, g, err)
			}
		}
	}
}

func TestKeysInEveryForm(t *testing.T) {
	p := pairs()[0]
	der, err := x509.MarshalPKIXPublicKey(p.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	one, err := p.public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"a JWK":                   one,
		"a JWK set":               jwks(t, pairs()...),
		"PEM":                     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"a set with unknown keys": []byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"new"},` + string(one) + `]}`),
	} {
		if _, err := newJWT(t, keysOf(b)).Verify(t.Context(), p.token(t, nil)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigurationsThatWouldLetOthersInAreRefused(t *testing.T) {
	good := func() httpapi.JWTConfig {
		return httpapi.JWTConfig{Issuer: issuerURL, Audiences: []string{audience}, AuthRole: "user", Keys: jwks(t, pairs()...)}
	}
	private, err := json.Marshal(jose.JSONWebKey{Key: pairs()[2].private})
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*httpapi.JWTConfig){
		"no issuer":     func(c *httpapi.JWTConfig) { c.Issuer = "" },
		"no audience":   func(c *httpapi.JWTConfig) { c.Audiences = nil },
		"no keys":       func(c *httpapi.JWTConfig) { c.Keys = nil },
		"no role":       func(c *httpapi.JWTConfig) { c.AuthRole = "" },
		"HS256":         func(c *httpapi.JWTConfig) { c.Algorithms = []string{"HS256"} },
		"none":          func(c *httpapi.JWTConfig) { c.Algorithms = []string{"none"} },
		"a private key": func(c *httpapi.JWTConfig) { c.Keys = private },
		"a secret":      func(c *httpapi.JWTConfig) { c.Keys = []byte(`{"kty":"oct","k":"AAAA"}`) },
		"a weak key":    func(c *httpapi.JWTConfig) { c.Keys = jwks(t, pair{"RS256", "weak", weak}) },
		"nonsense":      func(c *httpapi.JWTConfig) { c.Keys = []byte("nonsense") },
		"plain http":    func(c *httpapi.JWTConfig) { c.Keys, c.JWKSURL = nil, "http://issuer.example/keys" },
		"both":          func(c *httpapi.JWTConfig) { c.JWKSURL = "https://issuer.example/keys" },
	} {
		cfg := good()
		if change(&cfg); true {
			if _, err := httpapi.NewJWT(cfg); err == nil {
				t.Errorf("%s is accepted", name)
			}
		}
	}
}

func TestTokensThatAreNotBelieved(t *testing.T) {
	rsaPair, ed := pairs()[0], pairs()[2]
	other := newPair(t, "ed") // with a known key's id
	j := newJWT(t, keysOf(jwks(t, pairs()...)))
	der, err := x509.MarshalPKIXPublicKey(rsaPair.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	confused := func(secret []byte) string { // the public key as a secret
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: "HS256", Key: secret}, (&jose.SignerOptions{}).WithHeader("kid", "rsa"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := signer.Sign(payload(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := s.CompactSerialize()
		return text
	}
	unsigned := func(alg string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload(t, nil)) + "."
	}
	good := ed.token(t, nil)
	parts := strings.Split(good, ".")
	now := time.Now()
	f := newFace(t, func(cfg *httpapi.Config) { cfg.Auth.Methods = []httpapi.Method{j} })
	for name, token := range map[string]string{
		"alg none":           unsigned("none"),
		"alg None":           unsigned("None"),
		"no signature":       parts[0] + "." + parts[1] + ".",
		"HS256 by PEM":       confused(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HS256 by DER":       confused(der),
		"another's key":      other.token(t, nil),
		"unknown key":        newPair(t, "new").token(t, nil),
		"another's claims":   parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload(t, claims{"sub": "root"})) + "." + parts[2],
		"own key in header":  pair{"EdDSA", "", other.private}.token(t, nil, "jwk", "x"),
		"another algorithm":  pair{"PS256", "rsa", rsaPair.private}.token(t, nil),
		"expired":            ed.token(t, claims{"exp": now.Add(-10 * time.Second).Unix()}),
		"no exp":             ed.token(t, claims{"exp": nil}),
		"exp is a text":      ed.token(t, claims{"exp": "tomorrow"}),
		"not yet":            ed.token(t, claims{"nbf": now.Add(time.Hour).Unix()}),
		"issued later":       ed.token(t, claims{"iat": now.Add(time.Hour).Unix()}),
		"another audience":   ed.token(t, claims{"aud": "other"}),
		"no audience":        ed.token(t, claims{"aud": nil}),
		"another issuer":     ed.token(t, claims{"iss": "https://issuer.example.evil"}),
		"no issuer":          ed.token(t, claims{"iss": nil}),
		"no name":            ed.token(t, claims{"sub": ""}),
		"a name with NUL":    ed.token(t, claims{"sub": "joe\x00"}),
		"no role":            ed.token(t, claims{"role": nil}),
		"another purpose":    ed.token(t, nil, "typ", "dpop+jwt"),
		"a critical header":  ed.token(t, nil, "crit", "x"),
		"too long":           ed.token(t, claims{"long": strings.Repeat("x", 20_000)}),
		"not even that":      "a.b.c",
		"JSON serialization": `{"payload":"","signatures":[]}`,
		"empty":              "",
	} {
		if g, err := j.Verify(t.Context(), token); !wrong(err) {
			t.Errorf("%s: got %+v, %v", name, g, err)
		}
		if rec := f.do(t, http.MethodGet, "/v1/sessions", "", as(token)...); rec.Code != http.StatusUnauthorized {
			t.Errorf("%s: got %d", name, rec.Code)
		}
	}
}

func TestClocksMayDifferALittle(t *testing.T) {
	ed := pairs()[2]
	synctest.Test(t, func(t *testing.T) {
		j, now := newJWT(t, keysOf(jwks(t, pairs()...))), time.Now()
		token := ed.token(t, claims{"exp": now.Add(-2 * time.Second).Unix(), "nbf": now.Add(2 * time.Second).Unix()})
		if _, err := j.Verify(t.Context(), token); err != nil {
			t.Errorf("the leeway is not granted: %v", err)
		}
	})
}

func TestClaimsBecomeIdentityAndRealms(t *testing.T) {
	ed := pairs()[2]
	j := newJWT(t, func(cfg *httpapi.JWTConfig) {
		cfg.Keys, cfg.Algorithms = jwks(t, ed), []string{"EdDSA"}
		cfg.AuthIDClaim, cfg.AuthRoleClaim, cfg.RealmClaim = "https://example.com/name", "realm_access.roles", "realm"
		cfg.AuthRoles = map[string]string{"wamp-admin": "admin", "wamp-user": "user"}
		cfg.Realms = []wampcore.URI{"realm2"}
	})
	for _, c := range []struct {
		realm, roles any
		want         string
	}{
		{nil, []string{"offline", "wamp-user", "wamp-admin"}, "ann user [realm2]"},
		{"realm1", []string{"wamp-admin"}, "ann admin [realm1]"},
		{[]string{"realm1", "realm3"}, "wamp-user", "ann user [realm1 realm3]"},
		{"*", "wamp-user", "refused"},
		{"no realm", "wamp-user", "refused"},
		{nil, []string{"offline"}, "refused"},
		{nil, 7, "refused"},
	} {
		got := "refused"
		g, err := j.Verify(t.Context(), ed.token(t, claims{
			"https://example.com/name": "ann", "realm_access": map[string]any{"roles": c.roles}, "realm": c.realm,
		}))
		if err == nil {
			got = fmt.Sprint(g.AuthID, " ", g.AuthRole, " ", g.Realms)
		} else if !wrong(err) {
			t.Error(err)
		}
		if got != c.want {
			t.Errorf("%v, %v: got %s, want %s", c.realm, c.roles, got, c.want)
		}
	}
}

// keyServer is an issuer's, without a network.
type keyServer struct {
	mu    sync.Mutex
	body  []byte
	err   error
	asked atomic.Int64
}

func (s *keyServer) RoundTrip(*http.Request) (*http.Response, error) {
	s.asked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: io.NopCloser(bytes.NewReader(s.body))}, nil
}

func (s *keyServer) set(body []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body, s.err = body, err
}

func (s *keyServer) jwt(tb testing.TB) *httpapi.JWT {
	tb.Helper()
	return newJWT(tb, func(cfg *httpapi.JWTConfig) {
		cfg.JWKSURL, cfg.Client = "https://issuer.example/keys", &http.Client{Transport: s}
	})
}

func TestKeysAreRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := newPair(t, "before"), newPair(t, "after")
		s := &keyServer{body: jwks(t, before)}
		j := s.jwt(t)
		long := claims{"exp": time.Now().Add(time.Hour).Unix()}
		if _, err := j.Verify(t.Context(), before.token(t, long)); err != nil {
			t.Fatal(err)
		}
		s.set(jwks(t, after), nil)
		time.Sleep(time.Minute) //nolint:forbidigo // of the bubble
		if _, err := j.Verify(t.Context(), after.token(t, long)); err != nil {
			t.Errorf("the new key: %v", err)
		}
		if _, err := j.Verify(t.Context(), before.token(t, long)); !wrong(err) {
			t.Errorf("the key that was taken back: %v", err)
		}
	})
}

func TestKeysAreFetchedAgainFromTimeToTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := newPair(t, "before")
		s := &keyServer{body: jwks(t, before)}
		j := s.jwt(t)
		token := before.token(t, claims{"exp": time.Now().Add(48 * time.Hour).Unix()})
		verify := func() error {
			_, err := j.Verify(t.Context(), token)
			synctest.Wait()
			return err
		}
		if err := verify(); err != nil {
			t.Fatal(err)
		}
		s.set(jwks(t, newPair(t, "after")), nil)
		time.Sleep(16 * time.Minute) //nolint:forbidigo // of the bubble
		_ = verify()                 // it is known; a new one would look at the keys, which are old
		_, _ = j.Verify(t.Context(), before.token(t, nil))
		synctest.Wait()
		if err := verify(); !wrong(err) {
			t.Errorf("the key that was taken back still counts: %v", err)
		}
	})
}

func TestUnknownKeysDoNotHammerTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "good")
		s := &keyServer{body: jwks(t, p)}
		j := s.jwt(t)
		for i := range 600 { // a minute of them
			if _, err := j.Verify(t.Context(), newPair(t, fmt.Sprint("unknown", i)).token(t, nil)); !wrong(err) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // of the bubble
		}
		if n := s.asked.Load(); n > 7 {
			t.Errorf("the issuer was asked %d times in a minute", n)
		}
		if _, err := j.Verify(t.Context(), p.token(t, nil)); err != nil {
			t.Errorf("the good one: %v", err)
		}
	})
}

func TestIssuerThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "good")
		s := &keyServer{err: errors.New("down")}
		j := s.jwt(t)
		if _, err := j.Verify(t.Context(), p.token(t, nil)); err == nil || wrong(err) {
			t.Errorf("nobody can tell whether it is wrong, but: %v", err)
		}
		s.set(jwks(t, p), nil)
		time.Sleep(11 * time.Second) //nolint:forbidigo // of the bubble
		if _, err := j.Verify(t.Context(), p.token(t, nil)); err != nil {
			t.Errorf("after it came back: %v", err)
		}
		s.set(nil, errors.New("down"))
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble
		if _, err := j.Verify(t.Context(), p.token(t, nil)); err != nil {
			t.Errorf("with the keys that are known: %v", err)
		}
		time.Sleep(24 * time.Hour) //nolint:forbidigo // of the bubble
		if _, err := j.Verify(t.Context(), p.token(t, nil)); err == nil || wrong(err) {
			t.Errorf("with keys of a day ago: %v", err)
		}
	})
}

func TestKeySetsThatAreTooLargeAreNotTaken(t *testing.T) {
	p := newPair(t, "good")
	many := make([]pair, 101)
	for i := range many {
		many[i] = p
	}
	for name, body := range map[string][]byte{
		"bytes":    append(bytes.Repeat([]byte(" "), 1<<20), jwks(t, p)...),
		"keys":     jwks(t, many...),
		"no JSON":  []byte("<html>"),
		"none":     []byte(`{"keys":[]}`),
		"a secret": []byte(`{"keys":[{"kty":"oct","kid":"good","alg":"HS256","k":"AAAA"}]}`),
	} {
		s := &keyServer{body: body}
		if _, err := s.jwt(t).Verify(t.Context(), p.token(t, nil)); err == nil || wrong(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestVerifiedTokenIsForgottenWhenItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "good")
		j := newJWT(t, keysOf(jwks(t, p)))
		token := p.token(t, claims{"exp": time.Now().Add(time.Minute).Unix()})
		if _, err := j.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		time.Sleep(66 * time.Second) //nolint:forbidigo // of the bubble
		if _, err := j.Verify(t.Context(), token); !wrong(err) {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzTokensOfNobody(f *testing.F) {
	p := newPair(f, "good")
	j := newJWT(f, keysOf(jwks(f, p)))
	good := p.token(f, nil)
	f.Add("a.b.c")
	f.Add(strings.Replace(good, ".", "..", 1))
	f.Add(good[:len(good)-2])
	f.Fuzz(func(t *testing.T, token string) {
		if g, err := j.Verify(t.Context(), token); token != good && !wrong(err) && !strings.HasPrefix(token, good[:strings.LastIndex(good, ".")]) {
			t.Errorf("%q: got %+v, %v", token, g, err)
		}
		_ = j.Knows(token)
	})
}

func BenchmarkVerifyKnownToken(b *testing.B) {
	p := newPair(b, "good")
	j := newJWT(b, keysOf(jwks(b, p)))
	token := p.token(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
