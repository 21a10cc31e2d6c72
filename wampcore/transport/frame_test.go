package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
)

const patience = 20 * time.Second

// listen accepts with cfg, and hands what was accepted to the test.
func listen(tb testing.TB, cfg Config) (address string, accepted <-chan *Conn) {
	tb.Helper()
	c := make(chan *Conn, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := Accept(w, r, cfg); err == nil {
			tb.Cleanup(func() { _ = ws.Close(0) })
			c <- ws
		}
	}))
	tb.Cleanup(s.Close)
	return s.Listener.Addr().String(), c
}

// connect opens a connection of nothing but bytes, and returns both its ends.
func connect(tb testing.TB, cfg Config) (net.Conn, *bufio.Reader, *Conn) {
	tb.Helper()
	address, accepted := listen(tb, cfg)
	c, err := new(net.Dialer).DialContext(tb.Context(), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n")
	br := bufio.NewReader(c)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols { //nolint:bodyclose // it has none
		tb.Fatal(res, err)
	}
	return c, br, <-accepted
}

// plainServer runs serve for each connection that coder/websocket accepts by itself. It ends with the connection.
func plainServer(tb testing.TB, e wampcore.Encoding, o websocket.AcceptOptions, serve func(ws *websocket.Conn)) string {
	tb.Helper()
	o.Subprotocols = []string{subprotocolPrefix + e.String()}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &o)
		if err != nil {
			tb.Error(err)
			return
		}
		ws.SetReadLimit(-1)
		defer func() { _ = ws.CloseNow() }()
		serve(ws)
	}))
	tb.Cleanup(s.Close)
	return s.URL
}

func dial(tb testing.TB, url string, cfg Config) *Conn {
	tb.Helper()
	c, err := Dial(tb.Context(), url, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	cut := time.AfterFunc(patience, func() { _ = c.Close(0) })
	tb.Cleanup(func() {
		cut.Stop()
		_ = c.Close(0)
	})
	return c
}

// masked returns a client's frame.
func masked(first byte, payload []byte) []byte {
	b := appendHeader(nil, 0, len(payload))
	b[0], b[1] = first, b[1]|0x80
	b = append(b, 0xa1, 0x02, 0xff, 0x7e)
	n := len(b)
	b = append(b, payload...)
	unmask(b[n:], 0x7eff02a1)
	return b
}

// publish is a message that has n bytes in JSON.
func publish(n int) wampcore.Message {
	text := strings.Repeat("x", n-len(`[16,1,{},"t",[""]]`))
	return &wampcore.Publish{Request: 1, Topic: "t", Payload: wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(`["` + text + `"]`)}}
}

func jsonOf(n int) []byte { return wampcore.Append(nil, wampcore.JSON, publish(n)) }

func send(tb testing.TB, t wampcore.Transport, ms ...wampcore.Message) {
	tb.Helper()
	sent, err := t.Write(ms)
	if err == nil && !sent {
		err = t.Flush()
	}
	if err != nil {
		tb.Error(err)
	}
}

// fillUp writes until the socket takes no more, and returns how many messages of a MiB that were.
func fillUp(tb testing.TB, t wampcore.Transport) (n int) {
	tb.Helper()
	for sent := true; sent; n++ {
		var err error
		if sent, err = t.Write([]wampcore.Message{publish(1 << 20)}); err != nil {
			tb.Fatal(err)
		}
	}
	return n
}

