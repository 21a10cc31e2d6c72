package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

var encodings = []wampcore.Encoding{wampcore.JSON, wampcore.MessagePack, wampcore.CBOR} //nolint:gochecknoglobals // a constant table

// server accepts WebSocket connections and hands them to the test.
type server struct {
	*httptest.Server

	accepted chan *transport.Conn
}

func serve(tb testing.TB, cfg transport.Config, tls ...bool) *server {
	tb.Helper()
	s := &server{accepted: make(chan *transport.Conn, 1000)}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := transport.Accept(w, r, cfg); err == nil {
			s.accepted <- ws
		}
	})
	if len(tls) > 0 {
		s.Server = httptest.NewTLSServer(handler)
	} else {
		s.Server = httptest.NewServer(handler)
	}
	tb.Cleanup(s.Close)
	return s
}

func (s *server) accept(tb testing.TB) *transport.Conn {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case ws := <-s.accepted:
		tb.Cleanup(func() { _ = ws.Close(0) })
		return ws
	case <-timer.C:
		tb.Fatal("nothing was accepted")
		return nil
	}
}

// plain connects with nothing but coder/websocket.
func (s *server) plain(tb testing.TB, e wampcore.Encoding) *websocket.Conn {
	tb.Helper()
	ws, _, err := websocket.Dial(tb.Context(), s.URL, //nolint:bodyclose // the connection has it
		&websocket.DialOptions{Subprotocols: []string{"wamp.2." + e.String()}})
	if err != nil {
		tb.Fatal(err)
	}
	ws.SetReadLimit(-1)
	tb.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

const request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n"

// raw connects with nothing but bytes: early is sent with the request, in one write. It reads the answer's head.
func (s *server) raw(tb testing.TB, early []byte) (net.Conn, *bufio.Reader) {
	tb.Helper()
	c, err := new(net.Dialer).DialContext(tb.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(append([]byte(request), early...)); err != nil {
		tb.Fatal(err)
	}
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil) //nolint:bodyclose // it has none
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		tb.Fatal(res, err)
	}
	return c, br
}

// frame returns one masked frame of a client's.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := [4]byte{0xa1, 0x02, 0xff, 0x7e}
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i&3])
	}
	return b
}

// event is a message whose encoding in JSON has n bytes.
func event(n int) wampcore.Message {
	const around = len(`[16,1,{},"t",[""]]`)
	text := strings.Repeat("x", max(0, n-around))
	return &wampcore.Publish{
		Request: 1, Topic: "t", Payload: wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(`["` + text + `"]`)},
	}
}

func encoded(e wampcore.Encoding, m wampcore.Message) []byte { return wampcore.Append(nil, e, m) }

func write(tb testing.TB, t wampcore.Transport, ms ...wampcore.Message) {
	tb.Helper()
	sent, err := t.Write(ms)
	if err == nil && !sent {
		err = t.Flush()
	}
	if err != nil {
		tb.Error(err)
	}
}

// receive returns the next message in e; what takes too long ends the transport.
func receive(tb testing.TB, t wampcore.Transport, e wampcore.Encoding) []byte {
	tb.Helper()
	timer := time.AfterFunc(patience, func() { _ = t.Close(0) })
	defer timer.Stop()
	m, err := t.Receive()
	if err != nil {
		tb.Fatal(err)
	}
	return encoded(e, m)
}

// sizes are those around which a frame's header, or how it is read, changes.
var sizes = []int{18, 124, 125, 126, 127, 8191, 8192, 8193, 16370, 16384, 16390, 65535, 65536, 70_000, 1 << 20} //nolint:gochecknoglobals // a constant table

