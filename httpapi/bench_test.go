package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// allocationsOfACall is what a call may allocate above a bare handler of net/http: the router and an in-process callee included.
const allocationsOfACall = 20

// poster sends the same request again and again on one connection, without allocating.
type poster struct {
	tb      testing.TB
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	buf     []byte
}

func newPoster(tb testing.TB, h http.Handler, path, body string) *poster {
	tb.Helper()
	srv := httptest.NewServer(h)
	tb.Cleanup(srv.Close)
	conn, err := new(net.Dialer).DialContext(tb.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &poster{
		tb: tb, conn: conn, in: bufio.NewReader(conn), buf: make([]byte, 64<<10),
		request: fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body),
	}
}

func (p *poster) post() {
	if _, err := p.conn.Write(p.request); err != nil {
		p.tb.Fatal(err)
	}
	length := -1
	for {
		line, err := p.in.ReadSlice('\n')
		if err != nil {
			p.tb.Fatal(err)
		}
		if len(line) == 2 {
			break
		}
		const name = "Content-Length: "
		if string(line[:min(len(line), len(name))]) == name {
			length = 0
			for _, c := range line[len(name) : len(line)-2] {
				length = 10*length + int(c-'0')
			}
		}
	}
	if length < 0 {
		p.tb.Fatal("the answer does not say how long it is")
	}
	if _, err := io.ReadFull(p.in, p.buf[:length]); err != nil {
		p.tb.Fatal(err)
	}
}

// yielder is a callee that answers with the arguments, and allocates nothing for that.
func (f *face) yielder(tb testing.TB, procedure wampcore.URI) {
	tb.Helper()
	t := f.router.Dial()
	send := func(m wampcore.Message) {
		if sent, err := t.Write([]wampcore.Message{m}); err != nil || !sent {
			tb.Errorf("sent %t, %v", sent, err)
		}
	}
	send(&wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{Roles: wampcore.NewRoles(wampcore.RoleCallee)}})
	send(&wampcore.Register{Request: 1, Procedure: procedure})
	for range 2 {
		if _, err := t.Receive(); err != nil {
			tb.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		yield := &wampcore.Yield{}
		batch := []wampcore.Message{yield}
		for {
			m, err := t.Receive()
			if err != nil {
				return
			}
			if inv, ok := m.(*wampcore.Invocation); ok {
				yield.Request, yield.Payload = inv.Request, inv.Payload
				_, _ = t.Write(batch)
			}
		}
	}()
	tb.Cleanup(func() {
		_ = t.Close(0)
		<-done
	})
}

func bare() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, b); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(b)
	})
}

// kibibyte is a body with arguments of 1 KiB.
func kibibyte() string { return `{"args":["` + strings.Repeat("x", 1<<10) + `"]}` }

// BenchmarkCallOverHTTP compares a call of a native callee with a bare handler, both over a connection of their own.
func BenchmarkCallOverHTTP(b *testing.B) {
	f := newFace(b, largeBodies, quiet)
	f.yielder(b, "com.example.p")
	for name, h := range map[string]http.Handler{"bare": bare(), "call": f.handler} {
		b.Run(name, func(b *testing.B) {
			p := newPoster(b, h, "/v1/call/com.example.p", kibibyte())
			p.post()
			b.ReportAllocs()
			for b.Loop() {
				p.post()
			}
		})
	}
}

// BenchmarkCallOverHTTPAtAThousandASecond has the same, one request a millisecond, and reports how long they take. The WebSocket of a callee of another
// process is not among it.
func BenchmarkCallOverHTTPAtAThousandASecond(b *testing.B) {
	f := newFace(b, largeBodies, quiet)
	f.yielder(b, "com.example.p")
	for name, h := range map[string]http.Handler{"bare": bare(), "call": f.handler} {
		b.Run(name, func(b *testing.B) {
			p := newPoster(b, h, "/v1/call/com.example.p", kibibyte())
			p.post()
			took := make([]time.Duration, 0, b.N)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for range b.N {
				<-tick.C
				began := time.Now()
				p.post()
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "us-median")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "us-99th")
		})
	}
}

func TestCallOverHTTPAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	f := newFace(t, largeBodies, quiet)
	f.yielder(t, "com.example.p")
	allocations := func(h http.Handler) float64 {
		p := newPoster(t, h, "/v1/call/com.example.p", kibibyte())
		return testing.AllocsPerRun(500, p.post)
	}
	base, call := allocations(bare()), allocations(f.handler)
	t.Logf("bare %.0f, call %.0f", base, call)
	if call-base > allocationsOfACall {
		t.Errorf("a call takes %.0f allocations, a bare handler %.0f; want at most %d more", call, base, allocationsOfACall)
	}
}
