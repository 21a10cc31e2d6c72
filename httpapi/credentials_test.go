package httpapi_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

func methods(tb testing.TB, ms ...any) func(*httpapi.Config) {
	tb.Helper()
	return func(cfg *httpapi.Config) {
		for i := range ms {
			if err, ok := ms[i].(error); ok {
				tb.Fatal(err)
			}
			if m, ok := ms[i].(httpapi.Method); ok {
				cfg.Auth.Methods = append(cfg.Auth.Methods, m)
			}
		}
	}
}

// both makes two results one argument list.
func both(m httpapi.Method, err error) []any { return []any{m, err} }

// introduce registers a procedure that tells its caller's authid and authrole.
func (f *face) introduce(t *testing.T) {
	t.Helper()
	f.register(t, "who", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		return wampcore.NewPayload(wampcore.JSON, []any{inv.Details.CallerAuthID + " " + inv.Details.CallerAuthRole}, nil)
	})
}

const disclosed = `{"options":{"disclose_me":true}}`

// me returns as whom a call with these headers is made, or the status.
func (f *face) me(t *testing.T, header ...string) string {
	t.Helper()
	rec := f.do(t, http.MethodPost, "/v1/call/who?result=value", disclosed, header...)
	if rec.Code != http.StatusOK {
		return http.StatusText(rec.Code)
	}
	return strings.Trim(rec.Body.String(), `"`)
}

func basic(name, password string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))}
}

func TestEveryKindOfCredentials(t *testing.T) {
	key, hash := httpapi.NewAPIKey("k1")
	if httpapi.HashAPIKey(key) != hash {
		t.Error("a key and its hash do not go together")
	}
	old, oldHash := httpapi.NewAPIKey("old")
	keys := both(httpapi.NewAPIKeys(
		httpapi.APIKey{ID: "k1", Hash: hash, AuthID: "shop", AuthRole: "backend"},
		httpapi.APIKey{ID: "old", Hash: oldHash, AuthRole: "backend", Expires: time.Now().Add(-time.Hour)},
	))
	sidecar := both(httpapi.NewSidecar("a-token-that-is-shared", "sidecar", "local"))
	users := both(httpapi.NewBasic(httpapi.BasicUser{Name: "dev", Password: "pass:word", AuthRole: "developer"}))
	p := newPair(t, "good")
	tokens := newJWT(t, keysOf(jwks(t, p)))
	for _, c := range []struct {
		name, want string
		header     []string
	}{
		{"key", "shop backend", []string{"X-Api-Key", key}},
		{"key by scheme", "shop backend", []string{"Authorization", "ApiKey " + key}},
		{"key as bearer", "shop backend", []string{"Authorization", "bearer " + key}},
		{"wrong secret", "Unauthorized", []string{"X-Api-Key", "k1.wrong"}},
		{"unknown key", "Unauthorized", []string{"X-Api-Key", "k2." + key[3:]}},
		{"expired key", "Unauthorized", []string{"X-Api-Key", old}},
		{"hash for the key", "Unauthorized", []string{"X-Api-Key", hash}},
		{"empty key", "Unauthorized", []string{"X-Api-Key", ""}},
		{"sidecar", "sidecar local", []string{"Authorization", "Bearer a-token-that-is-shared"}},
		{"wrong token", "Unauthorized", []string{"Authorization", "Bearer a-token-that-is-sharee"}},
		{"basic", "dev developer", basic("dev", "pass:word")},
		{"wrong password", "Unauthorized", basic("dev", "pass")},
		{"no password", "Unauthorized", basic("dev", "")},
		{"unknown name", "Unauthorized", basic("root", "")},
		{"no base64", "Unauthorized", []string{"Authorization", "Basic ?"}},
		{"jwt", "joe user", []string{"Authorization", "Bearer " + p.token(t, nil)}},
		{"another issuer's", "Unauthorized", []string{"Authorization", "Bearer " + p.token(t, claims{"iss": "x"})}},
	} {
		f := newFace(t, methods(t, append(append(append(keys, sidecar...), users...), tokens)...))
		f.introduce(t)
		if got := f.me(t, c.header...); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		if c.want != "Unauthorized" {
			continue
		}
		rec := f.do(t, http.MethodGet, "/v1/sessions", "", c.header...)
		if got := rec.Header().Values("Www-Authenticate"); len(got) != 3 {
			t.Errorf("%s: is told of %q", c.name, got)
		}
	}
}