func TestMessagesOfEverySizePassBothWays(t *testing.T) {
	kinds := map[string]transport.Config{"plain": {}, "batched": {Batched: true}, "compressed": {Compression: true}, "both": {Batched: true, Compression: true}}
	for name, cfg := range kinds {
		s := serve(t, transport.Config{Compression: cfg.Compression})
		for _, e := range encodings {
			cfg.Encodings = []wampcore.Encoding{e}
			client, err := transport.Dial(t.Context(), s.URL, cfg)
			if err != nil {
				t.Fatal(err)
			}
			near := s.accept(t)
			go func() { // an echo
				for {
					m, err := near.Receive()
					if err != nil {
						return
					}
					p, _ := m.(*wampcore.Publish)
					_, _ = near.Write([]wampcore.Message{&wampcore.Publish{Request: 1, Topic: "t", Payload: p.Payload.Clone()}})
					_ = near.Flush()
				}
			}()
			for _, n := range sizes {
				want := encoded(e, event(n))
				write(t, client, event(n), event(n))
				for range 2 {
					if got := receive(t, client, e); string(got) != string(want) {
						t.Errorf("%s %s: %d bytes came back as %d", name, e, len(want), len(got))
					}
				}
			}
			_ = client.Close(0)
		}
	}
}

func TestFramesComeWholeHoweverTheyWereSent(t *testing.T) {
	s := serve(t, transport.Config{})
	c, br := s.raw(t, frame(0x81, encoded(wampcore.JSON, event(50)))) // right behind the request
	near := s.accept(t)
	if got := receive(t, near, wampcore.JSON); len(got) != 50 {
		t.Fatalf("the early frame has %d bytes", len(got))
	}
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var stream []byte
	want := make([]int, 0, 200)
	pings := 0
	for range 200 {
		n := sizes[random.IntN(len(sizes))] + random.IntN(3)
		want = append(want, n)
		message, first := encoded(wampcore.JSON, event(n)), byte(0x01)
		for random.IntN(3) == 0 && len(message) > 1 { // some in fragments, with pings between
			cut := 1 + random.IntN(len(message)-1)
			stream = append(stream, frame(first, message[:cut])...)
			message, first = message[cut:], 0x00
			if random.IntN(2) == 0 {
				stream = append(stream, frame(0x89, []byte("ping"))...)
				pings++
			}
		}
		stream = append(stream, frame(0x80|first, message)...)
	}
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
	for range pings {
		pong := make([]byte, 6)
		if _, err := io.ReadFull(br, pong); err != nil || string(pong) != "\x8a\x04ping" {
			t.Fatalf("got % x, %v, want a pong", pong, err)
		}
	}
}

func TestManyMessagesInOneWriteAreReadyWithoutWaiting(t *testing.T) {
	s := serve(t, transport.Config{})
	c, _ := s.raw(t, nil)
	near := s.accept(t)
	stream := bytes.Repeat(frame(0x81, encoded(wampcore.JSON, event(50))), 100)
	if _, err := c.Write(stream); err != nil {
		t.Fatal(err)
	}
	receive(t, near, wampcore.JSON)
	ready := 1
	for near.Ready() {
		receive(t, near, wampcore.JSON)
		ready++
	}
	if ready < 2 {
		t.Errorf("%d messages were ready", ready)
	}
	for range 100 - ready {
		receive(t, near, wampcore.JSON)
	}
}

