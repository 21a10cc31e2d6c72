package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// issuer signs tokens, and serves its keys.
type issuer struct {
	testing.TB
	*httptest.Server
	key  ed25519.PrivateKey
	down atomic.Bool
}

func newIssuer(tb testing.TB) *issuer {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	i := &issuer{TB: tb, key: private}
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	if err != nil {
		tb.Fatal(err)
	}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if i.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(set)
	}))
	tb.Cleanup(i.Close)
	return i
}

// token is for somebody with a role, for so long.
func (i *issuer) token(authid, role string, life time.Duration, change ...any) string {
	i.Helper()
	claims := map[string]any{"iss": i.URL, "aud": "wampgate", "sub": authid, "role": role, "exp": time.Now().Add(life).Unix()}
	for j := 0; j+1 < len(change); j += 2 {
		claims[change[j].(string)] = change[j+1]
	}
	body, err := json.Marshal(claims)
	if err != nil {
		i.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"one","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.key, []byte(text)))
}

// secured is a gateway where everybody has to say who it is.
func secured(tb testing.TB, i *issuer) (name, text string) {
	tb.Helper()
	text = `
http:
  jwt:
    - {issuer: "` + i.URL + `", audiences: [wampgate], algorithms: [EdDSA], jwks_url: "` + i.URL + `/keys", role_claim: role, leeway: 1s, realms: [realm1]}
  sidecar: {token: "${SIDECAR}", authid: app, role: backend, realms: [realm1]}
  trusted_proxies: [127.0.0.1]
  limits:
    principals: {greedy: {rate: 0.01, burst: 2, streams: 1}}
realms:
  realm1:
    authentication: {ticket: }
    principals:
      joe: {role: user, ticket: "${JOE}"}
    roles:
      user: {permissions: [{uri: com.open., match: prefix, allow: [call, subscribe]}, {uri: wamp., match: prefix, allow: [call]}]}
      backend: {permissions: [{uri: "", match: prefix, allow: [call, register, publish, subscribe]}]}
  realm2:
    authentication: {ticket: }
`
	return configured(tb, text), text
}

func bearer(token string) []string { return []string{"-H", "Authorization: Bearer " + token} }

// who calls a procedure that tells its caller, and returns what curl says.
func who(tb testing.TB, url string, args ...string) (string, string) {
	tb.Helper()
	return curl(tb, append([]string{
		"-X", "POST", url, "-H", "Content-Type: application/json", "-d", `{"options":{"disclose_me":true}}`,
	}, args...)...)
}

func introduce(tb testing.TB, s *client.Session, procedure wampcore.URI) {
	tb.Helper()
	_, err := s.Register(tb.Context(), procedure, func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		return wampcore.NewPayload(wampcore.JSON, []any{inv.Details.CallerAuthID + " " + inv.Details.CallerAuthRole}, nil)
	}, wampcore.RegisterOptions{})
	if err != nil {
		tb.Fatal(err)
	}
}

// byTicket opens a WebSocket with a ticket.
func byTicket(tb testing.TB, base, ticket string, realm wampcore.URI) (*client.Session, error) {
	tb.Helper()
	t, err := transport.Dial(tb.Context(), webSocket(base)+"?ticket="+ticket, transport.Config{})
	if err != nil {
		return nil, err
	}
	s, err := client.Join(tb.Context(), t, client.Config{Realm: realm})
	if err == nil {
		tb.Cleanup(func() { _ = s.Close(context.WithoutCancel(tb.Context())) })
	}
	return s, err
}

