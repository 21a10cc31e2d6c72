package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	byteorder "encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// listener is how the log says that a listener is reached.
type listener struct{ HTTP, WebSocket, RawSocket string }

// host is its address without a scheme.
func (l listener) host() string {
	_, host, _ := strings.Cut(l.HTTP, "://")
	return host
}

// soon has the binary end at once when it ends: else the race detector sleeps for a second.
const soon = "GORACE=atexit_sleep_ms=0"

// serve runs the binary, which has n listeners. The first is the plain one, unless env says otherwise.
func serve(tb testing.TB, n int, env ...string) (*process, []listener) {
	tb.Helper()
	p := start(tb, append([]string{soon, "WAMPGATE_LISTEN=127.0.0.1:0"}, env...), binary)
	all := make([]listener, n)
	for i := range all {
		if err := json.Unmarshal([]byte(p.expect(`"message":"listening"`)), &all[i]); err != nil {
			tb.Fatal(err)
		}
	}
	return p, all
}

// sessionAt is a Go client's, by any way in.
func sessionAt(tb testing.TB, url string, cfg transport.Config) *client.Session {
	tb.Helper()
	s, err := joinAt(tb.Context(), url, cfg)
	if err != nil {
		tb.Fatalf("%s: %v", url, err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Close(ctx)
	})
	return s
}

func joinAt(ctx context.Context, url string, cfg transport.Config) (*client.Session, error) {
	t, err := transport.Dial(ctx, url, cfg)
	if err != nil {
		return nil, err
	}
	return client.Join(ctx, t, client.Config{Realm: "realm1"})
}

// registerDouble offers com.example.double.
func registerDouble(tb testing.TB, s *client.Session) {
	tb.Helper()
	_, err := s.Register(tb.Context(), "com.example.double", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		var n int
		if err := inv.Payload.DecodeArgs(&n); err != nil {
			return wampcore.Payload{}, err
		}
		return wampcore.NewPayload(wampcore.JSON, []any{2 * n}, nil)
	}, wampcore.RegisterOptions{})
	if err != nil {
		tb.Fatal(err)
	}
}

// double calls com.example.double.
func double(ctx context.Context, s *client.Session, n int) error {
	in, err := wampcore.NewPayload(wampcore.JSON, []any{n}, nil)
	if err != nil {
		return err
	}
	out, err := s.Call(ctx, "com.example.double", in, wampcore.CallOptions{})
	if err != nil {
		return err
	}
	var got int
	if err := out.DecodeArgs(&got); err != nil || got != 2*n {
		return fmt.Errorf("double(%d) is %d, %w", n, got, err)
	}
	return nil
}