func TestWhatIsNoFrameEndsTheConnection(t *testing.T) {
	s := serve(t, transport.Config{MaxMessage: 1000})
	valid := frame(0x81, encoded(wampcore.JSON, event(50)))
	unmasked := append([]byte{0x81, 18}, encoded(wampcore.JSON, event(18))...)
	large := encoded(wampcore.JSON, event(5000))
	for name, c := range map[string]struct {
		sent   []byte
		status uint16 // that the peer is told; 0: any, or none
	}{
		"unmasked":            {unmasked, 0},
		"reserved bits":       {append([]byte{valid[0] | 0x40}, valid[1:]...), 1002},
		"reserved type":       {frame(0x83, nil), 1002},
		"a stray fragment":    {frame(0x80, []byte("x")), 1002},
		"a fragmented ping":   {frame(0x09, nil), 1002},
		"a long ping":         {frame(0x89, make([]byte, 200)), 1002},
		"too large":           {frame(0x81, large), 1009},
		"too large in pieces": {append(frame(0x01, large[:900]), frame(0x80, large[900:])...), 1009},
		"a length of 2^63":    {[]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1009},
		"a length of 2^62":    {[]byte{0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1009},
		"binary":              {frame(0x82, encoded(wampcore.JSON, event(50))), 0},
		"no message":          {frame(0x81, []byte("{}")), 0},
	} {
		t.Run(name, func(t *testing.T) {
			conn, br := s.raw(t, nil)
			near := s.accept(t)
			if _, err := conn.Write(c.sent); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := near.Receive()
				ended <- err
			}()
			head := make([]byte, 4)
			if c.status != 0 {
				_, err := io.ReadFull(br, head)
				if err != nil || head[0] != 0x88 || binary.BigEndian.Uint16(head[2:]) != c.status {
					t.Errorf("got % x, %v, want the status %d", head, err, c.status)
				}
				_ = conn.Close()
			}
			if <-ended == nil {
				t.Error("got a message")
			}
		})
	}
}