func ticketFor(tb testing.TB, base, token string) string {
	tb.Helper()
	body, status := curl(tb, append(bearer(token), "-X", "POST", base+"/v1/ticket")...)
	var made struct{ Ticket string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || made.Ticket == "" {
		tb.Fatalf("%s %s", status, body)
	}
	return made.Ticket
}

func TestTokenIsTheSamePrincipalByHTTPAndByWebSocket(t *testing.T) {
	i := newIssuer(t)
	file, _ := secured(t, i)
	_, base := gateway(t, "WAMPGATE_CONFIG="+file, "JOE=joes", "SIDECAR=a-token-for-the-sidecar")
	token := i.token("app", "backend", time.Minute)
	backend, err := byTicket(t, base, ticketFor(t, base, token), "realm1")
	if err != nil {
		t.Fatal(err)
	}
	introduce(t, backend, "com.open.who")
	introduce(t, backend, "com.closed.who")
	for _, c := range []struct {
		name, path, want, status string
		args                     []string
	}{
		{"a token", "/v1/call/com.open.who", `{"args":["ann user"]}`, "200", bearer(i.token("ann", "user", time.Minute))},
		{"a sidecar", "/v1/call/com.open.who", `{"args":["app backend"]}`, "200", bearer("a-token-for-the-sidecar")},
		{"what its role may not", "/v1/call/com.closed.who", "not_authorized", "403", bearer(i.token("ann", "user", time.Minute))},
		{"path tricks", "/v1/call/com.open.%2e%2e.closed.who", "invalid_uri", "400", bearer(i.token("ann", "user", time.Minute))},
		{"a slash", "/v1/call/com.closed%2Fcom.open.who", "not_authorized", "403", bearer(i.token("ann", "user", time.Minute))},
		{"encoded twice", "/v1/call/com%252Eopen.who", "not_authorized", "403", bearer(i.token("ann", "user", time.Minute))},
		{"encoded once", "/v1/call/com%2Eclosed.who", "not_authorized", "403", bearer(i.token("ann", "user", time.Minute))},
		{"another realm", "/v1/realms/realm2/call/com.open.who", "not for the realm", "403", bearer(token)},
		{"nobody", "/v1/call/com.open.who", "", "401", nil},
		{"an expired one", "/v1/call/com.open.who", "expired", "401", bearer(i.token("ann", "user", -time.Minute))},
		{"another audience", "/v1/call/com.open.who", "aud", "401", bearer(i.token("ann", "user", time.Minute, "aud", "x"))},
		{"no signature", "/v1/call/com.open.who", "signature", "401", bearer(token[:strings.LastIndex(token, ".")+1] + "AAAA")},
		{"in the query", "/v1/call/com.open.who?access_token=" + token, "/v1/ticket", "400", nil},
	} {
		if body, status := who(t, base+c.path, c.args...); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: got %s %s, want %s %s", c.name, status, body, c.status, c.want)
		}
	}
	native, err := byTicket(t, base, ticketFor(t, base, i.token("ann", "user", time.Minute)), "realm1")
	if err != nil {
		t.Fatal(err)
	}
	if got := identity(native); got != "ann user jwt" {
		t.Errorf("by WebSocket it is %s", got)
	}
	if _, err := client.Call[string](t.Context(), native, "com.closed.who"); !is(err, wampcore.ErrNotAuthorized) {
		t.Errorf("by WebSocket: %v", err)
	}
	used := ticketFor(t, base, token)
	if _, err := byTicket(t, base, used, "realm2"); !is(err, wampcore.ErrNotAuthorized) {
		t.Errorf("in another realm: %v", err)
	}
	if _, err := byTicket(t, base, used, "realm1"); err == nil {
		t.Error("the ticket is good for a second time")
	}
}

func TestStreamAndWebSocketEndWithTheirToken(t *testing.T) {
	i := newIssuer(t)
	file, text := secured(t, i)
	gw, base := gateway(t, "WAMPGATE_CONFIG="+file, "JOE=joes", "SIDECAR=a-token-for-the-sidecar")
	soon := i.token("ann", "user", 3*time.Second)
	ticket := ticketFor(t, base, soon)
	native, err := byTicket(t, base, ticketFor(t, base, soon), "realm1")
	if err != nil {
		t.Fatal(err)
	}
	s := stream(t, base+"/v1/subscribe/com.open.t?ticket="+ticket)
	s.expect(t, "event: wamp.ready")
	s.expect(t, "event: wamp.bye")
	s.expect(t, "expired")
	<-native.Done()
	body, status := curl(t, base+"/v1/subscribe/com.open.t?ticket="+ticket)
	if status != "401" || strings.Contains(body, ticket) {
		t.Errorf("used again: %s %s", status, body)
	}
	// What the file takes back ends at once.
	sidecar := ticketFor(t, base, "a-token-for-the-sidecar")
	s = stream(t, base+"/v1/subscribe/com.open.t?ticket="+sidecar)
	s.expect(t, "event: wamp.ready")
	app, err := byTicket(t, base, ticketFor(t, base, "a-token-for-the-sidecar"), "realm1")
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, file, strings.Replace(text, `"${SIDECAR}"`, `"another-token-for-it"`, 1))
	if err := gw.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "event: wamp.bye")
	s.expect(t, "taken back")
	<-app.Done()
	if _, status := who(t, base+"/v1/call/com.open.who", bearer("a-token-for-the-sidecar")...); status != "401" {
		t.Errorf("the old token: %s", status)
	}
}