// count is how many sessions there are.
func count(tb testing.TB, s *client.Session) int {
	tb.Helper()
	out, err := s.Call(tb.Context(), "wamp.session.count", wampcore.Payload{}, wampcore.CallOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	var n int
	if err := out.DecodeArgs(&n); err != nil {
		tb.Fatal(err)
	}
	return n
}

// works checks that a component, one of ways_*, registers, is called, subscribes, hears, calls and publishes. base is where
// HTTP meets it.
func works(tb testing.TB, base string, component func() *process) *process {
	tb.Helper()
	stream := start(tb, nil, need(tb, "curl"), "-sN", base+"/v1/subscribe/com.example.echo")
	stream.expect("wamp.ready")
	p := component()
	p.expect("ready")
	if body, status := post(tb, base+"/v1/call/com.example.add", `{"args":[2,3]}`); body != `{"args":[5]}` || status != "200" {
		tb.Errorf("call: %s %s", status, body)
	}
	if body, status := post(tb, base+"/v1/publish/com.example.news", `{"args":[3,4]}`); status != "200" {
		tb.Errorf("publish: %s %s", status, body)
	}
	stream.expect(`"args":[7]`)
	return p
}

// directory is one whose name is short enough for unix sockets.
func directory(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ways") //nolint:usetesting // the test's own would be too long
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// replace writes a file in one step.
func replace(tb testing.TB, path string, content []byte) {
	tb.Helper()
	if err := errors.Join(os.WriteFile(path+".new", content, 0o600), os.Rename(path+".new", path)); err != nil {
		tb.Fatal(err)
	}
}

// authority is a CA of the test's own.
type authority struct {
	tb   testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{tb: tb, file: filepath.Join(directory(tb), "ca.pem")}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of " + tb.Name()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(a.cert)
	replace(tb, a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	return a
}

// sign signs a certificate for a new key. The CA's own is signed by that key.
func (a *authority) sign(cert *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, signer)
	if err != nil {
		a.tb.Fatal(err)
	}
	return der, key
}

// pool trusts the CA.
func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// trust is for clients that trust the CA.
func (a *authority) trust(certs ...tls.Certificate) transport.Config {
	cfg := &tls.Config{RootCAs: a.pool()}
	if len(certs) > 0 { // shown even if the server does not know its CA
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
	}
	return transport.Config{TLS: cfg}
}

// pair is a certificate and its key, in files.
type pair struct {
	a         *authority
	cert, key string
	serial    int64
}

func (a *authority) newPair() *pair {
	a.tb.Helper()
	dir := directory(a.tb)
	p := &pair{a: a, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), serial: 100}
	p.renew()
	return p
}

// renew writes another certificate to the same files.
func (p *pair) renew() {
	p.a.tb.Helper()
	p.serial++
	der, key := p.a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(p.serial), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.a.tb.Fatal(err)
	}
	replace(p.a.tb, p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	replace(p.a.tb, p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// load reads the files, for a client.
func (p *pair) load() tls.Certificate {
	p.a.tb.Helper()
	cert, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		p.a.tb.Fatal(err)
	}
	return cert
}

// env has the gateway listen with the pair, behind the plain listener.
func (p *pair) env(more ...string) []string {
	return append([]string{"WAMPGATE_LISTEN_TLS=127.0.0.1:0", "WAMPGATE_TLS_CERT=" + p.cert, "WAMPGATE_TLS_KEY=" + p.key}, more...)
}

// presented returns the serial number of the certificate that a new connection sees, 0 if there is none.
func (a *authority) presented(address string) int64 {
	c, err := tls.Dial("tcp", address, a.trust().TLS)
	if err != nil {
		return 0
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestRealClientsComeByTLS(t *testing.T) {
	ca := newAuthority(t)
	own := ca.newPair()
	t.Setenv("NODE_EXTRA_CA_CERTS", ca.file)
	t.Setenv("SSL_CERT_FILE", ca.file)
	for name, component := range map[string]func(testing.TB, listener, string) *process{
		"autobahn-js": func(tb testing.TB, at listener, encoding string) *process {
			tb.Helper()
			return node(tb, "ways_autobahn.js", "websocket", at.WebSocket, encoding)
		},
		"wampy": func(tb testing.TB, at listener, encoding string) *process {
			tb.Helper()
			return node(tb, "ways_wampy.js", at.WebSocket, encoding)
		},
		"autobahn-py": func(tb testing.TB, at listener, encoding string) *process {
			tb.Helper()
			return script(tb, "ways_component.py", at.WebSocket, encoding)
		},
		"autobahn-py by RawSocket": func(tb testing.TB, at listener, encoding string) *process {
			tb.Helper()
			return script(tb, "ways_component.py", at.RawSocket, encoding)
		},
	} {
		for _, e := range encodings {
			t.Run(name+" "+e.String(), func(t *testing.T) {
				_, at := serve(t, 2, own.env()...)
				if !strings.HasPrefix(at[1].WebSocket, "wss://") || !strings.HasPrefix(at[1].RawSocket, "tls://") {
					t.Fatalf("the log says %+v", at[1])
				}
				works(t, at[0].HTTP, func() *process { return component(t, at[1], e.String()) })
			})
		}
	}
}

func TestClientsThatDoNotTrustTheCAStayAway(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	_, at := serve(t, 2, ca.newPair().env()...)
	secure := at[1]
	node(t, "ways_autobahn.js", "websocket", secure.WebSocket, "json").expect("ended unreachable")
	node(t, "ways_wampy.js", secure.WebSocket, "json").expect("ended")
	for _, url := range []string{secure.WebSocket, secure.RawSocket} {
		_, err := joinAt(t.Context(), url, other.trust())
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
			t.Errorf("%s: got %v", url, err)
		}
	}
	const untrusted = 60
	for file, want := range map[string]int{ca.file: 0, other.file: untrusted} {
		cmd := exec.Command(need(t, "curl"), "-sS", "-m", "30", "--cacert", file, secure.HTTP+"/livez")
		if _ = cmd.Run(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("%s: curl's status is %d, want %d", file, cmd.ProcessState.ExitCode(), want)
		}
	}
}

func TestTLS13IsTheDefaultAndWhatIsOlderThan12IsRefused(t *testing.T) {
	ca := newAuthority(t)
	_, at := serve(t, 2, ca.newPair().env()...)
	for name, c := range map[string]struct{ highest, want uint16 }{
		"default": {0, tls.VersionTLS13},
		"1.2":     {tls.VersionTLS12, tls.VersionTLS12},
		"1.1":     {tls.VersionTLS11, 0},
		"1.0":     {tls.VersionTLS10, 0},
	} {
		cfg := ca.trust().TLS
		if c.highest != 0 {
			cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, c.highest
		}
		conn, err := tls.Dial("tcp", at[1].host(), cfg)
		if c.want == 0 {
			if _, ok := errors.AsType[tls.AlertError](err); !ok && (err == nil || !strings.Contains(err.Error(), "protocol version")) {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := conn.ConnectionState().Version; got != c.want {
			t.Errorf("%s: got %s", name, tls.VersionName(got))
		}
		_ = conn.Close()
	}
}

func TestClientCertificatesAreAskedForAsSet(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	own, known, unknown := ca.newPair(), ca.newPair(), other.newPair()
	for set, want := range map[string]struct{ none, known, unknown bool }{
		"none":     {true, true, true},
		"optional": {true, true, false},
		"required": {false, true, false},
	} {
		env := own.env()
		if set != "none" {
			env = own.env("WAMPGATE_TLS_CLIENT_AUTH="+set, "WAMPGATE_TLS_CLIENT_CA="+ca.file)
		}
		_, at := serve(t, 2, env...)
		for name, c := range map[string]struct {
			cfg  transport.Config
			want bool
		}{
			"no certificate":      {ca.trust(), want.none},
			"one of the CA's":     {ca.trust(known.load()), want.known},
			"one of another CA's": {ca.trust(unknown.load()), want.unknown},
		} {
			for _, url := range []string{at[1].WebSocket, at[1].RawSocket} {
				s, err := joinAt(t.Context(), url, c.cfg)
				if (err == nil) != c.want {
					t.Errorf("%s, %s, %s: got %v", set, name, url, err)
				}
				if err == nil {
					_ = s.Close(t.Context())
				}
			}
		}
		if set == "required" { // Autobahn has no other way to show a certificate than with all three
			works(t, at[0].HTTP, func() *process {
				return node(t, "ways_autobahn.js", "websocket", at[1].WebSocket, "json", ca.file, known.cert, known.key)
			})
			node(t, "ways_autobahn.js", "websocket", at[1].WebSocket, "json", ca.file, unknown.cert, unknown.key).expect("ended unreachable")
		}
	}
}

func TestSessionsOutliveTheirCertificate(t *testing.T) {
	ca := newAuthority(t)
	own := ca.newPair()
	gw, at := serve(t, 2, own.env()...)
	secure := at[1]
	callee := sessionAt(t, secure.WebSocket, ca.trust())
	registerDouble(t, callee)
	callers := []*client.Session{
		sessionAt(t, secure.WebSocket, ca.trust()), sessionAt(t, secure.RawSocket, ca.trust()),
		sessionAt(t, secure.WebSocket, ca.trust()), sessionAt(t, secure.RawSocket, ca.trust()),
	}
	calls := make([]atomic.Int64, len(callers))
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for i, s := range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := double(ctx, s, i); err != nil && ctx.Err() == nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				calls[i].Add(1)
			}
		})
	}
	for range 5 {
		own.renew()
		_ = gw.cmd.Process.Signal(syscall.SIGHUP)
		waitFor(t, func() bool { return ca.presented(secure.host()) == own.serial })
		for i := range calls { // they go on with the old one
			before := calls[i].Load()
			waitFor(t, func() bool { return calls[i].Load() > before+10 })
		}
		for _, url := range []string{secure.WebSocket, secure.RawSocket} {
			s := sessionAt(t, url, ca.trust())
			if err := double(t.Context(), s, 21); err != nil {
				t.Errorf("a new session: %v", err)
			}
		}
	}
	stop()
	wg.Wait()
	for i, s := range append(callers, callee) {
		if err := s.Err(); err != nil {
			t.Errorf("session %d was lost: %v", i, err)
		}
	}
}

func TestBrokenCertificateLeavesTheOldOneAndIsLoggedOnce(t *testing.T) {
	ca := newAuthority(t)
	own := ca.newPair()
	gw, at := serve(t, 2, own.env()...)
	secure := at[1]
	old := sessionAt(t, secure.WebSocket, ca.trust())
	const complaint = "the certificate cannot be read"
	first := own.serial
	replace(t, own.cert, []byte("-----BEGIN CERTIFICATE-----\nbroken\n"))
	for i := range 5 {
		_ = gw.cmd.Process.Signal(syscall.SIGHUP)
		if i == 0 {
			gw.expect(complaint)
		}
		if got := ca.presented(secure.host()); got != first {
			t.Errorf("a new connection sees %d, want %d", got, first)
		}
		_ = count(t, old)
	}
	own.renew()
	_ = gw.cmd.Process.Signal(syscall.SIGHUP)
	waitFor(t, func() bool { return ca.presented(secure.host()) == own.serial })
	again := 0
	for line := range gw.lines {
		if strings.Contains(line, complaint) && !strings.Contains(line, "does not match") { // between the two files
			again++
		}
		if strings.Contains(line, "certificate replaced") {
			break
		}
	}
	if again != 0 {
		t.Errorf("it was logged %d times more", again)
	}
}

func TestSIGHUPDoesNotEndTheGateway(t *testing.T) {
	t.Run("without TLS", func(t *testing.T) {
		gw, base := gateway(t, soon)
		_ = gw.cmd.Process.Signal(syscall.SIGHUP)
		_ = gw.cmd.Process.Signal(syscall.SIGTERM)
		if status := gw.exit(); status != 0 {
			t.Errorf("%s: the exit status is %d: %s", base, status, gw.cmd.ProcessState)
		}
	})
	t.Run("while it shuts down", func(t *testing.T) {
		gw, at := serve(t, 2, newAuthority(t).newPair().env()...)
		callee := join(t, at[0].HTTP, wampcore.JSON)
		callee.register(1, "p")
		answered := make(chan string, 1)
		go func() {
			res, err := http.Post(at[0].HTTP+"/v1/call/p", "", nil)
			if err != nil {
				answered <- err.Error()
				return
			}
			_ = res.Body.Close()
			answered <- res.Status
		}()
		invocation := expect[*wampcore.Invocation](callee)
		_ = gw.cmd.Process.Signal(syscall.SIGTERM)
		gw.expect("shutting down")
		waitFor(t, func() bool { return status(t, at[0].HTTP+"/readyz") != 200 })
		_ = gw.cmd.Process.Signal(syscall.SIGHUP)
		callee.send(&wampcore.Yield{Request: invocation.Request})
		if got := <-answered; got != "200 OK" {
			t.Errorf("the call that ran got %s", got)
		}
		expect[*wampcore.Goodbye](callee)
		callee.send(&wampcore.Goodbye{Reason: wampcore.CloseGoodbyeAndOut})
		_, _ = callee.receive() // the end
		if status := gw.exit(); status != 0 {
			t.Errorf("the exit status is %d: %s", status, gw.cmd.ProcessState)
		}
	})
}

func TestGatewayThatEndsInGoodOrderSaysSo(t *testing.T) {
	dir := directory(t)
	env := newAuthority(t).newPair().env("WAMPGATE_LISTEN=127.0.0.1:0,127.0.0.1:0,127.0.0.1:0,unix:"+filepath.Join(dir, "s"),
		"WAMPGATE_LISTEN_TLS=127.0.0.1:0,127.0.0.1:0,unix:"+filepath.Join(dir, "t"))
	for range 60 { // the listeners are closed from several sides at once
		gw, _ := serve(t, 7, env...)
		_ = gw.cmd.Process.Signal(syscall.SIGTERM)
		if status := gw.exit(); status != 0 {
			t.Fatalf("the exit status is %d", status)
		}
	}
}

func TestAutobahnComesByRawSocketAndInBatches(t *testing.T) {
	socket := filepath.Join(directory(t), "s")
	for name, c := range map[string]struct {
		client  func(testing.TB, string, string) *process
		url     func([]listener) string
		batched string
		json    bool // has nothing else
	}{
		"python by tcp":      {component, func(at []listener) string { return at[0].RawSocket }, "", false},
		"python by unix":     {component, func(at []listener) string { return at[1].RawSocket }, "", false},
		"python in batches":  {component, func(at []listener) string { return at[0].WebSocket }, ".batched", false},
		"javascript by tcp":  {rawAutobahn, func(at []listener) string { return at[0].RawSocket }, "", true},
		"javascript by unix": {rawAutobahn, func(at []listener) string { return at[1].RawSocket }, "", true},
	} {
		for _, e := range encodings {
			if c.json && e != wampcore.JSON {
				continue
			}
			t.Run(name+" "+e.String(), func(t *testing.T) {
				gw, at := serve(t, 2, "WAMPGATE_LISTEN=127.0.0.1:0,unix:"+socket)
				works(t, at[0].HTTP, func() *process { return c.client(t, c.url(at), e.String()+c.batched) })
				_ = gw.cmd.Process.Signal(syscall.SIGTERM)
				if status := gw.exit(); status != 0 {
					t.Errorf("the exit status is %d", status)
				}
			})
		}
	}
}

func component(tb testing.TB, url, encoding string) *process {
	tb.Helper()
	return script(tb, "ways_component.py", url, encoding)
}

func rawAutobahn(tb testing.TB, url, encoding string) *process {
	tb.Helper()
	return node(tb, "ways_autobahn.js", "rawsocket", url, encoding)
}

// poller is a client that polls, as a test says.
type poller struct {
	tb      testing.TB
	http    *http.Client
	base    string // of the transport
	e       wampcore.Encoding
	batched bool
	waiting []wampcore.Message
}

// openPoll opens a transport at the gateway's address.
func openPoll(tb testing.TB, base string, e wampcore.Encoding, batched bool) *poller {
	tb.Helper()
	name := "wamp.2." + e.String()
	if batched {
		name += ".batched"
	}
	p := &poller{tb: tb, http: &http.Client{Timeout: patience}, base: base + "/longpoll", e: e, batched: batched}
	tb.Cleanup(p.http.CloseIdleConnections)
	status, body := p.post("open", fmt.Appendf(nil, `{"protocols":["wamp.2.none",%q]}`, name))
	var opened struct{ Protocol, Transport string }
	if err := json.Unmarshal(body, &opened); err != nil || status != http.StatusOK || opened.Protocol != name {
		tb.Fatalf("open: %d %s, %v", status, body, err)
	}
	p.base += "/" + opened.Transport
	return p
}

// post does a request; the status is 0 if there is no answer.
func (p *poller) post(action string, body []byte) (int, []byte) {
	res, err := p.http.Post(p.base+"/"+action, "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return res.StatusCode, answer
}

// send sends messages, in one request if it may.
func (p *poller) send(ms ...wampcore.Message) {
	p.tb.Helper()
	var bodies [][]byte
	for _, m := range ms {
		b := wampcore.Append(nil, p.e, m)
		switch {
		case !p.batched:
			bodies = append(bodies, b)
			continue
		case p.e.Text():
			b = append(b, 0x1e)
		default:
			b = append(byteorder.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
		}
		bodies = [][]byte{append(bytes.Join(bodies, nil), b...)}
	}
	for _, body := range bodies {
		if status, answer := p.post("send", body); status != http.StatusNoContent {
			p.tb.Fatalf("send: %d %s", status, answer)
		}
	}
}

// next polls until there is a message.
func (p *poller) next() wampcore.Message {
	p.tb.Helper()
	for began := time.Now(); len(p.waiting) == 0; {
		if time.Since(began) > patience {
			p.tb.Fatal("nothing came")
		}
		status, body := p.post("receive", nil)
		if status != http.StatusNoContent && status != http.StatusOK {
			p.tb.Fatalf("receive: %d %s", status, body)
		}
		p.take(body)
	}
	m := p.waiting[0]
	p.waiting = p.waiting[1:]
	return m
}

// take takes an answer apart.
func (p *poller) take(body []byte) {
	p.tb.Helper()
	for len(body) > 0 {
		m, n := body, len(body)
		switch {
		case p.batched && p.e.Text():
			n = bytes.IndexByte(body, 0x1e) + 1
			m = body[:n-1]
		case p.batched:
			n = 4 + int(byteorder.BigEndian.Uint32(body))
			m = body[4:n]
		}
		decoded, err := new(wampcore.Decoder).Decode(p.e, m)
		if err != nil {
			p.tb.Fatalf("%q: %v", m, err)
		}
		p.waiting = append(p.waiting, decoded)
		body = body[n:]
	}
}

func polled[T wampcore.Message](p *poller) T {
	p.tb.Helper()
	m := p.next()
	got, ok := m.(T)
	if !ok {
		p.tb.Fatalf("got %T, want %T", m, got)
	}
	return got
}

func (p *poller) hello() {
	p.tb.Helper()
	p.send(&wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{Roles: allFeatures()}})
	polled[*wampcore.Welcome](p)
}

func TestLongPollByHand(t *testing.T) {
	for _, e := range encodings {
		for _, batched := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s batched=%t", e, batched), func(t *testing.T) {
				_, base := gateway(t)
				p := openPoll(t, base, e, batched)
				p.hello()
				p.send(&wampcore.Register{Request: 1, Procedure: "p"}, &wampcore.Subscribe{Request: 2, Topic: "t"})
				polled[*wampcore.Registered](p)
				polled[*wampcore.Subscribed](p)

				answered := make(chan string, 1)
				go func() {
					body, status := post(t, base+"/v1/call/p", `{"args":[42]}`)
					answered <- status + " " + body
				}()
				inv := polled[*wampcore.Invocation](p)
				p.send(&wampcore.Yield{Request: inv.Request, Payload: inv.Payload})
				if got := <-answered; got != `200 {"args":[42]}` {
					t.Errorf("the call got %s", got)
				}

				const events = 20
				for i := range events {
					post(t, base+"/v1/publish/t", fmt.Sprintf(`{"args":[%d]}`, i))
				}
				for i := range events {
					var n int
					if event := polled[*wampcore.Event](p); event.Payload.DecodeArgs(&n) != nil || n != i {
						t.Errorf("event %d has %d", i, n)
					}
				}

				p.send(&wampcore.Goodbye{Reason: wampcore.CloseRealm})
				if g := polled[*wampcore.Goodbye](p); g.Reason != wampcore.CloseGoodbyeAndOut {
					t.Errorf("got %+v", g)
				}
				if status, _ := p.post("close", nil); status != http.StatusNoContent {
					t.Errorf("close: %d", status)
				}
				if status, _ := p.post("receive", nil); status != http.StatusNotFound {
					t.Errorf("receive after close: %d", status)
				}
			})
		}
	}
}

