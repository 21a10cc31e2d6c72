package router_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// issue returns a certificate of a name, signed by a parent, or by itself.
func issue(tb testing.TB, name string, parent *tls.Certificate) tls.Certificate {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	signer, key := template, private
	if parent != nil {
		signer, key = parent.Leaf, parent.PrivateKey.(ed25519.PrivateKey)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, public, key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}
}

// secure is a router behind TLS, as the gateway builds it: bounded, and WebSocket, long-poll and RawSocket on one port.
type secure struct {
	*testing.T
	r       *router.Router
	address string
	ca      tls.Certificate
	pool    *x509.CertPool
}

func behindTLS(t *testing.T, methods map[string]router.Authenticator) *secure {
	t.Helper()
	r := newRouter(t, func(c *router.Config) { c.Realms = []router.RealmConfig{{Name: realm1, Authenticators: methods}} })
	s := &secure{T: t, r: r, ca: issue(t, "the CA", nil), pool: x509.NewCertPool()}
	s.pool.AddCert(s.ca.Leaf)
	l, err := transport.Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	l = transport.Limit(transport.TLS(l, &tls.Config{
		Certificates: []tls.Certificate{issue(t, "router", &s.ca)}, ClientCAs: s.pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12,
	}, time.Minute), 0, 0)
	web, raw := transport.Split(l)
	srv := &http.Server{Handler: r.WebSocket(transport.Config{}), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{}, 2)
	go func() { _ = srv.Serve(web); done <- struct{}{} }()
	go func() { _ = r.RawSocket(raw, transport.Config{}); done <- struct{}{} }()
	t.Cleanup(func() {
		_ = srv.Close()
		_ = r.Shutdown(context.Background())
		<-done
		<-done
	})
	return s
}

// login logs in over TLS of a version, and returns how that fails, nil if it does not.
func (s *secure) login(scheme string, version uint16, cert *tls.Certificate, authID string, method auth.Method) (*wampcore.Welcome, error) {
	s.Helper()
	cfg := &tls.Config{RootCAs: s.pool, MinVersion: version, MaxVersion: version}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	t, err := transport.Dial(s.Context(), scheme+"://"+s.address, transport.Config{TLS: cfg})
	if err != nil {
		s.Fatal(err)
	}
	c, err := client.Join(s.Context(), t, client.Config{Realm: realm1, AuthID: authID, Auth: []auth.Method{method}})
	if err != nil {
		return nil, err
	}
	return c.Welcome(), c.Close(s.Context())
}

func TestLoginsAreBoundToTheirTLSConnection(t *testing.T) {
	who, key := joe(t)
	_, routerKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	routerPublic, _ := routerKey.Public().(ed25519.PublicKey)
	s := behindTLS(t, map[string]router.Authenticator{
		"wamp-scram": router.WAMPSCRAM{Principals: who, Params: cheap}, "cryptosign": router.Cryptosign{Principals: who, Key: routerKey},
	})
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method      auth.Method
		in12, in13  bool
		unencrypted bool
	}{
		"scram":                    {auth.SCRAM("secret"), true, true, true},
		"scram, exporter":          {auth.BoundSCRAM("secret", auth.TLSExporter), true, true, false},
		"scram, unique":            {auth.BoundSCRAM("secret", auth.TLSUnique), false, false, false},
		"cryptosign":               {auth.Cryptosign(key), true, true, true},
		"cryptosign, exporter":     {auth.StrictCryptosign(key, auth.TLSExporter, nil), true, true, false},
		"cryptosign, unique":       {auth.StrictCryptosign(key, auth.TLSUnique, nil), true, false, false},
		"cryptosign, unknown":      {auth.StrictCryptosign(key, "tls-magic", nil), false, false, false},
		"router":                   {auth.StrictCryptosign(key, "", routerPublic), true, true, true},
		"router, exporter":         {auth.StrictCryptosign(key, auth.TLSExporter, routerPublic), true, true, false},
		"another router":           {auth.StrictCryptosign(key, "", other), false, false, false},
		"another router, exporter": {auth.StrictCryptosign(key, auth.TLSExporter, other), false, false, false},
	} {
		for version, want := range map[uint16]bool{tls.VersionTLS12: c.in12, tls.VersionTLS13: c.in13} {
			for _, scheme := range []string{"wss", "tls"} {
				if _, err := s.login(scheme, version, nil, "joe", c.method); (err == nil) != want {
					t.Errorf("%s over %s, %s: got %v, want %t", name, scheme, tls.VersionName(version), err, want)
				}
			}
		}
		_, err := client.Join(t.Context(), s.r.Dial(), client.Config{Realm: realm1, AuthID: "joe", Auth: []auth.Method{c.method}})
		if (err == nil) != c.unencrypted {
			t.Errorf("%s without TLS: got %v, want %t", name, err, c.unencrypted)
		}
	}
}