func TestLimitsOfAPrincipalAreKept(t *testing.T) {
	i := newIssuer(t)
	file, _ := secured(t, i)
	_, base := gateway(t, "WAMPGATE_CONFIG="+file, "JOE=joes", "SIDECAR=a-token-for-the-sidecar")
	greedy := bearer(i.token("greedy", "user", time.Minute))
	for n, want := range []string{"200", "200", "429"} {
		if body, status := curl(t, append(greedy, "-X", "POST", base+"/v1/call/wamp.session.count")...); status != want {
			t.Errorf("call %d: got %s %s, want %s", n+1, status, body, want)
		}
	}
	if body, status := curl(t, append(bearer(i.token("ann", "user", time.Minute)), "-X", "POST", base+"/v1/call/wamp.session.count")...); status != "200" {
		t.Errorf("another: got %s %s", status, body)
	}
	last := ""
	for range 60 {
		_, last = curl(t, append(bearer("wrong"), "-H", "X-Forwarded-For: 198.51.100.7", base+"/v1/sessions")...)
	}
	if last != "429" {
		t.Errorf("wrong credentials without end: got %s", last)
	}
	if _, status := curl(t, append(bearer("wrong"), "-H", "X-Forwarded-For: 198.51.100.8", base+"/v1/sessions")...); status != "401" {
		t.Errorf("another address: got %s", status)
	}
}

func TestKeysOfAnIssuerThatIsDownAreStillGood(t *testing.T) {
	i := newIssuer(t)
	i.down.Store(true)
	file, _ := secured(t, i)
	_, base := gateway(t, "WAMPGATE_CONFIG="+file, "JOE=joes", "SIDECAR=a-token-for-the-sidecar")
	ask := func(name string) string {
		_, status := curl(t, append(bearer(i.token(name, "user", time.Hour)), "-X", "POST", base+"/v1/call/wamp.session.count")...)
		return status
	}
	if status := ask("ann"); status != "503" {
		t.Errorf("before its keys were there: %s", status)
	}
	i.down.Store(false)
	waitFor(t, func() bool { return ask("ann") == "200" })
	i.down.Store(true)
	if status := ask("joe"); status != "200" {
		t.Errorf("afterwards: %s", status)
	}
}

// writeCertificate makes a certificate, signed by parent, or by itself, and returns the files.
func writeCertificate(tb testing.TB, dir, name string, cert, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	cert.SerialNumber, cert.NotBefore, cert.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, by = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), by)
	if err != nil {
		tb.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return made, key
}

func TestClientCertificateIsAPrincipalOverHTTP(t *testing.T) {
	dir := t.TempDir()
	ca, key := writeCertificate(t, dir, "ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	writeCertificate(t, dir, "server", &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, key)
	for _, name := range []string{"worker", "stranger"} {
		writeCertificate(t, dir, name, &x509.Certificate{
			DNSNames: []string{name + ".example.com"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, ca, key)
	}
	file := configured(t, `
http:
  certificates: [{dns: worker.example.com, authid: worker, role: backend, realms: [realm1]}]
listeners:
  - address: 127.0.0.1:0
    tls: {cert: `+dir+`/server.crt, key: `+dir+`/server.key, client_auth: optional, client_ca: `+dir+`/ca.crt}
    authentication: [ticket]
realms:
  realm1:
    authentication: {anonymous: , ticket: }
    principals: {joe: {role: backend, ticket: joes-ticket}}
    roles:
      anonymous: {permissions: [{uri: "", match: prefix, allow: [call]}]}
      backend: {permissions: [{uri: "", match: prefix, allow: [call]}]}
`)
	var at struct{ HTTP string }
	gw := start(t, []string{"WAMPGATE_CONFIG=" + file}, binary)
	if err := json.Unmarshal([]byte(gw.expect(`"message":"listening"`)), &at); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	for name, want := range map[string]int{"worker": 200, "stranger": 401, "": 401} {
		cfg := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		if name != "" {
			cert, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{cert}
		}
		tr := &http.Transport{TLSClientConfig: cfg}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.HTTP+"/v1/sessions", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		tr.CloseIdleConnections()
		if res.StatusCode != want {
			t.Errorf("%q: got %d %s, want %d", name, res.StatusCode, body, want)
		}
	}
}