func TestMethodsThatWouldLetAnybodyInAreRefused(t *testing.T) {
	_, hash := httpapi.NewAPIKey("k")
	for name, err := range map[string]error{
		"key without role":  second(httpapi.NewAPIKeys(httpapi.APIKey{ID: "k", Hash: hash})),
		"key without hash":  second(httpapi.NewAPIKeys(httpapi.APIKey{ID: "k", AuthRole: "r"})),
		"key without id":    second(httpapi.NewAPIKeys(httpapi.APIKey{Hash: hash, AuthRole: "r"})),
		"key twice":         second(httpapi.NewAPIKeys(httpapi.APIKey{ID: "k", Hash: hash, AuthRole: "r"}, httpapi.APIKey{ID: "k", Hash: hash, AuthRole: "r"})),
		"short token":       second(httpapi.NewSidecar("short", "a", "r")),
		"token of nobody":   second(httpapi.NewSidecar("a-token-that-is-shared", "", "r")),
		"empty password":    second(httpapi.NewBasic(httpapi.BasicUser{Name: "a", AuthRole: "r"})),
		"rule for all":      second(httpapi.NewCertificates(httpapi.CertificateRule{AuthRole: "r"})),
		"rule without role": second(httpapi.NewCertificates(httpapi.CertificateRule{CommonName: "a"})),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// authority makes real certificates.
type authority struct {
	testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	ca := &authority{tb, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, key}
	der, err := x509.CreateCertificate(rand.Reader, ca.cert, ca.cert, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	return ca
}

func (ca *authority) client(change func(*x509.Certificate)) tls.Certificate {
	ca.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(cert)
	der, err := x509.CreateCertificate(rand.Reader, cert, ca.cert, key.Public(), ca.key)
	if err != nil {
		ca.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestClientCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	f := newFace(t, methods(t, both(httpapi.NewCertificates(
		httpapi.CertificateRule{URI: "spiffe://example.com/shop", AuthRole: "backend"},
		httpapi.CertificateRule{CommonName: "ops", Email: "ops@example.com", AuthID: "operator", AuthRole: "admin"},
		httpapi.CertificateRule{DNS: "worker.example.com", AuthRole: "worker", Realms: []wampcore.URI{"realm2"}},
	))...))
	f.introduce(t)
	srv := httptest.NewUnstartedServer(f.handler)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	srv.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	defer srv.Close()
	spiffe, err := url.Parse("spiffe://example.com/shop")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		from       *authority
		change     func(*x509.Certificate)
	}{
		{"by URI", "spiffe://example.com/shop backend", ca, func(c *x509.Certificate) { c.URIs = []*url.URL{spiffe} }},
		{"by name and email", "operator admin", ca, func(c *x509.Certificate) {
			c.Subject.CommonName, c.EmailAddresses = "ops", []string{"x@example.com", "ops@example.com"}
		}},
		{"by name alone", "Unauthorized", ca, func(c *x509.Certificate) { c.Subject.CommonName = "ops" }},
		{"for another realm", "Forbidden", ca, func(c *x509.Certificate) { c.DNSNames = []string{"worker.example.com"} }},
		{"nobody's", "Unauthorized", ca, func(c *x509.Certificate) { c.Subject.CommonName = "mallory" }},
		{"of another authority", "no TLS", other, func(c *x509.Certificate) { c.URIs = []*url.URL{spiffe} }},
		{"expired", "no TLS", ca, func(c *x509.Certificate) { c.URIs, c.NotAfter = []*url.URL{spiffe}, time.Now().Add(-time.Minute) }},
		{"for servers", "no TLS", ca, func(c *x509.Certificate) {
			c.URIs, c.ExtKeyUsage = []*url.URL{spiffe}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}},
	} {
		cert := c.from.client(c.change)
		tr := &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
		}}
		if got := whoOver(t, srv.URL, tr); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		tr.CloseIdleConnections()
	}
	if got := whoOver(t, srv.URL, srv.Client().Transport); !strings.HasSuffix(got, " anonymous") {
		t.Errorf("without a certificate: got %s", got)
	}
}

// whoOver returns as whom a call is made that goes over tr, or the status.
func whoOver(t *testing.T, base string, tr http.RoundTripper) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v1/call/who?result=value", strings.NewReader(disclosed))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := tr.RoundTrip(req)
	if err != nil {
		return "no TLS"
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		return http.StatusText(res.StatusCode)
	}
	return strings.Trim(string(b), `"`)
}