// eventually waits for something to come true.
func eventually(tb testing.TB, ok func() bool) bool {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func naiveUnmask(b []byte, key [4]byte) {
	for i := range b {
		b[i] ^= key[i%4]
	}
}

func FuzzUnmaskIsTheSameAsByteByByte(f *testing.F) {
	f.Add([]byte{}, uint32(1))
	for _, n := range []int{1, 7, 8, 9, 31, 32, 33, 47, 100} {
		f.Add(bytes.Repeat([]byte{0x5a}, n), uint32(0x01020384))
	}
	f.Fuzz(func(t *testing.T, b []byte, key uint32) {
		want, got := bytes.Clone(b), bytes.Clone(b)
		var k [4]byte
		binary.LittleEndian.PutUint32(k[:], key)
		naiveUnmask(want, k)
		unmask(got, key)
		if !bytes.Equal(got, want) {
			t.Errorf("got % x, want % x", got, want)
		}
	})
}

func TestOnlyWebSocketHandshakesWithAKnownSubprotocolAreTaken(t *testing.T) {
	address, _ := listen(t, Config{})
	for _, c := range []struct {
		header http.Header
		status int
		text   string
	}{
		{nil, http.StatusUpgradeRequired, "WebSocket endpoint"},
		{http.Header{"Upgrade": {"h2c"}, "Connection": {"Upgrade"}}, http.StatusUpgradeRequired, "WebSocket endpoint"},
		{http.Header{"Upgrade": {"websocket"}}, http.StatusBadRequest, "wamp.2.json, wamp.2.msgpack, wamp.2.cbor"},
		{http.Header{"Upgrade": {"websocket"}, "Sec-Websocket-Protocol": {"mqtt, wamp.2.bson"}}, http.StatusBadRequest, "supported are"},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
		if c.header != nil {
			r.Header = c.header
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != c.status || !strings.Contains(string(text), c.text) {
			t.Errorf("%v: got %s %q, want %d %q", c.header, res.Status, text, c.status, c.text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestFrameThatEndsEarlyEndsTheConnection(t *testing.T) {
	for _, size := range []int{50, 200, 5000, 70_000} {
		whole := masked(0x81, jsonOf(size))
		for _, n := range []int{1, 2, 5, 7, 13, 40, len(whole) - 1} {
			c, _, near := connect(t, Config{})
			_, _ = c.Write(whole[:n])
			_ = c.Close()
			if _, err := near.Receive(); err == nil {
				t.Errorf("%d of %d bytes are a message", n, len(whole))
			}
		}
	}
}

func TestPingIsAnsweredBetweenTheFramesOfLargeWrites(t *testing.T) {
	c, br, near := connect(t, Config{})
	go func() { _, _ = near.Receive() }()
	n := fillUp(t, near)
	flushed := make(chan error, 1)
	go func() { flushed <- near.Flush() }()
	if _, err := c.Write(masked(0x89, []byte("ping"))); err != nil {
		t.Fatal(err)
	}
	want := append(appendHeader(nil, 1, 1<<20), jsonOf(1<<20)...)
	got := make([]byte, len(want))
	for messages, ponged := 0, false; messages < n || !ponged; {
		first, err := br.Peek(1)
		if err != nil {
			t.Fatal(err)
		}
		expected := want
		if first[0] == 0x8a {
			expected, ponged = []byte("\x8a\x04ping"), true
		} else {
			messages++
		}
		if _, err := io.ReadFull(br, got[:len(expected)]); err != nil || !bytes.Equal(got[:len(expected)], expected) {
			t.Fatalf("after %d messages: a frame is broken, %v", messages, err)
		}
	}
	if err := <-flushed; err != nil {
		t.Error(err)
	}
}

func TestDialedConnectionCarriesEverySizeToAPlainServer(t *testing.T) {
	for e := wampcore.JSON; e <= wampcore.CBOR; e++ {
		url := plainServer(t, e, websocket.AcceptOptions{}, func(ws *websocket.Conn) {
			for { // an echo
				kind, b, err := ws.Read(context.Background())
				if err != nil || ws.Write(context.Background(), kind, b) != nil {
					return
				}
			}
		})
		client := dial(t, url, Config{Encodings: []wampcore.Encoding{e}})
		sizes := []int{20, 124, 125, 126, 127, 128, 65_535, 65_536, 300 << 10, 5 << 20}
		ms := make([]wampcore.Message, len(sizes))
		for i, n := range sizes {
			ms[i] = publish(n)
		}
		go send(t, client, ms...) // all of them in one write
		for _, m := range ms {
			got, err := client.Receive()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := wampcore.Append(nil, e, got), wampcore.Append(nil, e, m); !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes came back as %d", e, len(want), len(got))
			}
		}
		_ = client.Close(patience)
	}
}

func TestInterruptedConnectionsSayGoodbyeAsWebSocketHasIt(t *testing.T) {
	last := string(jsonOf(50))
	farOf := func(ws *websocket.Conn) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, b, err := ws.Read(ctx); err != nil || string(b) != last {
			return errors.Join(errors.New("the last word is "+string(b)), err)
		}
		if _, _, err := ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			return err
		}
		return nil
	}
	for name, both := range map[string]func() (near *Conn, far <-chan error){
		"accepted": func() (*Conn, <-chan error) {
			address, accepted := listen(t, Config{})
			ws, _, err := websocket.Dial(t.Context(), "ws://"+address, &websocket.DialOptions{Subprotocols: []string{"wamp.2.json"}}) //nolint:bodyclose // the connection has it
			if err != nil {
				t.Fatal(err)
			}
			far := make(chan error, 1)
			go func() { far <- farOf(ws) }()
			return <-accepted, far
		},
		"dialed": func() (*Conn, <-chan error) {
			far := make(chan error, 1)
			url := plainServer(t, wampcore.JSON, websocket.AcceptOptions{}, func(ws *websocket.Conn) { far <- farOf(ws) })
			return dial(t, url, Config{}), far
		},
	} {
		near, far := both()
		received := make(chan error, 1)
		go func() {
			_, err := near.Receive()
			received <- err
		}()
		near.Interrupt()
		if err := <-received; !errors.Is(err, wampcore.ErrInterrupted) {
			t.Errorf("%s: got %v", name, err)
		}
		send(t, near, publish(50))
		if err := near.Close(patience); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		if err := <-far; err != nil {
			t.Errorf("%s: the peer got %v", name, err)
		}
	}
}

func TestDialedConnectionGivesUpAServerThatDoesNotRead(t *testing.T) {
	stop := make(chan struct{})
	url := plainServer(t, wampcore.JSON, websocket.AcceptOptions{}, func(*websocket.Conn) { <-stop })
	defer close(stop)
	for name, c := range map[string]struct {
		cfg  Config
		want error
		act  func(*Conn)
	}{
		"in time":    {Config{WriteTimeout: 100 * time.Millisecond}, os.ErrDeadlineExceeded, func(*Conn) {}},
		"when cut":   {Config{}, net.ErrClosed, func(c *Conn) { time.AfterFunc(50*time.Millisecond, func() { _ = c.Close(0) }) }},
		"by silence": {Config{PingInterval: 50 * time.Millisecond}, net.ErrClosed, func(*Conn) {}},
	} {
		client := dial(t, url, c.cfg)
		c.act(client)
		var err error
		for err == nil {
			_, _ = client.Write([]wampcore.Message{publish(1 << 20)})
			err = client.Flush()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestWriteTimeoutOfAFlushEndsWithIt(t *testing.T) {
	cfg := Config{WriteTimeout: 300 * time.Millisecond, PingInterval: -1}
	c, br, near := connect(t, cfg)
	n := fillUp(t, near)
	drained := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, br, int64(n*(10+1<<20)))
		drained <- err
	}()
	if err := errors.Join(near.Flush(), <-drained); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(2 * cfg.WriteTimeout)) // nothing comes for a while
	if _, err := br.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := near.Write([]wampcore.Message{publish(50)}); err != nil {
		t.Errorf("a later write: %v", err)
	}
}

func TestDialedConnectionIsPingedAlsoLongAfterAFlush(t *testing.T) {
	pinged, done := make(chan struct{}), make(chan struct{})
	defer close(done)
	o := websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool {
		select {
		case pinged <- struct{}{}:
		case <-done:
		}
		return true
	}}
	url := plainServer(t, wampcore.JSON, o, func(ws *websocket.Conn) {
		for err := error(nil); err == nil; _, _, err = ws.Read(context.Background()) {
		}
	})
	client := dial(t, url, Config{WriteTimeout: 100 * time.Millisecond, PingInterval: 100 * time.Millisecond})
	send(t, client, publish(50))
	ended := make(chan error, 1)
	go func() {
		_, err := client.Receive()
		ended <- err
	}()
	for i := range 5 {
		select {
		case <-pinged:
		case err := <-ended:
			t.Fatalf("after %d pings: %v", i, err)
		}
	}
}

func TestRefusedDialLeavesNoConnection(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc here")
	}
	address, _ := listen(t, Config{Encodings: []wampcore.Encoding{wampcore.CBOR}})
	open := func() int {
		all, _ := os.ReadDir("/proc/self/fd")
		return len(all)
	}
	before := open()
	for range 20 {
		if _, err := Dial(t.Context(), "ws://"+address, Config{Encodings: []wampcore.Encoding{wampcore.JSON}}); err == nil {
			t.Fatal("not refused")
		}
	}
	if !eventually(t, func() bool { return open() <= before+10 }) {
		t.Errorf("%d file descriptors before, %d after", before, open())
	}
}

func TestDialUsesTheTLSDialerOfTheHTTPClient(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := Accept(w, r, Config{}); err == nil {
			t.Cleanup(func() { _ = ws.Close(0) })
		}
	}))
	t.Cleanup(s.Close)
	defer func() {
		if p := recover(); p != nil {
			t.Error("panic:", p)
		}
	}()
	base, _ := s.Client().Transport.(*http.Transport)
	own := &http.Transport{DialTLSContext: (&tls.Dialer{Config: base.TLSClientConfig}).DialContext}
	c, err := Dial(t.Context(), s.URL, Config{HTTPClient: &http.Client{Transport: own}})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close(0)
}

