package transport_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore/transport"
)

// certificate is the one of httptest, which a client of its trusts.
func certificate(tb testing.TB) (*tls.Config, *http.Client) {
	tb.Helper()
	s := httptest.NewTLSServer(nil)
	s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12}, s.Client()
}

func serveHTTP(tb testing.TB, l net.Listener) {
	tb.Helper()
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil {
				_, _ = io.WriteString(w, "plain")
			} else if r.TLS.HandshakeComplete {
				_, _ = io.WriteString(w, "secure")
			}
		}),
		ReadHeaderTimeout: time.Minute,
	}
	done := make(chan struct{})
	go func() { _ = srv.Serve(l); close(done) }()
	tb.Cleanup(func() { _ = srv.Close(); <-done })
}

func TestHandlersSeeTheTLSUnderBoundsAndSplits(t *testing.T) {
	cfg, hc := certificate(t)
	wrap := map[string]func(net.Listener) net.Listener{
		"bounded": func(l net.Listener) net.Listener { return transport.Limit(l, 10, 10) },
		"split":   func(l net.Listener) net.Listener { web, _ := transport.Split(l); return web },
		"both":    func(l net.Listener) net.Listener { web, _ := transport.Split(transport.Limit(l, 10, 10)); return web },
	}
	for name, f := range wrap {
		for _, c := range []struct {
			scheme, want string
			secure       func(net.Listener) net.Listener
		}{
			{"http", "plain", func(l net.Listener) net.Listener { return l }},
			{"https", "secure", func(l net.Listener) net.Listener { return tls.NewListener(l, cfg) }},
			{"https", "secure", func(l net.Listener) net.Listener { return transport.TLS(l, cfg, 0) }},
		} {
			l, err := transport.Listen(t.Context(), "127.0.0.1:0", 0)
			if err != nil {
				t.Fatal(err)
			}
			serveHTTP(t, f(c.secure(l)))
			res, err := hc.Get(c.scheme + "://" + l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || string(got) != c.want {
				t.Errorf("%s over %s: got %q, %v", name, c.scheme, got, err)
			}
		}
	}
}

func TestHTTP2IsSpokenOverTLSUnderBoundsAndSplits(t *testing.T) {
	cfg, hc := certificate(t)
	cfg.NextProtos = []string{"h2", "http/1.1"}
	transports := map[string]*http.Transport{}
	for name, h2 := range map[string]bool{"HTTP/2.0": true, "HTTP/1.1": false} {
		own, _ := hc.Transport.(*http.Transport)
		tr := own.Clone()
		tr.ForceAttemptHTTP2 = h2
		if !h2 {
			tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
		}
		transports[name] = tr
	}
	l, err := transport.Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	web, raw := transport.Split(transport.Limit(transport.TLS(l, cfg, 0), 1, 0))
	web, h2 := transport.HTTP2(web)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS != nil && r.TLS.HandshakeComplete {
				_, _ = io.WriteString(w, r.Proto)
			}
		}),
		ReadHeaderTimeout: time.Minute,
	}
	var serving sync.WaitGroup
	for _, l := range []net.Listener{web, h2} {
		serving.Go(func() { _ = srv.Serve(l) })
	}
	defer func() { _ = srv.Close(); serving.Wait() }()
	for range 3 { // there is room for one connection: those that are closed do not count
		for want, tr := range transports {
			var got []byte
			for deadline := time.Now().Add(20 * time.Second); string(got) != want && time.Now().Before(deadline); {
				res, err := (&http.Client{Transport: tr}).Get("https://" + l.Addr().String())
				if err != nil { // the one before is not closed yet
					continue
				}
				got, _ = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			tr.CloseIdleConnections()
			if string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	accepted := make(chan struct{})
	go func() {
		if c, err := raw.Accept(); err == nil {
			close(accepted) // before the client sees the end, and tries again where it does not see this
			_ = c.Close()
		}
	}()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte{transport.RawSocketMagic, 0xf1, 0, 0})
		_, _ = io.ReadAll(c) // the end, or that the one before is not closed yet
		_ = c.Close()
		select {
		case <-accepted:
			return
		default:
		}
	}
	t.Error("RawSocket does not come")
}

func TestTLSHandshakesThatDoNotEndAreCut(t *testing.T) {
	cfg, _ := certificate(t)
	l, err := transport.Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	serveHTTP(t, transport.Limit(transport.TLS(l, cfg, 50*time.Millisecond), 0, 0))
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetReadDeadline(time.Now().Add(8 * time.Second)) // less than the default
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("got %v, want the end", err)
	}
}
