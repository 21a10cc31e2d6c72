package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// upgrade asks for a WebSocket.
const upgrade = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n"

// drag is a connection that does not get on: it sends what is first, and then what drips, again and again, an octet at a
// time.
type drag struct {
	dial        func() (net.Conn, error)
	first, drip string
}

// endurance is how long a drag goes on where nobody cuts it.
const endurance = 15 * time.Second

// last returns how long it took until the other side had enough.
func (d drag) last(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	c, err := d.dial()
	if err != nil {
		if time.Since(began) > 3*endurance/4 || errors.Is(err, syscall.ECONNREFUSED) {
			return 0, err
		}
		return time.Since(began), nil // TLS's handshake took so long that it was cut itself
	}
	defer c.Close()
	_ = c.SetDeadline(began.Add(endurance))
	var dripping sync.WaitGroup
	defer dripping.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dripping.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		_, err := io.WriteString(c, d.first)
		for i := 0; err == nil && d.drip != ""; i++ {
			select {
			case <-tick.C:
				_, err = c.Write([]byte{d.drip[i%len(d.drip)]})
			case <-ctx.Done():
				return
			}
		}
	})
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		return time.Since(began), err
	}
	return time.Since(began), nil // with a reset, or without
}

// areCut checks that all drags, each several times, are cut by a gateway that serves others meanwhile, but not before their time.
func areCut(t *testing.T, timeout time.Duration, at listener, drags map[string]drag) {
	t.Helper()
	var dragging sync.WaitGroup
	for name, d := range drags {
		for range 3 {
			dragging.Go(func() {
				if took, err := d.last(t.Context()); err != nil || took < timeout {
					t.Errorf("%s: cut after %s, %v", name, took, err)
				}
			})
		}
	}
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		dragging.Wait()
	}()
	defer func() { <-cut }()
	caller := sessionAt(t, at.WebSocket, transport.Config{})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_ = count(t, caller)
		s, err := joinAt(t.Context(), at.RawSocket, transport.Config{})
		if err != nil {
			t.Errorf("a new session meanwhile: %v", err)
			return
		}
		_ = s.Close(t.Context())
		if body, status := curl(t, "-X", "POST", at.HTTP+"/v1/call/wamp.session.count"); status != "200" {
			t.Errorf("a call meanwhile: %s %s", status, body)
		}
		select {
		case <-cut:
			return
		case <-tick.C:
		}
	}
}

func TestHandshakesThatDragOnAreCut(t *testing.T) {
	const timeout = time.Second
	ca := newAuthority(t)
	env := ca.newPair().env("WAMPGATE_HELLO_TIMEOUT="+timeout.String(), "WAMPGATE_IDLE_TIMEOUT="+timeout.String())
	_, at := serve(t, 2, env...)
	plain := func() (net.Conn, error) { return net.Dial("tcp", at[0].host()) }
	bare := func() (net.Conn, error) { return net.Dial("tcp", at[1].host()) }
	secure := func() (net.Conn, error) { return tls.Dial("tcp", at[1].host(), ca.trust().TLS) }
	areCut(t, timeout, at[0], map[string]drag{
		"nothing":                          {plain, "", ""},
		"headers without end":              {plain, "GET /livez HTTP/1.1\r\nHost: localhost\r\n", "X-A: b\r\n"},
		"headers without end over TLS":     {secure, "GET /livez HTTP/1.1\r\nHost: localhost\r\n", "X-A: b\r\n"},
		"headers of a second request":      {plain, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTTP/1.1\r\n", "X-A: b\r\n"},
		"no second request":                {plain, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", ""},
		"one octet of RawSocket":           {plain, "\x7f", ""},
		"half a RawSocket hello":           {plain, "\x7f\xf1", ""},
		"half a RawSocket hello over TLS":  {secure, "\x7f\xf1", ""},
		"RawSocket without HELLO":          {plain, "\x7f\xf1\x00\x00", ""},
		"RawSocket with half a HELLO":      {plain, "\x7f\xf1\x00\x00\x00\x10\x00\x00[", " "},
		"RawSocket that pings":             {plain, "\x7f\xf1\x00\x00", "\x01\x00\x00\x00"},
		"WebSocket without HELLO":          {plain, upgrade, ""},
		"WebSocket without HELLO over TLS": {secure, upgrade, ""},
		"WebSocket with half a HELLO":      {plain, upgrade + "\x81\xfe\x10\x00\x00\x00\x00\x00[", " "},
		"WebSocket with a HELLO in pieces": {plain, upgrade + "\x01\x81\x00\x00\x00\x00[", "\x00\x81\x00\x00\x00\x00 "},
		"WebSocket that pings":             {plain, upgrade, "\x89\x80\x00\x00\x00\x00"},
		"nothing where TLS is spoken":      {bare, "", ""},
		"half a ClientHello":               {bare, "\x16\x03\x01\x20\x00\x01", "\x00"},
		"TLS and then nothing":             {secure, "", ""},
	})
}

func TestBodiesThatDoNotComeAreCut(t *testing.T) {
	const timeout = time.Second
	_, at := serve(t, 1, "WAMPGATE_HELLO_TIMEOUT="+timeout.String())
	dial := func() (net.Conn, error) { return net.Dial("tcp", at[0].host()) }
	drags := map[string]drag{
		"that is read": {dial, "POST /longpoll/open HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n", " "},
		"of a WebSocket": {
			dial, strings.Replace(upgrade, "\r\n\r\n", "\r\nContent-Length: 4000\r\n\r\n", 1), "",
		},
	}
	for name, request := range map[string]string{ // nobody reads them
		"of a probe":           "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n",
		"of a probe, in parts": "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
		"to nowhere":           "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n",
		"to another host":      "POST /v1/call/p HTTP/1.1\r\nHost: elsewhere.example\r\nContent-Length: 4000\r\n\r\n",
		"to no transport":      "POST /longpoll/x/receive HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n",
	} {
		drags[name] = drag{dial, request, ""}
	}
	areCut(t, timeout, at[0], drags)
}

// relay is a network between clients and the gateway, which can be cut so that neither side notices.
type relay struct {
	net.Listener

	cut  chan struct{} // closed: nothing is passed on
	done chan struct{} // closed by end
	work sync.WaitGroup
}

func newRelay(tb testing.TB, to string) *relay {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &relay{Listener: l, cut: make(chan struct{}), done: make(chan struct{})}
	r.work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			r.work.Go(func() { r.pass(near, far) })
			r.work.Go(func() { r.pass(far, near) })
			r.work.Go(func() {
				<-r.done
				_ = near.Close()
				_ = far.Close()
			})
		}
	})
	return r
}