func TestAutobahnComesByLongPoll(t *testing.T) {
	_, base := gateway(t)
	p := works(t, base, func() *process { return node(t, "ways_autobahn.js", "longpoll", base+"/longpoll", "json") })
	post(t, base+"/v1/publish/com.example.bye", "")
	if line := p.expect("ended"); line != "ended closed "+string(wampcore.CloseGoodbyeAndOut) {
		t.Errorf("it says %q", line)
	}
	if status := p.exit(); status != 0 {
		t.Errorf("its exit status is %d", status)
	}
	waitFor(t, func() bool {
		body, _ := curl(t, "-X", "POST", base+"/v1/call/wamp.session.count")
		return body == `{"args":[2]}` // the stream's and that of HTTP's calls
	})
}

func TestAutobahnThatIsKilledLeavesInGoodOrder(t *testing.T) {
	for kind, url := range map[string]func(listener) string{
		"websocket": func(at listener) string { return at.WebSocket },
		"rawsocket": func(at listener) string { return at.RawSocket },
		"longpoll":  func(at listener) string { return at.HTTP + "/longpoll" },
	} {
		t.Run(kind, func(t *testing.T) {
			_, at := serve(t, 1, "WAMPGATE_OPERATORS=anonymous")
			p := works(t, at[0].HTTP, func() *process { return node(t, "ways_autobahn.js", kind, url(at[0]), "json") })
			if body, status := curl(t, "-X", "POST", at[0].HTTP+"/v1/call/wamp.session.kill_all"); status != "200" {
				t.Fatalf("%s %s", status, body)
			}
			if line := p.expect("ended"); line != "ended closed wamp.close.killed" {
				t.Errorf("it says %q", line)
			}
		})
	}
}

