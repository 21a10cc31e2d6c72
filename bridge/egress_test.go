package bridge_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wampgate/wampgate/bridge"
)

// resolver answers every question for an IPv4 address with the next of answers, the last of them for ever.
func resolver(t *testing.T, answers ...string) (*net.Resolver, *atomic.Int32) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	done := make(chan struct{})
	t.Cleanup(func() { _ = server.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(answerDNS(buf[:n], func() netip.Addr {
				i := min(int(asked.Add(1))-1, len(answers)-1)
				return netip.MustParseAddr(answers[i])
			}), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}, &asked
}

// answerDNS answers a question for A with one record, any other with none.
func answerDNS(question []byte, next func() netip.Addr) []byte {
	end := 12
	for question[end] != 0 {
		end += int(question[end]) + 1
	}
	end += 5
	out := append([]byte(nil), question[:end]...)
	binary.BigEndian.PutUint16(out[2:], 0x8180)
	binary.BigEndian.PutUint16(out[8:], 0)
	binary.BigEndian.PutUint16(out[10:], 0)
	if binary.BigEndian.Uint16(question[end-4:]) != 1 {
		return out
	}
	binary.BigEndian.PutUint16(out[6:], 1)
	out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
	return append(out, next().AsSlice()...)
}

func newEgress(t *testing.T, cfg bridge.EgressConfig) *bridge.Egress {
	t.Helper()
	e, err := bridge.NewEgress(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func fetch(t *testing.T, e *bridge.Egress, url string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := e.Do(req)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	return res.StatusCode, nil
}

func TestEgressReachesLoopbackAndConfiguredHostsOnly(t *testing.T) {
	e := newEgress(t, bridge.EgressConfig{Loopback: true, Hosts: []string{"app.example", "*.sub.example:8000", "10.1.0.0/16", "[2001:db8::1]:80"}})
	for url, ok := range map[string]bool{
		"http://localhost:9/x": true, "http://127.0.0.1": true, "http://127.9.9.9": true, "http://[::1]:7": true, "https://app.example/x?y": true,
		"http://APP.example.": true, "http://x.sub.example:8000": true, "http://10.1.2.3": true, "http://[2001:db8::1]": true,
		"http://[::ffff:127.0.0.1]": true,
		"http://x.sub.example":      false, "http://sub.example:8000": false, "http://other.example": false, "http://app.example.evil": false,
		"http://10.2.0.1": false, "http://[2001:db8::1]:81": false, "http://0.0.0.0": false, "http://169.254.169.254": false,
		"ftp://localhost": false, "file:///etc/passwd": false, "http://user:pass@localhost": false, "http://localhost/#x": false,
		"localhost:80": false, "//localhost": false, "http:///x": false, "http://2130706433": false, "http://0x7f000001": false,
	} {
		if _, err := e.Check(url); (err == nil) != ok {
			t.Errorf("%s: got %v, want allowed %t", url, err, ok)
		}
	}
	remote := newEgress(t, bridge.EgressConfig{Hosts: []string{"127.0.0.1:9000", "localhost:9001"}})
	for url, ok := range map[string]bool{
		"http://127.0.0.1:9000": true, "http://localhost:9001": true, "http://127.0.0.1:9001": false, "http://localhost:9000": false, "http://[::1]:9000": false,
	} {
		if _, err := remote.Check(url); (err == nil) != ok {
			t.Errorf("without loopback, %s: got %v, want allowed %t", url, err, ok)
		}
	}
	for _, host := range []string{"", "*", "*.", "a b", "http://x", "a*b"} {
		if _, err := bridge.NewEgress(bridge.EgressConfig{Hosts: []string{host}}); err == nil {
			t.Errorf("%q is taken for a host", host)
		}
	}
}

func TestAddressesOfMetadataAreNeverDialledWhateverIsConfigured(t *testing.T) {
	for _, ip := range []string{
		"169.254.169.254", "169.254.170.2", "[::ffff:169.254.169.254]", "[fe80::1]", "[fd00:ec2::254]", "0.0.0.0", "[::]", "[::ffff:0.0.0.0]",
		"255.255.255.255", "224.0.0.1", "100.100.100.200", "168.63.129.16", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[::a9fe:a9fe]", "[64:ff9b::7f00:1]",
	} {
		e := newEgress(t, bridge.EgressConfig{Loopback: true, Hosts: []string{"0.0.0.0/0", "::/0"}})
		if _, err := fetch(t, e, "http://"+ip+":1/latest"); !errors.Is(err, bridge.ErrEgress) {
			t.Errorf("%s: got %v, want a refusal", ip, err)
		}
	}
}

func TestNameWhoseAnswerChangesIsNotFollowedToAForbiddenAddress(t *testing.T) {
	var served atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		w.Header().Set("Connection", "close") // the next request has to ask again
	}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	dns, asked := resolver(t, "127.0.0.1", "169.254.169.254")
	e := newEgress(t, bridge.EgressConfig{Loopback: true, Hosts: []string{"app.example"}, Resolver: dns})
	url := "http://app.example:" + port + "/hook"
	if status, err := fetch(t, e, url); err != nil || status != http.StatusOK {
		t.Fatalf("got %d, %v", status, err)
	}
	if _, err := fetch(t, e, url); !errors.Is(err, bridge.ErrEgress) {
		t.Errorf("got %v, want a refusal", err)
	}
	if served.Load() != 1 || asked.Load() < 2 {
		t.Errorf("served %d, asked %d", served.Load(), asked.Load())
	}

	rebound, _ := resolver(t, "127.0.0.1")
	remote := newEgress(t, bridge.EgressConfig{Hosts: []string{"app.example"}, Resolver: rebound})
	if _, err := fetch(t, remote, url); !errors.Is(err, bridge.ErrEgress) {
		t.Errorf("a name led to this machine: %v", err)
	}
	local, _ := resolver(t, "10.0.0.1")
	mine := newEgress(t, bridge.EgressConfig{Loopback: true, Resolver: local})
	if _, err := fetch(t, mine, "http://x.localhost:"+port); !errors.Is(err, bridge.ErrEgress) {
		t.Errorf("localhost led elsewhere: %v", err)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var hits atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	e := newEgress(t, bridge.EgressConfig{Loopback: true})
	if status, err := fetch(t, e, srv.URL); status != http.StatusTemporaryRedirect || err != nil || hits.Load() != 1 {
		t.Errorf("got %d, %v after %d requests", status, err, hits.Load())
	}
}