func TestInterruptDoesNotCutAClosingConnection(t *testing.T) {
	c, br, near := connect(t, Config{})
	closed := make(chan error, 1)
	go func() { closed <- near.Close(patience) }()
	if _, err := io.ReadFull(br, make([]byte, 4)); err != nil { // it waits for the answer now
		t.Fatal(err)
	}
	near.Interrupt()
	_, _ = c.Write(masked(0x88, []byte{3, 232}))
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestConnectionInterruptedInAFrameIsClosedInOrder(t *testing.T) {
	for name, frame := range map[string][]byte{
		"short":      masked(0x81, jsonOf(50)),
		"longer":     masked(0x81, jsonOf(8000)),
		"large":      masked(0x81, jsonOf(60_000)),
		"a fragment": masked(0x01, jsonOf(5000)),
	} {
		t.Run(name, func(t *testing.T) {
			c, br, near := connect(t, Config{})
			_, _ = c.Write(frame[:len(frame)/2])
			received := make(chan error, 1)
			go func() {
				_, err := near.Receive()
				received <- err
			}()
			s, _ := near.Transport.(*server)
			if !eventually(t, s.conn.heard.Load) {
				t.Fatal("nothing came")
			}
			near.Interrupt()
			if err := <-received; !errors.Is(err, wampcore.ErrInterrupted) {
				t.Fatal(err)
			}
			send(t, near, publish(50))
			closed := make(chan error, 1)
			go func() { closed <- near.Close(patience) }()
			last := make([]byte, 52+4)
			if _, err := io.ReadFull(br, last); err != nil || string(last[2:52]) != string(jsonOf(50)) {
				t.Fatalf("got %q, %v", last, err)
			}
			_, _ = c.Write(append(frame[len(frame)/2:], masked(0x88, last[54:])...)) // the rest, and the answer
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
				t.Errorf("then came %q, %v, want the end", rest, err)
			}
			_ = c.Close()
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPingsOfAPeerThatDoesNotReadCostNoGoroutineEach(t *testing.T) {
	c, _, near := connect(t, Config{})
	much := make([]wampcore.Message, 32)
	for i := range much {
		much[i] = publish(1 << 20)
	}
	if sent, err := near.Write(much); sent || err != nil {
		t.Fatal("the socket took it all", err)
	}
	flushed := make(chan error, 1)
	go func() { flushed <- near.Flush() }()
	s, _ := near.Transport.(*server)
	flushing := func() bool {
		s.conn.mu.Lock()
		defer s.conn.mu.Unlock()
		return s.conn.flushing
	}
	if !eventually(t, flushing) {
		t.Fatal("nothing is flushed")
	}
	before := runtime.NumGoroutine()
	received := make(chan error, 1)
	go func() {
		_, err := near.Receive()
		received <- err
	}()
	const pings = 1000
	_, _ = c.Write(append(bytes.Repeat(masked(0x89, nil), pings), masked(0x81, jsonOf(50))...))
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	if n := runtime.NumGoroutine() - before; n > pings/10 {
		t.Errorf("%d pings made %d goroutines", pings, n)
	}
	_ = near.Close(0)
	<-flushed
}

func TestTooLargeMessageEndsTheConnectionThoughThePeerGoesOn(t *testing.T) {
	c, _, near := connect(t, Config{MaxMessage: 1000, WriteTimeout: 100 * time.Millisecond})
	_, _ = c.Write([]byte{0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4})
	done := make(chan struct{})
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for _, err := c.Write([]byte{'x'}); err == nil; _, err = c.Write([]byte{'x'}) {
			<-tick.C
		}
	}()
	go func() {
		defer close(done)
		if _, err := near.Receive(); err == nil {
			t.Error("got a message")
		}
	}()
	if !eventually(t, func() bool { return isClosed(done) }) {
		t.Error("Receive goes on for as long as bytes come")
	}
	_ = near.Close(0)
	_ = c.Close()
	<-done
	<-sending
}

func TestCutDialedConnectionLeavesNoKeepalive(t *testing.T) {
	pinged := make(chan struct{}, 10)
	o := websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool {
		pinged <- struct{}{}
		return false // no answer
	}}
	url := plainServer(t, wampcore.JSON, o, func(ws *websocket.Conn) { _, _, _ = ws.Read(context.Background()) })
	near := dial(t, url, Config{PingInterval: 4 * time.Second})
	ended := make(chan struct{})
	go func() {
		c, _ := near.Transport.(*plain)
		c.keepalive() // what the timer does
		close(ended)
	}()
	<-pinged
	_ = near.Close(0)
	if !eventually(t, func() bool { return isClosed(ended) }) {
		t.Error("it waits for the answer to its ping though the connection is cut")
	}
	<-ended
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func BenchmarkReceive64KiB(b *testing.B) {
	c, _, near := connect(b, Config{})
	_ = c.SetDeadline(time.Time{})
	batch := bytes.Repeat(masked(0x81, jsonOf(64<<10)), 16)
	go func() {
		for _, err := c.Write(batch); err == nil; _, err = c.Write(batch) {
		}
	}()
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := near.Receive(); err != nil {
			b.Fatal(err)
		}
	}
	_ = near.Close(0)
}