// end closes all connections.
func (r *relay) end() {
	close(r.done)
	_ = r.Close()
	r.work.Wait()
}

func (r *relay) pass(from, to net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		select {
		case <-r.cut:
			return // and nothing is closed
		default:
		}
		if err == nil {
			_, err = to.Write(b[:n])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

func TestPeersThatVanishAreCutByPings(t *testing.T) {
	for _, compression := range []string{"false", "true"} {
		t.Run("compression="+compression, func(t *testing.T) {
			ca := newAuthority(t)
			env := ca.newPair().env("WAMPGATE_PING_INTERVAL=300ms", "WAMPGATE_COMPRESSION="+compression)
			_, at := serve(t, 2, env...)
			plain, secure := newRelay(t, at[0].host()), newRelay(t, at[1].host())
			defer plain.end() // before the sessions say goodbye
			defer secure.end()
			cfg := ca.trust()
			cfg.PingInterval = -1 // the gateway has to find out, not we
			cfg.Compression = true
			var vanishing, silent []*client.Session
			for range 3 {
				for _, relayed := range []bool{true, false} {
					for i, address := range []string{at[0].WebSocket, at[0].RawSocket, at[1].WebSocket, at[1].RawSocket} {
						l, r := at[i/2], []*relay{plain, secure}[i/2]
						if relayed {
							address = strings.Replace(address, l.host(), r.Addr().String(), 1)
							vanishing = append(vanishing, sessionAt(t, address, cfg))
						} else {
							silent = append(silent, sessionAt(t, address, cfg))
						}
					}
				}
			}
			observer := sessionAt(t, at[0].WebSocket, transport.Config{})
			if got, want := count(t, observer), len(vanishing)+len(silent)+1; got != want {
				t.Fatalf("there are %d sessions, want %d", got, want)
			}
			close(plain.cut)
			close(secure.cut)
			waitFor(t, func() bool { return count(t, observer) <= len(silent)+1 })
			for _, s := range silent { // they said nothing either, but answered the pings
				if err := s.Err(); err != nil {
					t.Errorf("who was only silent was cut: %v", err)
				}
				_ = count(t, s)
			}
		})
	}
}

func TestAutobahnThatIsSilentAnswersPings(t *testing.T) {
	for name, start := range map[string]func(testing.TB, listener) *process{
		"javascript": func(tb testing.TB, at listener) *process {
			tb.Helper()
			return node(tb, "ways_autobahn.js", "websocket", at.WebSocket, "json")
		},
		"javascript by RawSocket": func(tb testing.TB, at listener) *process {
			tb.Helper()
			return rawAutobahn(tb, at.RawSocket, "json")
		},
		"python": func(tb testing.TB, at listener) *process {
			tb.Helper()
			return component(tb, at.WebSocket, "json")
		},
		"python by RawSocket": func(tb testing.TB, at listener) *process {
			tb.Helper()
			return component(tb, at.RawSocket, "json")
		},
	} {
		t.Run(name, func(t *testing.T) {
			const ping = 100 * time.Millisecond
			_, at := serve(t, 1, "WAMPGATE_PING_INTERVAL="+ping.String())
			observer := sessionAt(t, at[0].WebSocket, transport.Config{})
			_ = works(t, at[0].HTTP, func() *process { return start(t, at[0]) })
			sessions := count(t, observer)
			began := time.Now()
			waitFor(t, func() bool { // long enough for it to be cut
				if got := count(t, observer); got != sessions {
					t.Fatalf("there are %d sessions after %s, want %d", got, time.Since(began), sessions)
				}
				return time.Since(began) > 6*ping
			})
			if body, status := post(t, at[0].HTTP+"/v1/call/com.example.add", `{"args":[2,3]}`); status != "200" {
				t.Errorf("it is gone: %s %s", status, body)
			}
		})
	}
}

// descriptors is how many files and sockets a process has open.
func descriptors(tb testing.TB, p *process) int {
	tb.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		tb.Skip("there is no /proc here")
	}
	return len(open)
}

// goroutines ends a gateway and returns how many goroutines it had.
func goroutines(tb testing.TB, p *process) int {
	tb.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for n := 0; ; {
		select {
		case line, ok := <-p.lines:
			if !ok {
				return n
			}
			if strings.HasPrefix(line, "goroutine ") {
				n++
			}
		case <-timeout.C:
			tb.Fatalf("%s does not end", p.name)
		}
	}
}

// flood connects and disconnects in one of many ways.
func flood(ctx context.Context, i int, at listener) error {
	hello := &wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{Roles: allFeatures()}}
	url := at.RawSocket
	switch i % 10 {
	case 0, 1, 2: // nothing, half a request, half a hello
		c, err := net.Dial("tcp", at.host())
		if err != nil {
			return err
		}
		_, _ = io.WriteString(c, []string{"", "GET /li", "\x7f\xf1"}[i%10])
		if tcp, ok := c.(*net.TCPConn); ok && i%20 < 10 {
			_ = tcp.SetLinger(0) // a reset
		}
		return c.Close()
	case 3, 4, 5:
		url = at.WebSocket
	}
	t, err := transport.Dial(ctx, url, transport.Config{})
	if err != nil {
		return err
	}
	if i%2 == 0 { // the others leave before they have joined
		if _, err := t.Write([]wampcore.Message{hello}); err != nil {
			return err
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if m, err := t.Receive(); err != nil || m.Type() != wampcore.TypeWelcome {
			return fmt.Errorf("got %T, %w", m, err)
		}
	}
	return t.Close(0)
}

func TestTenThousandConnectionsLeaveNothingBehind(t *testing.T) {
	const connections, atOnce = 10_000, 50
	gw, at := serve(t, 1, "WAMPGATE_HELLO_TIMEOUT=2s")
	fresh, other := serve(t, 1, "WAMPGATE_HELLO_TIMEOUT=2s")
	observer := sessionAt(t, at[0].RawSocket, transport.Config{})
	_ = sessionAt(t, other[0].RawSocket, transport.Config{})
	all := func(n int) {
		var next atomic.Int64
		var flooding sync.WaitGroup
		for range atOnce {
			flooding.Go(func() {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					if err := flood(t.Context(), int(i), at[0]); err != nil {
						t.Errorf("connection %d: %v", i, err)
						return
					}
				}
			})
		}
		flooding.Wait()
		waitFor(t, func() bool { return count(t, observer) == 1 })
	}
	before := descriptors(t, gw)
	all(connections / 2)
	waitFor(t, func() bool { return descriptors(t, gw) <= before })
	resident := residentMiB(t, gw) // the race detector's memory is as large as it gets
	all(connections / 2)
	waitFor(t, func() bool { return descriptors(t, gw) <= before })
	if grown := residentMiB(t, gw) - resident; grown > 64 {
		t.Errorf("the gateway grew by %d MiB", grown)
	}
	if _, status := curl(t, at[0].HTTP+"/readyz"); status != "200" {
		t.Errorf("it is not ready any more: %s", status)
	}
	idle := goroutines(t, fresh)
	if got := goroutines(t, gw); idle == 0 || got > idle+3 {
		t.Errorf("it has %d goroutines, and one that is fresh %d", got, idle)
	}
}

