package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// rawServer accepts RawSocket connections and hands them, or why they were refused, to the test.
type rawServer struct {
	net.Listener

	accepted chan accepted
}

type accepted struct {
	t   *transport.Conn
	err error
}

func serveRaw(tb testing.TB, network string, cfg transport.Config, config *tls.Config) *rawServer {
	tb.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(tb.TempDir(), "s")
	}
	l, err := new(net.ListenConfig).Listen(tb.Context(), network, address)
	if err != nil {
		tb.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	s := &rawServer{l, make(chan accepted, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			t, err := transport.AcceptRaw(nc, cfg)
			s.accepted <- accepted{t, err}
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return s
}

func (s *rawServer) accept(tb testing.TB) (*transport.Conn, error) {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a := <-s.accepted:
		if a.t != nil {
			tb.Cleanup(func() { _ = a.t.Close(0) })
		}
		return a.t, a.err
	case <-timer.C:
		tb.Fatal("nothing was accepted")
		return nil, nil
	}
}

// bytesOf connects with nothing but bytes, sends hello and returns the answer.
func (s *rawServer) bytesOf(tb testing.TB, hello string) (net.Conn, string) {
	tb.Helper()
	c, err := new(net.Dialer).DialContext(tb.Context(), s.Addr().Network(), s.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(hello)); err != nil {
		tb.Fatal(err)
	}
	answer := make([]byte, 4)
	n, _ := io.ReadFull(c, answer)
	return c, string(answer[:n])
}

// rawFrame returns a frame of a kind.
func rawFrame(kind byte, b []byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	if len(b) == 1<<24 {
		head = []byte{8, 0, 0, 0}
	}
	head[0] |= kind
	return append(head, b...)
}

func TestRawHandshakesAreAnsweredAsTheyHaveTo(t *testing.T) {
	s := serveRaw(t, "tcp", transport.Config{MaxMessage: 100_000}, nil)
	for hello, want := range map[string]string{
		"\x7f\xf1\x00\x00": "\x7f\x71\x00\x00", // 64 KiB is what fits the limit
		"\x7f\x03\x00\x00": "\x7f\x73\x00\x00",
		"\x7f\xf0\x00\x00": "\x7f\x10\x00\x00",
		"\x7f\xf4\x00\x00": "\x7f\x10\x00\x00",
		"\x7f\xff\x00\x00": "\x7f\x10\x00\x00",
		"\x7f\xf1\x01\x00": "\x7f\x30\x00\x00",
		"\x7f\xf1\x00\x01": "\x7f\x30\x00\x00",
		"GET ":             "",
	} {
		_, got := s.bytesOf(t, hello)
		if got != want {
			t.Errorf("% x: got % x, want % x", hello, got, want)
		}
		if _, err := s.accept(t); (err == nil) != (len(want) > 1 && want[1]&0x0f != 0) {
			t.Errorf("% x: %v", hello, err)
		}
	}
	slow := serveRaw(t, "tcp", transport.Config{HandshakeTimeout: 50 * time.Millisecond}, nil)
	if _, got := slow.bytesOf(t, "\x7f\xf1"); got != "" {
		t.Errorf("half a handshake was answered with % x", got)
	}
	if _, err := slow.accept(t); err == nil {
		t.Error("half a handshake was accepted")
	}
}

func TestRawRefusalReachesTheClient(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for name, answer := range map[string]string{
		"too many connections": "\x7f\x40\x00\x00", "not supported": "\x7f\x10\x00\x00", "no RawSocket handshake": "HTTP",
		"chose the serializer 3": "\x7f\xf3\x00\x00",
	} {
		go func() {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = nc.Write([]byte(answer))
			_, _ = io.Copy(io.Discard, nc)
			_ = nc.Close()
		}()
		if _, err := transport.Dial(t.Context(), "tcp://"+l.Addr().String(), transport.Config{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want it to say %q", err, name)
		}
	}
	cfg := transport.Config{HandshakeTimeout: 50 * time.Millisecond}
	if _, err := transport.Dial(t.Context(), "tcp://"+l.Addr().String(), cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestRawMessagesOfEverySizePassBothWays(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	for network, config := range map[string]*tls.Config{"tcp": nil, "unix": nil, "tls": {Certificates: web.TLS.Certificates}} {
		listenOn := map[string]string{"tcp": "tcp", "unix": "unix", "tls": "tcp"}[network]
		s := serveRaw(t, listenOn, transport.Config{}, config)
		for _, e := range encodings {
			client, err := transport.Dial(t.Context(), network+"://"+s.Addr().String(),
				transport.Config{Encodings: []wampcore.Encoding{e}, TLS: &tls.Config{RootCAs: pool}})
			if err != nil {
				t.Fatal(err)
			}
			near, err := s.accept(t)
			if err != nil || near.Encoding() != e {
				t.Fatal(near.Encoding(), err)
			}
			for _, n := range append(sizes, 1<<24-1, 1<<24) {
				if e != wampcore.JSON && n > 1<<20 {
					continue
				}
				m := event(n)
				want := encoded(e, m)
				go write(t, client, m)
				got := receive(t, near, e)
				if string(got) != string(want) {
					t.Fatalf("%s %s: %d bytes came as %d", network, e, len(want), len(got))
				}
				go write(t, near, m)
				if back := receive(t, client, e); string(back) != string(want) {
					t.Errorf("%s %s: %d bytes came back as %d", network, e, len(want), len(back))
				}
			}
			_ = client.Close(0)
		}
	}
}

func TestRawFramesComeWholeHoweverTheyWereSent(t *testing.T) {
	s := serveRaw(t, "tcp", transport.Config{}, nil)
	c, _ := s.bytesOf(t, "\x7f\xf1\x00\x00")
	near, err := s.accept(t)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var stream, pongs []byte
	want := make([]int, 0, 200)
	for range 200 {
		if random.IntN(3) == 0 { // also before the first message
			ping := bytes.Repeat([]byte{'p'}, random.IntN(3)*20_000)
			stream, pongs = append(stream, rawFrame(1, ping)...), append(pongs, rawFrame(2, ping)...)
			stream = append(stream, rawFrame(2, []byte("unasked"))...)
		}
		n := sizes[random.IntN(len(sizes))] + random.IntN(3)
		want = append(want, n)
		stream = append(stream, rawFrame(0, encoded(wampcore.JSON, event(n)))...)
	}
	answered := make(chan error, 1)
	go func() {
		got := make([]byte, len(pongs))
		_, err := io.ReadFull(c, got)
		if err == nil && !bytes.Equal(got, pongs) {
			err = errors.New("a PONG is not its PING")
		}
		answered <- err
	}()
	go func() {
		for len(stream) > 0 {
			n := min(len(stream), 1+random.IntN(100_000))
			if _, err := c.Write(stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
		}
	}()
	for i, n := range want {
		if got := len(receive(t, near, wampcore.JSON)); got != n {
			t.Fatalf("message %d has %d bytes, want %d", i, got, n)
		}
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoRawFrameEndsTheConnection(t *testing.T) {
	s := serveRaw(t, "tcp", transport.Config{MaxMessage: 1024}, nil)
	for name, sent := range map[string][]byte{
		"reserved bits":      {0x10, 0, 0, 1, 'x'},
		"a reserved type":    {3, 0, 0, 0},
		"the last type":      {7, 0, 0, 0},
		"too large":          rawFrame(0, make([]byte, 1025)),
		"a large ping":       rawFrame(1, make([]byte, 1025)),
		"2^24 and more":      {8, 0, 0, 1},
		"2^24":               {8, 0, 0, 0},
		"no message":         rawFrame(0, []byte("{}")),
		"nothing":            rawFrame(0, nil),
		"a ping to its peer": append(rawFrame(1, make([]byte, 600)), rawFrame(3, nil)...), // the peer takes 512
	} {
		c, _ := s.bytesOf(t, "\x7f\x01\x00\x00")
		near, err := s.accept(t)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		if m, err := near.Receive(); err == nil {
			t.Errorf("%s: got %T", name, m)
		}
	}
}

func TestRawMessageThatThePeerDoesNotTakeFailsItsRequest(t *testing.T) {
	s := serveRaw(t, "tcp", transport.Config{}, nil)
	client, err := transport.Dial(t.Context(), "tcp://"+s.Addr().String(), transport.Config{MaxMessage: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(0) }()
	near, err := s.accept(t)
	if err != nil {
		t.Fatal(err)
	}
	large := wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(`["` + strings.Repeat("x", 1000) + `"]`)}
	// What fails at the peer: its own request.
	write(t, near, &wampcore.Event{Subscription: 1, Publication: 1, Payload: large}) // dropped
	write(t, near, &wampcore.Result{Request: 1, Payload: large})
	write(t, near, &wampcore.ErrorMsg{RequestType: wampcore.TypeCall, Request: 2, URI: "e", Payload: large})
	for _, want := range []string{`[8,48,1,{},"wamp.error.payload_size_exceeded"]`, `[8,48,2,{},"wamp.error.payload_size_exceeded"]`} {
		if got := receive(t, client, wampcore.JSON); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	// What fails here, as if the callee had answered; the reader is waiting already.
	got := make(chan string, 1)
	go func() { got <- string(receive(t, near, wampcore.JSON)) }()
	write(t, near, &wampcore.Invocation{Request: 3, Registration: 1, Payload: large})
	if got, want := <-got, `[8,68,3,{},"wamp.error.payload_size_exceeded"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	write(t, client, event(100)) // all goes on
	receive(t, near, wampcore.JSON)
}

func TestRawInterruptedTransportSaysItsLastWord(t *testing.T) {
	s := serveRaw(t, "tcp", transport.Config{}, nil)
	whole := rawFrame(0, encoded(wampcore.JSON, event(60_000)))
	for _, n := range []int{0, 2, 100, 30_000} {
		c, _ := s.bytesOf(t, "\x7f\xf1\x00\x00")
		near, err := s.accept(t)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(whole[:n]); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := near.Receive()
			got <- err
		}()
		near.Interrupt()
		if err := <-got; !errors.Is(err, wampcore.ErrInterrupted) {
			t.Fatalf("got %v", err)
		}
		write(t, near, event(50))
		closed := make(chan struct{})
		go func() {
			_ = near.Close(patience)
			close(closed)
		}()
		if last, err := io.ReadAll(c); err != nil || string(last) != string(rawFrame(0, encoded(wampcore.JSON, event(50)))) {
			t.Errorf("got %q, %v", last, err)
		}
		_ = c.Close()
		<-closed
	}
}

func TestRawSilentPeerIsPingedAndThenCut(t *testing.T) {
	s := serveRaw(t, "tcp", transport.Config{PingInterval: 30 * time.Millisecond}, nil)
	c, _ := s.bytesOf(t, "\x7f\xf1\x00\x00")
	near, err := s.accept(t)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := near.Receive(); err == nil {
		t.Error("got a message")
	}
	if b, _ := io.ReadAll(c); string(b) != "\x01\x00\x00\x04ping" {
		t.Errorf("the peer got % x, want one ping", b)
	}
}

func TestPingsOfAPeerThatDoesNotReadDoNotPileUp(t *testing.T) {
	s := serveRaw(t, "tcp", transport.Config{WriteTimeout: 200 * time.Millisecond}, nil)
	c, _ := s.bytesOf(t, "\x7f\xf1\x00\x00")
	near, err := s.accept(t)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		ping := rawFrame(1, make([]byte, 60_000))
		for {
			if _, err := c.Write(ping); err != nil {
				return
			}
		}
	}()
	if _, err := near.Receive(); err == nil {
		t.Error("got a message")
	}
}

// Receive would wait for more behind a PING, while answers to what came before it are not flushed.
func TestRawPingAloneIsNotReady(t *testing.T) {
	s := serveRaw(t, "tcp", transport.Config{}, nil)
	c, _ := s.bytesOf(t, "\x7f\xf1\x00\x00")
	conn, err := s.accept(t)
	if err != nil {
		t.Fatal(err)
	}
	message := rawFrame(0, encoded(wampcore.JSON, event(3)))
	for name, behind := range map[string][]byte{"a ping": rawFrame(1, []byte("ping")), "a pong": rawFrame(2, nil)} {
		if _, err := c.Write(slices.Concat(message, behind)); err != nil {
			t.Fatal(err)
		}
		receive(t, conn, wampcore.JSON)
		if conn.Ready() {
			t.Errorf("%s: ready, and there is no message", name)
		}
		if _, err := c.Write(slices.Concat(message, message)); err != nil {
			t.Fatal(err)
		}
		receive(t, conn, wampcore.JSON)
		if !conn.Ready() {
			t.Errorf("%s: not ready, and there is a message", name)
		}
		receive(t, conn, wampcore.JSON)
	}
}

// FuzzRawFrames sends anything: it may end the connection, no more.
func FuzzRawFrames(f *testing.F) {
	f.Add(rawFrame(0, encoded(wampcore.JSON, event(50))))
	f.Add(append(rawFrame(1, []byte("p")), rawFrame(0, encoded(wampcore.JSON, event(50)))...))
	f.Add([]byte{8, 0, 0, 0})
	s := serveRaw(f, "tcp", transport.Config{MaxMessage: 4096}, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _ := s.bytesOf(t, "\x7f\xf1\x00\x00"+string(b))
		near, err := s.accept(t)
		if err != nil {
			t.Fatal(err)
		}
		tcp, _ := c.(*net.TCPConn)
		_ = tcp.CloseWrite()
		for {
			m, err := near.Receive()
			if err != nil {
				break
			}
			if p, ok := m.(*wampcore.Publish); ok && p.Payload.Size() > 4096 {
				t.Fatalf("got %d bytes", p.Payload.Size())
			}
		}
		_ = near.Close(0)
	})
}

func TestStallWithinALargeMessageIsGivenUpAtBothEnds(t *testing.T) {
	cfg := transport.Config{PingInterval: 50 * time.Millisecond}
	half := rawFrame(0, encoded(wampcore.JSON, event(1<<20)))[:1<<19]
	gaveUp := func(c *transport.Conn, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := c.Receive()
			_ = c.Close(0)
			done <- err
		}()
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case err := <-done:
			if err == nil {
				t.Error("half a message was taken for one")
			}
		case <-timer.C:
			t.Error("it waits on")
		}
	}
	raw := serveRaw(t, "tcp", cfg, nil)
	c, _ := raw.bytesOf(t, "\x7f\xf1\x00\x00")
	if _, err := c.Write(half); err != nil {
		t.Fatal(err)
	}
	gaveUp(raw.accept(t))

	web := serve(t, cfg)
	wc, _ := web.raw(t, nil)
	large := frame(0x81, encoded(wampcore.JSON, event(1<<20)))
	if _, err := wc.Write(large[:1<<19]); err != nil {
		t.Fatal(err)
	}
	gaveUp(web.accept(t), nil)

	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	served := make(chan struct{})
	go func() { // a router that stalls
		defer close(served)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		_, _ = io.ReadFull(nc, make([]byte, 4))
		_, _ = nc.Write(append([]byte("\x7f\xf1\x00\x00"), half...))
		_, _ = io.Copy(io.Discard, nc)
	}()
	gaveUp(transport.Dial(t.Context(), "tcp://"+l.Addr().String(), cfg))
	<-served
}