func TestLargeMessageThatIsOnlyAnnouncedCostsLittle(t *testing.T) {
	const size, connections = 15 << 20, 8
	s := serve(t, transport.Config{})
	raw := serveRaw(t, "tcp", transport.Config{}, nil)
	text := frame(0x81, make([]byte, size))[:500]
	for name, open := range map[string]func() (net.Conn, *transport.Conn){
		"websocket": func() (net.Conn, *transport.Conn) {
			c, _ := s.raw(t, text)
			return c, s.accept(t)
		},
		"rawsocket": func() (net.Conn, *transport.Conn) {
			c, _ := raw.bytesOf(t, "\x7f\xf1\x00\x00")
			conn, err := raw.accept(t)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(rawFrame(0, make([]byte, size))[:500])
			return c, conn
		},
	} {
		var before, after runtime.MemStats
		near, far := make([]net.Conn, connections), make([]*transport.Conn, connections)
		for i := range connections {
			near[i], far[i] = open()
		}
		runtime.ReadMemStats(&before)
		for i := range connections {
			_ = near[i].Close()
			if _, err := far[i].Receive(); err == nil {
				t.Errorf("%s: 500 bytes are a message", name)
			}
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > size {
			t.Errorf("%s: %d connections took %d bytes", name, connections, took)
		}
	}
}

func TestTextComesAsTextAndBinaryAsBinary(t *testing.T) {
	s := serve(t, transport.Config{})
	for _, e := range encodings {
		ws := s.plain(t, e)
		near := s.accept(t)
		kind := websocket.MessageBinary
		if !e.Text() {
			kind = websocket.MessageText
		}
		if err := ws.Write(t.Context(), kind, encoded(e, event(50))); err != nil {
			t.Fatal(err)
		}
		if _, err := near.Receive(); err == nil {
			t.Errorf("%s came as %v", e, kind)
		} else if _, ok := errors.AsType[*wampcore.ProtocolError](err); !ok {
			t.Errorf("%s: got %v, want a protocol violation", e, err)
		}
		write(t, near, event(50)) // the last word
		if got, b, err := ws.Read(t.Context()); err != nil || got == kind || string(b) != string(encoded(e, event(50))) {
			t.Errorf("%s: got %v %q, %v", e, got, b, err)
		}
	}
}

func TestPeerThatDoesNotReadIsGivenUpInTime(t *testing.T) {
	s := serve(t, transport.Config{WriteTimeout: 100 * time.Millisecond})
	s.raw(t, nil) // reads no more
	near := s.accept(t)
	for range 1000 {
		sent, err := near.Write([]wampcore.Message{event(1 << 20)})
		if err != nil {
			t.Fatal(err)
		}
		if sent {
			continue
		}
		began := time.Now()
		if err := near.Flush(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > patience {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		return
	}
	t.Error("the socket took a gigabyte")
}

func TestCutUnblocksFlush(t *testing.T) {
	s := serve(t, transport.Config{WriteTimeout: time.Hour})
	s.raw(t, nil)
	near := s.accept(t)
	for sent := true; sent; {
		var err error
		if sent, err = near.Write([]wampcore.Message{event(1 << 20)}); err != nil {
			t.Fatal(err)
		}
	}
	flushed := make(chan error, 1)
	go func() { flushed <- near.Flush() }()
	_ = near.Close(0)
	if err := <-flushed; err == nil {
		t.Error("Flush says that all was sent")
	}
}

func TestInterruptedTransportSaysItsLastWord(t *testing.T) {
	s := serve(t, transport.Config{})
	for name, sent := range map[string][]byte{
		"nothing":     nil,
		"half a head": frame(0x81, encoded(wampcore.JSON, event(50)))[:3],
		"half":        frame(0x81, encoded(wampcore.JSON, event(50)))[:20],
		"large half":  frame(0x81, encoded(wampcore.JSON, event(60_000)))[:30_000],
		"a fragment":  frame(0x01, encoded(wampcore.JSON, event(50))[:20]),
	} {
		t.Run(name, func(t *testing.T) {
			c, br := s.raw(t, nil)
			near := s.accept(t)
			if _, err := c.Write(sent); err != nil {
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
			if _, err := near.Receive(); !errors.Is(err, wampcore.ErrInterrupted) {
				t.Errorf("got %v the second time", err)
			}
			write(t, near, event(50))
			closed := make(chan struct{})
			go func() {
				_ = near.Close(100 * time.Millisecond)
				close(closed)
			}()
			last := make([]byte, 52)
			if _, err := io.ReadFull(br, last); err != nil || string(last[2:]) != string(encoded(wampcore.JSON, event(50))) {
				t.Errorf("got %q, %v", last, err)
			}
			<-closed
		})
	}
}

func TestCloseDeliversWhatWasFlushedThoughThePeerStillSends(t *testing.T) {
	s := serve(t, transport.Config{})
	ws := s.plain(t, wampcore.JSON)
	near := s.accept(t)
	for range 100 {
		if err := ws.Write(t.Context(), websocket.MessageText, encoded(wampcore.JSON, event(1000))); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		write(t, near, event(1000))
	}
	done := make(chan error, 1)
	go func() { done <- near.Close(patience) }()
	n := 0
	for {
		if _, _, err := ws.Read(t.Context()); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Errorf("got %v", err)
			}
			break
		}
		n++
	}
	if <-done; n != 100 {
		t.Errorf("%d of 100 messages came", n)
	}
}

func TestSilentPeerIsPingedAndThenCut(t *testing.T) {
	s := serve(t, transport.Config{PingInterval: 30 * time.Millisecond})
	_, br := s.raw(t, nil)
	near := s.accept(t)
	if _, err := near.Receive(); err == nil {
		t.Error("got a message")
	}
	if b, err := io.ReadAll(br); string(b) != "\x89\x00" {
		t.Errorf("the peer got % x, %v, want one ping", b, err)
	}
}

func TestPeerThatAnswersPingsStays(t *testing.T) {
	s := serve(t, transport.Config{PingInterval: 20 * time.Millisecond})
	c, br := s.raw(t, nil)
	near := s.accept(t)
	got := make(chan error, 1)
	go func() {
		_, err := near.Receive()
		got <- err
	}()
	for range 10 {
		ping := make([]byte, 2)
		if _, err := io.ReadFull(br, ping); err != nil || string(ping) != "\x89\x00" {
			t.Fatalf("got % x, %v, want a ping", ping, err)
		}
		if _, err := c.Write(frame(0x8a, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write(frame(0x81, encoded(wampcore.JSON, event(50)))); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the connection ended: %v", err)
	}
}

func TestTLS(t *testing.T) {
	s := serve(t, transport.Config{}, true)
	if c, err := transport.Dial(t.Context(), s.URL, transport.Config{}); err == nil {
		_ = c.Close(0)
		t.Error("an unknown certificate was taken")
	}
	c, err := transport.Dial(t.Context(), s.URL, transport.Config{HTTPClient: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	near := s.accept(t)
	for _, n := range sizes {
		write(t, c, event(n))
		receive(t, near, wampcore.JSON)
		write(t, near, event(n))
		receive(t, c, wampcore.JSON)
	}
	_ = c.Close(0)
}

func TestHandshakesThatCannotBeAreRefused(t *testing.T) {
	s := serve(t, transport.Config{Encodings: []wampcore.Encoding{wampcore.CBOR}})
	_, err := transport.Dial(t.Context(), s.URL, transport.Config{Encodings: []wampcore.Encoding{wampcore.JSON}})
	if err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("got %v", err)
	}
	mute := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := websocket.Accept(w, r, nil); err == nil { // without a subprotocol
			_ = ws.CloseNow()
		}
	}))
	defer mute.Close()
	if _, err := transport.Dial(t.Context(), mute.URL, transport.Config{}); err == nil || !strings.Contains(err.Error(), "subprotocol") {
		t.Errorf("got %v", err)
	}
	deaf, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }()
	cfg := transport.Config{HandshakeTimeout: 50 * time.Millisecond}
	if _, err := transport.Dial(t.Context(), "ws://"+deaf.Addr().String(), cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestNoFileDescriptorIsLeft(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc here")
	}
	s := serve(t, transport.Config{})
	open := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := open()
	for i := range 200 {
		c, err := transport.Dial(t.Context(), s.URL, transport.Config{})
		if err != nil {
			t.Fatal(err)
		}
		near := s.accept(t)
		write(t, c, event(50))
		receive(t, near, wampcore.JSON)
		grace := time.Duration(i%2) * patience
		closed := make(chan struct{})
		go func() {
			_ = near.Close(grace)
			close(closed)
		}()
		if _, err := c.Receive(); err == nil {
			t.Fatal("got a message")
		}
		_ = c.Close(0)
		<-closed
	}
	if after := open(); after > before+10 { // the test server's own come and go
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}

// FuzzFrames sends anything: it may end the connection, no more.
func FuzzFrames(f *testing.F) {
	message := encoded(wampcore.JSON, event(50))
	f.Add(frame(0x81, message))
	f.Add(append(frame(0x01, message[:9]), append(frame(0x89, []byte("p")), frame(0x80, message[9:])...)...))
	f.Add(frame(0x88, []byte{3, 232}))
	f.Add([]byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	s := serve(f, transport.Config{MaxMessage: 4096})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _ := s.raw(t, b)
		near := s.accept(t)
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

func BenchmarkLoopbackRoundTrip(b *testing.B) {
	for _, e := range encodings {
		for _, n := range []int{32, 64 << 10} {
			b.Run(fmt.Sprintf("%s %d B", e, n), func(b *testing.B) {
				s := serve(b, transport.Config{})
				client, err := transport.Dial(b.Context(), s.URL, transport.Config{Encodings: []wampcore.Encoding{e}})
				if err != nil {
					b.Fatal(err)
				}
				near := s.accept(b)
				go func() {
					for {
						m, err := near.Receive()
						if err != nil {
							return
						}
						if p, ok := m.(*wampcore.Publish); ok {
							_, _ = near.Write([]wampcore.Message{&wampcore.Published{Request: p.Request, Publication: 1}})
						}
					}
				}()
				m := event(n)
				b.ReportAllocs()
				for b.Loop() {
					write(b, client, m)
					if _, err := client.Receive(); err != nil {
						b.Fatal(err)
					}
				}
				_ = client.Close(0)
			})
		}
	}
}
