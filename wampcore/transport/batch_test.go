package transport_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// batched connects with nothing but coder/websocket, and a batched subprotocol.
func (s *server) batched(tb testing.TB, e wampcore.Encoding) *websocket.Conn {
	tb.Helper()
	ws, _, err := websocket.Dial(tb.Context(), s.URL, //nolint:bodyclose // the connection has it
		&websocket.DialOptions{Subprotocols: []string{"wamp.2." + e.String() + ".batched"}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// pack returns messages as one batch.
func pack(e wampcore.Encoding, separator byte, ms ...[]byte) []byte {
	var b []byte
	for _, m := range ms {
		if e.Text() {
			b = append(append(b, m...), separator)
		} else {
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(m))), m...)
		}
	}
	return b
}

func kindOf(e wampcore.Encoding) websocket.MessageType {
	if e.Text() {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

func TestBatchIsTakenApartAndAnsweredAsThePeerSeparates(t *testing.T) {
	s := serve(t, transport.Config{})
	for _, e := range encodings {
		for _, separator := range []byte{0x1e, 0x18} {
			ws := s.batched(t, e)
			near := s.accept(t)
			for _, n := range []int{50, 40_000} { // in the buffer, and past it
				m := encoded(e, event(n))
				if err := ws.Write(t.Context(), kindOf(e), pack(e, separator, m, m, m)); err != nil {
					t.Fatal(err)
				}
				for i := range 3 {
					if got := receive(t, near, e); !bytes.Equal(got, m) {
						t.Errorf("%s: message %d: got %q", e, i, got)
					}
					if i < 2 && !near.Ready() {
						t.Errorf("%s: the rest of the batch is not ready", e)
					}
				}
				write(t, near, event(n), event(n))
				ws.SetReadLimit(1 << 20)
				_, got, err := ws.Read(t.Context())
				if want := pack(e, separator, m, m); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: got %d bytes, %v, want %d", e, len(got), err, len(want))
				}
			}
		}
	}
}

func TestSeparatorsMayBeMixed(t *testing.T) {
	s := serve(t, transport.Config{})
	ws := s.batched(t, wampcore.JSON)
	near := s.accept(t)
	m := encoded(wampcore.JSON, event(50))
	if err := ws.Write(t.Context(), websocket.MessageText, append(pack(wampcore.JSON, 0x18, m), pack(wampcore.JSON, 0x1e, m)...)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := receive(t, near, wampcore.JSON); !bytes.Equal(got, m) {
			t.Errorf("got %q", got)
		}
	}
}

// BenchmarkBatchOfAutobahns has a cost for each message that does not grow with the batch.
func BenchmarkBatchOfAutobahns(b *testing.B) {
	m := encoded(wampcore.JSON, event(1))
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := serve(b, transport.Config{})
			ws := s.batched(b, wampcore.JSON)
			near := s.accept(b)
			frame := bytes.Repeat(append(bytes.Clone(m), 0x18), n)
			for b.Loop() {
				if err := ws.Write(b.Context(), websocket.MessageText, frame); err != nil {
					b.Fatal(err)
				}
				for range n {
					if _, err := near.Receive(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/message")
		})
	}
}

func TestLargeBatchesAreSplit(t *testing.T) {
	s := serve(t, transport.Config{})
	ws := s.batched(t, wampcore.JSON)
	near := s.accept(t)
	ms := make([]wampcore.Message, 100)
	for i := range ms {
		ms[i] = event(10_000)
	}
	go write(t, near, ms...)
	ws.SetReadLimit(80_000)
	for count := 0; count < len(ms); {
		_, got, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		count += bytes.Count(got, []byte{0x1e})
	}
}

func TestBatchThatIsNoneIsAViolation(t *testing.T) {
	s := serve(t, transport.Config{})
	m := encoded(wampcore.CBOR, event(50))
	for name, c := range map[string]struct {
		e wampcore.Encoding
		b []byte
	}{
		"no message":           {wampcore.JSON, nil},
		"no binary message":    {wampcore.CBOR, nil},
		"an empty message":     {wampcore.JSON, []byte{0x1e}},
		"an empty binary one":  {wampcore.MessagePack, make([]byte, 4)},
		"no separator":         {wampcore.JSON, encoded(wampcore.JSON, event(50))},
		"half a length":        {wampcore.CBOR, []byte{0, 0}},
		"too long a length":    {wampcore.CBOR, append([]byte{0, 0, 0, byte(len(m) + 1)}, m...)},
		"the longest length":   {wampcore.CBOR, append([]byte{255, 255, 255, 255}, m...)},
		"a message not framed": {wampcore.CBOR, m},
	} {
		t.Run(name, func(t *testing.T) {
			ws := s.batched(t, c.e)
			near := s.accept(t)
			if err := ws.Write(t.Context(), kindOf(c.e), c.b); err != nil {
				t.Fatal(err)
			}
			if _, err := near.Receive(); err == nil {
				t.Error("got a message")
			} else if _, ok := errors.AsType[*wampcore.ProtocolError](err); !ok {
				t.Errorf("got %v, want a violation", err)
			}
		})
	}
}

func TestCompressedMessageIsBoundedAsItIsAfterwards(t *testing.T) {
	s := serve(t, transport.Config{Compression: true, MaxMessage: 10_000})
	client, err := transport.Dial(t.Context(), s.URL, transport.Config{Compression: true})
	if err != nil {
		t.Fatal(err)
	}
	near := s.accept(t)
	write(t, client, event(5_000), event(5_000_000))
	receive(t, near, wampcore.JSON)
	if _, err := near.Receive(); err == nil {
		t.Error("a message of 5 MB came through a limit of 10 kB")
	}
	_ = client.Close(0)
}

func TestWebSocketOverAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan *transport.Conn, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" || r.Host != "localhost" {
			t.Errorf("got a request for %s%s", r.Host, r.URL.Path)
		}
		if ws, err := transport.Accept(w, r, transport.Config{}); err == nil {
			accepted <- ws
		}
	}))
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	client, err := transport.Dial(t.Context(), "ws+unix://"+path+":/ws", transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	near := <-accepted
	write(t, client, event(50))
	receive(t, near, wampcore.JSON)
	_, _ = client.Close(0), near.Close(0)
}

func FuzzBatches(f *testing.F) {
	m := encoded(wampcore.CBOR, event(10))
	f.Add(true, pack(wampcore.JSON, 0x1e, encoded(wampcore.JSON, event(10))))
	f.Add(true, pack(wampcore.JSON, 0x18, encoded(wampcore.JSON, event(10))))
	f.Add(false, pack(wampcore.CBOR, 0, m, m))
	f.Add(false, []byte{255, 255, 255, 255, 0})
	s := serve(f, transport.Config{})
	f.Fuzz(func(t *testing.T, text bool, b []byte) {
		e := wampcore.CBOR
		if text {
			e = wampcore.JSON
		}
		ws := s.batched(t, e)
		near := s.accept(t)
		if err := ws.Write(t.Context(), kindOf(e), b); err != nil {
			t.Fatal(err)
		}
		for got := 0; ; got++ {
			if _, err := near.Receive(); err != nil {
				break
			}
			if !near.Ready() {
				break
			}
			if got > len(b) {
				t.Fatal("more messages than bytes")
			}
		}
		_ = near.Close(0)
		_ = ws.CloseNow()
	})
}