func TestThosePollingMayAnswerGoodbye(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_OPERATORS=anonymous")
	var parting sync.WaitGroup
	for range 50 {
		p := openPoll(t, base, wampcore.JSON, false)
		p.hello()
		parting.Go(func() {
			status, body := p.post("receive", nil)
			for status == http.StatusNoContent {
				status, body = p.post("receive", nil)
			}
			if status != http.StatusOK || !bytes.HasPrefix(body, []byte("[6,")) {
				t.Errorf("got %d %s, want GOODBYE", status, body)
			}
			for _, last := range []struct{ action, body string }{{"send", `[6,{},"wamp.close.goodbye_and_out"]`}, {"close", ""}} {
				status, body = p.post(last.action, []byte(last.body))
				if status != http.StatusNoContent && (last.action != "close" || status != http.StatusNotFound) {
					t.Errorf("%s: %d %s", last.action, status, body)
				}
			}
		})
	}
	if body, status := curl(t, "-X", "POST", base+"/v1/call/wamp.session.kill_all"); status != "200" {
		t.Errorf("%s %s", status, body)
	}
	parting.Wait()
}

func TestShutdownReachesThosePolling(t *testing.T) {
	t.Run("by hand", func(t *testing.T) {
		gw, base := gateway(t, soon)
		p := openPoll(t, base, wampcore.MessagePack, true)
		p.hello()
		type answer struct {
			status int
			body   []byte
		}
		answers := make(chan answer, 2)
		for range 2 {
			go func() {
				status, body := p.post("receive", nil)
				answers <- answer{status, body}
			}()
		}
		if a := <-answers; a.status != http.StatusNoContent { // it gave way: the other one waits now
			t.Fatalf("got %d %s", a.status, a.body)
		}
		_ = gw.cmd.Process.Signal(syscall.SIGTERM)
		began := time.Now()
		a := <-answers
		if a.status != http.StatusOK {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		p.take(a.body)
		if g := polled[*wampcore.Goodbye](p); g.Reason != wampcore.CloseSystemShutdown {
			t.Errorf("got %+v", g)
		}
		if status := gw.exit(); status != 0 || time.Since(began) > 10*time.Second {
			t.Errorf("the exit status is %d after %s", status, time.Since(began))
		}
	})
	t.Run("who does not ask", func(t *testing.T) {
		gw, base := gateway(t, soon)
		openPoll(t, base, wampcore.JSON, false).hello()
		_ = gw.cmd.Process.Signal(syscall.SIGTERM)
		began := time.Now()
		if status := gw.exit(); status != 0 || time.Since(began) > 10*time.Second {
			t.Errorf("the exit status is %d after %s", status, time.Since(began))
		}
	})
	t.Run("autobahn-js", func(t *testing.T) {
		gw, base := gateway(t, soon)
		p := works(t, base, func() *process { return node(t, "ways_autobahn.js", "longpoll", base+"/longpoll", "json") })
		_ = gw.cmd.Process.Signal(syscall.SIGTERM)
		if line := p.expect("ended"); !strings.HasSuffix(line, string(wampcore.CloseSystemShutdown)) {
			t.Errorf("it says %q", line)
		}
		if status := gw.exit(); status != 0 {
			t.Errorf("the gateway's exit status is %d", status)
		}
	})
}

// counting is a network whose bytes to the client are counted.
func counting(n *atomic.Int64) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return &countingConn{c, n}, err
	}}}
}