func TestRouterThatHasNoKeyIsNotBelieved(t *testing.T) {
	who, key := joe(t)
	public, _ := key.Public().(ed25519.PublicKey)
	s := behindTLS(t, map[string]router.Authenticator{"cryptosign": router.Cryptosign{Principals: who}})
	if _, err := s.login("wss", tls.VersionTLS13, nil, "joe", auth.StrictCryptosign(key, "", public)); err == nil {
		t.Error("a router that proves nothing is believed")
	}
}

// elsewhere makes a method answer as if it were bound to another connection: what a man in the middle has a client do.
func elsewhere(m auth.Method, channel *tls.ConnectionState) auth.Method {
	return auth.Method{Name: m.Name, Begin: func(authID string, _ *tls.ConnectionState) auth.Login { return m.Begin(authID, channel) }}
}

func TestAnswersOfAnotherConnectionAreRefused(t *testing.T) {
	who, key := joe(t)
	s := behindTLS(t, map[string]router.Authenticator{
		"wamp-scram": router.WAMPSCRAM{Principals: who, Params: cheap}, "cryptosign": router.Cryptosign{Principals: who},
	})
	elsewhereConn, err := transport.Dial(t.Context(), "tls://"+s.address, transport.Config{TLS: &tls.Config{RootCAs: s.pool, MinVersion: tls.VersionTLS13}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = elsewhereConn.Close(0) }()
	for _, m := range []auth.Method{auth.BoundSCRAM("secret", auth.TLSExporter), auth.StrictCryptosign(key, auth.TLSExporter, nil)} {
		_, err := s.login("wss", tls.VersionTLS13, nil, "joe", elsewhere(m, elsewhereConn.TLS()))
		if denied := (&wampcore.Error{URI: wampcore.ErrAuthenticationDenied}); !errors.Is(err, denied) {
			t.Errorf("%s: got %v", m.Name, err)
		}
	}
}

func TestClientCertificatesLogIn(t *testing.T) {
	identify := func(cert *x509.Certificate) (router.Identity, bool) {
		name, known := strings.CutSuffix(cert.Subject.CommonName, ".example")
		return router.Identity{AuthID: name, AuthRole: "backend"}, known
	}
	methods := map[string]router.Authenticator{"tls": router.Certificate{Identify: identify}}
	s := behindTLS(t, methods)
	known, unknown := issue(t, "joe.example", &s.ca), issue(t, "joe.another", &s.ca)
	for _, scheme := range []string{"wss", "tls"} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			w, err := s.login(scheme, version, &known, "", auth.Certificate())
			if err != nil || w.Details.AuthID != "joe" || w.Details.AuthRole != "backend" || w.Details.AuthMethod != "tls" {
				t.Errorf("%s: got %+v, %v", scheme, w, err)
			}
			for _, cert := range []*tls.Certificate{nil, &unknown} {
				if _, err := s.login(scheme, version, cert, "joe", auth.Certificate()); !errors.Is(err, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied}) {
					t.Errorf("%s: got %v", scheme, err)
				}
			}
		}
	}
	// When it is nobody's any more, the session ends.
	conn, err := transport.Dial(t.Context(), "wss://"+s.address, transport.Config{TLS: &tls.Config{RootCAs: s.pool, Certificates: []tls.Certificate{known}, MinVersion: tls.VersionTLS13}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Join(t.Context(), conn, client.Config{Realm: realm1, Auth: []auth.Method{auth.Certificate()}})
	if err != nil {
		t.Fatal(err)
	}
	reconfigure(t, s.r, router.RealmConfig{Name: realm1, Authenticators: methods})
	if _, err := client.Call[int](t.Context(), c, "wamp.session.count"); err != nil {
		t.Error(err)
	}
	nobody := func(*x509.Certificate) (router.Identity, bool) { return router.Identity{}, false }
	reconfigure(t, s.r, router.RealmConfig{Name: realm1, Authenticators: map[string]router.Authenticator{"tls": router.Certificate{Identify: nobody}}})
	<-c.Done()
}

func TestPublicKeyIsTheNameOfWhoSaysNone(t *testing.T) {
	who, key := joe(t)
	public, _ := key.Public().(ed25519.PublicKey)
	s := behindTLS(t, map[string]router.Authenticator{"cryptosign": router.Cryptosign{Principals: who}})
	w, err := s.login("tls", tls.VersionTLS13, nil, "", auth.StrictCryptosign(key, auth.TLSExporter, nil))
	if err != nil || w.Details.AuthID != hex.EncodeToString(public) {
		t.Errorf("got %+v, %v", w, err)
	}
}