func TestRefusedFloodLeavesRoomForThoseWhoCameBefore(t *testing.T) {
	const bound, flooders = 10, 200
	gw, at := serve(t, 1, fmt.Sprintf("WAMPGATE_MAX_CONNECTIONS=%d", bound), "WAMPGATE_HELLO_TIMEOUT=2s")
	inside := make([]*client.Session, 0, bound)
	for range bound {
		inside = append(inside, sessionAt(t, at[0].RawSocket, transport.Config{}))
	}
	before := descriptors(t, gw)
	outside := make([]net.Conn, 0, flooders)
	for range flooders { // of whom only some are answered, and none is kept
		c, err := net.Dial("tcp", at[0].host())
		if err != nil {
			t.Fatal(err)
		}
		outside = append(outside, c)
		_ = count(t, inside[len(outside)%bound])
	}
	for i, c := range outside {
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && res.StatusCode != http.StatusServiceUnavailable || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d: %v, %v", i, res, err)
		}
		if err == nil {
			_ = res.Body.Close()
		}
		_ = c.Close()
	}
	waitFor(t, func() bool { return descriptors(t, gw) <= before })
	_ = inside[0].Close(t.Context())
	waitFor(t, func() bool {
		s, err := joinAt(t.Context(), at[0].WebSocket, transport.Config{})
		if err == nil {
			_ = s.Close(t.Context())
		}
		return err == nil
	})
}
