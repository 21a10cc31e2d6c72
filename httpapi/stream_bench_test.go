package httpapi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// listen opens a stream and returns what comes behind its beginning.
func listen(tb testing.TB, address, query string) *bufio.Reader {
	tb.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if _, err := fmt.Fprintf(c, "GET /v1/subscribe/com.example.a%s HTTP/1.1\r\nHost: localhost\r\n\r\n", query); err != nil {
		tb.Fatal(err)
	}
	in := bufio.NewReaderSize(c, 64<<10)
	begin(tb, in)
	return in
}

// begin reads what a stream begins with.
func begin(tb testing.TB, in *bufio.Reader) {
	tb.Helper()
	for line := ""; !strings.Contains(line, `"resume"`); {
		var err error
		if line, err = in.ReadString('\n'); err != nil {
			tb.Fatal(err)
		}
	}
}

// wait reads until n events have come.
func wait(tb testing.TB, in *bufio.Reader, n int) {
	tb.Helper()
	for n > 0 {
		line, err := in.ReadSlice('\n')
		if err != nil {
			tb.Error(err)
			return
		}
		if bytes.HasPrefix(line, []byte("data: {\"topic\"")) {
			n--
		}
	}
}

// BenchmarkFanOut is a publication to 200 streams over TCP, in bursts of 8. What it allocates is shared by all of them.
func BenchmarkFanOut(b *testing.B) {
	fanOut(b, httptest.NewServer, func(srv *httptest.Server, _ int) *bufio.Reader { return listen(b, srv.Listener.Addr().String(), "") })
}

// BenchmarkFanOutOverHTTP2 is the same to streams of which a hundred share a connection. What its readers allocate counts, too.
func BenchmarkFanOutOverHTTP2(b *testing.B) {
	var shared [2]http.Client
	for i := range shared {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		tr.Protocols.SetUnencryptedHTTP2(true)
		shared[i].Transport = tr
	}
	fanOut(b, newServerH2C, func(srv *httptest.Server, i int) *bufio.Reader {
		res, err := shared[i%len(shared)].Get(srv.URL + "/v1/subscribe/com.example.a")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = res.Body.Close() })
		in := bufio.NewReaderSize(res.Body, 64<<10)
		begin(b, in)
		return in
	})
}

func newServerH2C(h http.Handler) *httptest.Server {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	return srv
}

func fanOut(b *testing.B, serve func(http.Handler) *httptest.Server, open func(*httptest.Server, int) *bufio.Reader) {
	b.Helper()
	const streams, burst = 200, 8
	f := newFace(b, func(cfg *httpapi.Config) { cfg.Heartbeat = time.Hour })
	srv := serve(f.handler)
	defer srv.Close()
	defer srv.CloseClientConnections()
	readers := make([]*bufio.Reader, streams)
	for i := range readers {
		readers[i] = open(srv, i)
	}
	s, err := client.Join(b.Context(), f.router.Dial(), client.Config{Realm: "realm1"})
	if err != nil {
		b.Fatal(err)
	}
	payload := wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(`["0123456789abcdef"]`)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		for i := range burst {
			if _, err := s.Publish(b.Context(), "com.example.a", payload, wampcore.PublishOptions{Acknowledge: i == burst-1}); err != nil {
				b.Fatal(err)
			}
		}
		for _, in := range readers {
			wait(b, in, burst)
		}
		n += burst
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(n*streams), "allocs/event")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*streams), "ns/event")
}

// BenchmarkResume is a reader that has missed 10,000 events.
func BenchmarkResume(b *testing.B) {
	const missed = 10_000
	f := newFace(b, func(cfg *httpapi.Config) { cfg.Heartbeat = time.Hour })
	srv := httptest.NewServer(f.handler)
	defer srv.Close()
	s, err := client.Join(b.Context(), f.router.Dial(), client.Config{Realm: "realm1"})
	if err != nil {
		b.Fatal(err)
	}
	payload := wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(`["0123456789abcdef"]`)}
	opts := wampcore.PublishOptions{Acknowledge: true}
	first, err := s.Publish(b.Context(), "com.example.a", payload, opts)
	if err != nil {
		b.Fatal(err)
	}
	for range missed {
		if _, err := s.Publish(b.Context(), "com.example.a", payload, opts); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		wait(b, listen(b, srv.Listener.Addr().String(), "?cursor="+bridge.Cursor(first)), missed)
	}
}