type countingConn struct {
	net.Conn

	n *atomic.Int64
}

func (c *countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// extensions returns what was agreed on with a client that offers compression or not.
func extensions(tb testing.TB, url string, mode websocket.CompressionMode) string {
	tb.Helper()
	ws, res, err := websocket.Dial(tb.Context(), url, &websocket.DialOptions{Subprotocols: []string{"wamp.2.json"}, CompressionMode: mode}) //nolint:bodyclose // it has none
	if err != nil {
		tb.Fatal(err)
	}
	_ = ws.CloseNow()
	return res.Header.Get("Sec-WebSocket-Extensions")
}

func TestCompressionIsOffByDefault(t *testing.T) {
	_, base := gateway(t)
	if got := extensions(t, webSocket(base), websocket.CompressionContextTakeover); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestCompressionIsForThoseWhoOfferIt(t *testing.T) {
	gw, base := gateway(t, soon, "WAMPGATE_COMPRESSION=true")
	url := webSocket(base)
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		if got := extensions(t, url, mode); !strings.HasPrefix(got, "permessage-deflate") {
			t.Errorf("mode %d: got %q", mode, got)
		}
	}
	if got := extensions(t, url, websocket.CompressionDisabled); got != "" {
		t.Errorf("who does not offer it gets %q", got)
	}

	var wire, plainWire atomic.Int64
	_, err := sessionAt(t, url, transport.Config{Compression: true}).Register(t.Context(), "echo",
		func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			return inv.Payload.Clone(), nil
		}, wampcore.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("All work and no play makes Jack a dull boy. ", 24_000)
	for _, e := range encodings {
		encoding := []wampcore.Encoding{e}
		for _, cfg := range []transport.Config{
			{Encodings: encoding, Compression: true, HTTPClient: counting(&wire)},
			{Encodings: encoding, Compression: true, Batched: true, HTTPClient: counting(&wire)},
			{Encodings: encoding, HTTPClient: counting(&plainWire)},
		} {
			s := sessionAt(t, url, cfg)
			for _, n := range []int{0, 1, 100, 500, 600, 5000, 70_000, len(text), 10} {
				in, _ := wampcore.NewPayload(wampcore.JSON, []any{text[:n]}, nil)
				out, err := s.Call(t.Context(), "echo", in, wampcore.CallOptions{})
				var got string
				if err != nil || out.DecodeArgs(&got) != nil || got != text[:n] {
					t.Fatalf("%s: %d bytes: got %d, %v", e, n, len(got), err)
				}
			}
		}
	}
	if wire.Load() > int64(len(text))/10 || plainWire.Load() < 3*int64(len(text)) {
		t.Errorf("%d bytes came compressed, and %d to who did not offer it", wire.Load(), plainWire.Load())
	}

	// ws, which Autobahn|JS and wampy use, and Autobahn|Python offer it on their own.
	for _, start := range []func() *process{
		func() *process { return node(t, "ways_autobahn.js", "websocket", url, "msgpack") },
		func() *process { return node(t, "ways_wampy.js", url, "cbor") },
		func() *process { return component(t, url, "json") },
	} {
		p := works(t, base, start)
		_ = p.cmd.Process.Kill() // its procedure is the next one's
		_ = p.exit()
		waitFor(t, func() bool {
			_, status := post(t, base+"/v1/call/com.example.add", `{"args":[2,3]}`)
			return status == "404"
		})
	}

	p := join(t, base, wampcore.JSON)
	ws, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{ //nolint:bodyclose // it has none
		Subprotocols: []string{"wamp.2.json"}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &frames{t, ws, wampcore.JSON}
	f.hello()
	_ = gw.cmd.Process.Signal(syscall.SIGTERM)
	expect[*wampcore.Goodbye](p)
	if m, err := f.receive(); err != nil || m.Type() != wampcore.TypeGoodbye {
		t.Errorf("at the shutdown: got %T, %v", m, err)
	}
	if _, err := f.receive(); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("after GOODBYE: got %v", err)
	}
	if status := gw.exit(); status != 0 {
		t.Errorf("the exit status is %d", status)
	}
}

func TestAllListenersReachOneRealm(t *testing.T) {
	ca := newAuthority(t)
	dir := directory(t)
	socket, secureSocket := filepath.Join(dir, "s"), filepath.Join(dir, "t")
	env := ca.newPair().env("WAMPGATE_LISTEN=127.0.0.1:0,127.0.0.1:0,unix:"+socket,
		"WAMPGATE_LISTEN_TLS=127.0.0.1:0,unix:"+secureSocket, "WAMPGATE_UNIX_MODE=0660")
	gw, at := serve(t, 5, env...)
	registerDouble(t, sessionAt(t, at[2].RawSocket, transport.Config{}))
	for _, l := range at[:4] { // Dial has no TLS over a unix socket
		for _, url := range []string{l.WebSocket, l.RawSocket} {
			if err := double(t.Context(), sessionAt(t, url, ca.trust()), 7); err != nil {
				t.Errorf("%s: %v", url, err)
			}
		}
	}
	for _, args := range [][]string{
		{at[0].HTTP},
		{at[1].HTTP},
		{"http://localhost", "--unix-socket", socket},
		{at[3].HTTP, "--cacert", ca.file},
		{"https://localhost", "--cacert", ca.file, "--unix-socket", secureSocket},
	} {
		args[0] += "/v1/call/com.example.double"
		body, status := curl(t, append(args, "-d", `{"args":[7]}`, "-H", "Content-Type: application/json")...)
		if status != "200" || body != `{"args":[14]}` {
			t.Errorf("%q: %s %s", args, status, body)
		}
	}
	for _, path := range []string{socket, secureSocket} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 || info.Mode().Type() != os.ModeSocket {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	_ = gw.cmd.Process.Signal(syscall.SIGTERM)
	if status := gw.exit(); status != 0 {
		t.Errorf("the exit status is %d", status)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

func TestSocketOfAKilledGatewayIsReplacedButNoOther(t *testing.T) {
	dir := directory(t)
	socket := filepath.Join(dir, "s")
	gw, _ := serve(t, 1, "WAMPGATE_LISTEN=unix:"+socket)
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	_ = gw.cmd.Process.Kill()
	_ = gw.exit()
	if _, err := os.Stat(socket); err != nil {
		t.Fatalf("there is nothing to be replaced: %v", err)
	}
	_, at := serve(t, 1, "WAMPGATE_LISTEN=unix:"+socket)
	s := sessionAt(t, at[0].WebSocket, transport.Config{})

	file := filepath.Join(dir, "f")
	replace(t, file, []byte("precious"))
	for path, says := range map[string]string{socket: "served by another process", file: "no socket"} {
		cmd := exec.Command(binary)
		cmd.Env = append(os.Environ(), "WAMPGATE_LISTEN=unix:"+path)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !bytes.Contains(out, []byte(says)) {
			t.Errorf("%s: exit status %d, %s", path, cmd.ProcessState.ExitCode(), out)
		}
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "precious" {
		t.Errorf("the file has %q, %v", content, err)
	}
	_ = count(t, s)
	if err := double(t.Context(), sessionAt(t, at[0].RawSocket, transport.Config{}), 1); err == nil {
		t.Error("a procedure of the killed gateway is still there")
	}
}

// rawHello says hello as RawSocket has it, and returns the four octets of the answer.
func rawHello(tb testing.TB, c net.Conn, err error) string {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	answer := make([]byte, 4)
	if _, err := c.Write([]byte{transport.RawSocketMagic, 0xf1, 0, 0}); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(c, answer); err != nil {
		tb.Fatal(err)
	}
	return string(answer)
}

const (
	rawWelcome = "\x7f\xf1\x00\x00"
	rawRefused = "\x7f\x40\x00\x00" // there are too many connections
)

func TestOneConnectionTooManyIsToldSo(t *testing.T) {
	ca := newAuthority(t)
	_, at := serve(t, 2, ca.newPair().env("WAMPGATE_MAX_CONNECTIONS=2")...)
	connect := map[string]func() (net.Conn, error){
		at[0].HTTP: func() (net.Conn, error) { return net.Dial("tcp", at[0].host()) },
		at[1].HTTP: func() (net.Conn, error) { return tls.Dial("tcp", at[1].host(), ca.trust().TLS) },
	}
	for _, l := range at {
		livez := func() string {
			body, status := curl(t, "--cacert", ca.file, "-i", l.HTTP+"/livez")
			if status == "503" && !strings.Contains(body, "Retry-After: 5") {
				t.Errorf("%s: %s", l.HTTP, body)
			}
			return status
		}
		full := func() {
			t.Helper()
			if status := livez(); status != "503" {
				t.Errorf("%s: HTTP got %s", l.HTTP, status)
			}
			if _, err := joinAt(t.Context(), l.WebSocket, ca.trust()); err == nil || !strings.Contains(err.Error(), "503") {
				t.Errorf("%s: got %v", l.WebSocket, err)
			}
			c, err := connect[l.HTTP]()
			if got := rawHello(t, c, err); got != rawRefused {
				t.Errorf("%s: got % x", l.RawSocket, got)
			}
			if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%s: %d bytes more, %v, want the end", l.RawSocket, n, err)
			}
			_ = c.Close()
		}
		kept := sessionAt(t, l.RawSocket, ca.trust())
		for _, url := range []string{l.WebSocket, l.RawSocket, l.WebSocket} {
			var s *client.Session
			waitFor(t, func() bool { // the gateway sees the end of the connection before when it sees it
				var err error
				s, err = joinAt(t.Context(), url, ca.trust())
				return err == nil
			})
			full()
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			waitFor(t, func() bool { return livez() == "200" })
		}
		_ = count(t, kept)
	}
}

func TestConnectionsFromOneAddressAreBounded(t *testing.T) {
	socket := filepath.Join(directory(t), "s")
	_, at := serve(t, 2, "WAMPGATE_LISTEN=127.0.0.1:0,unix:"+socket, "WAMPGATE_MAX_CONNECTIONS_PER_ADDRESS=2")
	for _, from := range []byte{1, 2} { // the other's connections do not count
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, from)}}
		var conns []net.Conn
		for i, want := range []string{rawWelcome, rawWelcome, rawRefused, rawRefused} {
			c, err := d.DialContext(t.Context(), "tcp", at[0].host())
			if got := rawHello(t, c, err); got != want {
				t.Errorf("%d.%d: got % x, want % x", from, i, got, want)
			}
			conns = append(conns, c)
		}
		if from == 1 {
			defer conns[1].Close()
			_ = conns[0].Close()
			waitFor(t, func() bool {
				c, err := d.DialContext(t.Context(), "tcp", at[0].host())
				if got := rawHello(t, c, err); got != rawWelcome {
					_ = c.Close()
					return false
				}
				conns = append(conns, c)
				return true
			})
		}
	}
	for range 4 { // a unix socket's peers have no address
		_ = sessionAt(t, at[1].RawSocket, transport.Config{})
	}
}

func TestTransportsThatPollAreBounded(t *testing.T) {
	for name, env := range map[string]string{"in all": "WAMPGATE_MAX_CONNECTIONS=2", "by address": "WAMPGATE_MAX_CONNECTIONS_PER_ADDRESS=2"} {
		t.Run(name, func(t *testing.T) {
			_, base := gateway(t, env)
			open := func() (string, string) {
				return curl(t, base+"/longpoll/open", "-d", `{"protocols":["wamp.2.json"]}`, "-H", "Connection: close")
			}
			var opened struct{ Transport string }
			for range 2 {
				body, status := open()
				if err := json.Unmarshal([]byte(body), &opened); err != nil || status != "200" {
					t.Fatalf("open: %s %s, %v", status, body, err)
				}
			}
			if body, status := open(); status != "503" {
				t.Errorf("one too many: %s %s", status, body)
			}
			if _, status := curl(t, "-X", "POST", base+"/longpoll/"+opened.Transport+"/close"); status != "204" {
				t.Errorf("close: %s", status)
			}
			if body, status := open(); status != "200" {
				t.Errorf("there is room: %s %s", status, body)
			}
		})
	}
}

func TestOnlyTheTransportsThatAreSetAreThere(t *testing.T) {
	for _, set := range []string{"websocket", "rawsocket", "longpoll", "rawsocket,longpoll"} {
		t.Run(set, func(t *testing.T) {
			_, at := serve(t, 1, "WAMPGATE_TRANSPORTS="+set, "WAMPGATE_HELLO_TIMEOUT=300ms")
			l, base := at[0], at[0].HTTP
			if _, status := curl(t, base+"/livez"); status != "200" {
				t.Errorf("HTTP got %s", status)
			}

			has := strings.Contains(set, "websocket")
			_, err := joinAt(t.Context(), webSocket(base), transport.Config{})
			if (err == nil) != has || (l.WebSocket != "") != has || !has && !strings.Contains(err.Error(), "404") {
				t.Errorf("WebSocket: %v, and the log says %q", err, l.WebSocket)
			}

			has = strings.Contains(set, "rawsocket")
			_, err = joinAt(t.Context(), "tcp://"+l.host(), transport.Config{})
			if (err == nil) != has || (l.RawSocket != "") != has {
				t.Errorf("RawSocket: %v, and the log says %q", err, l.RawSocket)
			}

			want := "404"
			if strings.Contains(set, "longpoll") {
				want = "200"
			}
			if _, status := curl(t, base+"/longpoll/open", "-d", `{"protocols":["wamp.2.json"]}`); status != want {
				t.Errorf("long-poll: %s", status)
			}
		})
	}
}

func TestOnlyTheSerializersThatAreSetAreThere(t *testing.T) {
	_, at := serve(t, 1, "WAMPGATE_SERIALIZERS=cbor,msgpack")
	for _, e := range encodings {
		has := e != wampcore.JSON
		cfg := transport.Config{Encodings: []wampcore.Encoding{e}}
		_, err := joinAt(t.Context(), at[0].WebSocket, cfg)
		if (err == nil) != has || !has && !strings.Contains(err.Error(), "400") {
			t.Errorf("WebSocket, %s: %v", e, err)
		}
		_, err = joinAt(t.Context(), at[0].RawSocket, cfg)
		if (err == nil) != has || !has && !strings.Contains(err.Error(), "serializer is not supported") {
			t.Errorf("RawSocket, %s: %v", e, err)
		}
		for _, suffix := range []string{"", ".batched"} {
			want := "400"
			if has {
				want = "200"
			}
			body, status := curl(t, at[0].HTTP+"/longpoll/open", "-d", fmt.Sprintf(`{"protocols":["wamp.2.%s%s"]}`, e, suffix))
			if status != want {
				t.Errorf("long-poll, %s%s: %s %s", e, suffix, status, body)
			}
		}
	}
}

// TestEventStreamsComeByHTTP2OverTLS has many streams share a connection, as a browser's tabs do.
func TestEventStreamsComeByHTTP2OverTLS(t *testing.T) {
	ca := newAuthority(t)
	_, at := serve(t, 2, ca.newPair().env("WAMPGATE_MAX_CONNECTIONS=2")...)
	tr := &http.Transport{TLSClientConfig: ca.trust().TLS, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	hc := &http.Client{Transport: tr}
	lines := make(chan string, 100)
	for range 10 {
		res, err := hc.Get(at[1].HTTP + "/v1/subscribe/com.example.t") //nolint:bodyclose // by who reads it
		if err != nil {
			t.Fatal(err)
		}
		if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
			t.Fatalf("got %s, %s", res.Proto, res.Status)
		}
		go func() {
			defer func() { _ = res.Body.Close() }()
			scanner := bufio.NewScanner(res.Body)
			for scanner.Scan() {
				if strings.HasPrefix(scanner.Text(), "data: {\"topic\"") || scanner.Text() == "event: wamp.ready" {
					lines <- scanner.Text()
				}
			}
		}()
	}
	next := func() string {
		timeout := time.NewTimer(patience)
		defer timeout.Stop()
		select {
		case line := <-lines:
			return line
		case <-timeout.C:
			t.Fatal("nothing comes")
			return ""
		}
	}
	for range 10 {
		if got := next(); got != "event: wamp.ready" {
			t.Fatalf("got %q", got)
		}
	}
	if body, status := post(t, at[0].HTTP+"/v1/publish/com.example.t", `{"args":[7]}`); status != "200" {
		t.Fatal(status, body)
	}
	for range 10 {
		if got := next(); !strings.Contains(got, `"args":[7]`) {
			t.Errorf("got %q", got)
		}
	}
}

func TestSecondSignalNeverKills(t *testing.T) {
	for i := range 10 {
		cmd := exec.Command(binary)
		cmd.Env = append(os.Environ(), "WAMPGATE_LISTEN=127.0.0.1:0")
		gw := run(t, cmd)
		gw.expect(`"listening"`)
		_ = gw.cmd.Process.Signal(syscall.SIGTERM)
		for range i * 2000 { // they are apart by no time, up to about what the end takes
			runtime.Gosched()
		}
		_ = gw.cmd.Process.Signal(syscall.SIGTERM)
		if status := gw.exit(); status != 0 && status != 1 {
			t.Fatalf("after two signals at once the exit status is %d", status)
		}
	}
}
