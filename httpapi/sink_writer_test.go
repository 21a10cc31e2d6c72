package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
)

// overHTTP2 returns what sends requests that share a connection, without TLS.
func overHTTP2(t *testing.T, f *face) func(ctx context.Context, path string) answer {
	t.Helper()
	return toHTTP2(t, f.handler)
}

func toHTTP2(t *testing.T, h http.Handler) func(ctx context.Context, path string) answer {
	t.Helper()
	srv := newServerH2C(h)
	t.Cleanup(srv.Close)
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return func(ctx context.Context, path string) answer {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		if res.ProtoMajor != 2 {
			t.Errorf("got %s", res.Proto)
		}
		return answer{bufio.NewReaderSize(res.Body, 1<<20), res.StatusCode, res.Header}
	}
}

// streaming returns what comes of a stream behind its beginning.
func streaming(t *testing.T, res answer) *bufio.Reader {
	t.Helper()
	if res.status != http.StatusOK {
		t.Fatalf("got %d", res.status)
	}
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Referrer-Policy": "no-referrer", "Vary": "Accept"} {
		if got := res.header.Get(name); got != want {
			t.Errorf("%s: got %q", name, got)
		}
	}
	begin(t, res.Reader)
	return res.Reader
}

// ended waits until the bridge counts what it is to count.
func ended(t *testing.T, f *face, what string, is func(bridge.StreamStats) bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for !is(f.bridge.Stats().Streams) {
		select {
		case <-deadline.C:
			t.Fatalf("%s: %+v", what, f.bridge.Stats().Streams)
		case <-time.After(time.Millisecond): //nolint:forbidigo // there is nothing else to wait for
		}
	}
}

func TestStreamOverHTTP2EndsWhenItsReaderGoesAndOthersGoOn(t *testing.T) {
	f := newFace(t, quiet)
	get := overHTTP2(t, f)
	ctx, leave := context.WithCancel(t.Context())
	stays := streaming(t, get(t.Context(), "/v1/subscribe/com.example.a"))
	streaming(t, get(ctx, "/v1/subscribe/com.example.a"))
	leave()
	ended(t, f, "the reader is gone", func(s bridge.StreamStats) bool { return s.HungUp == 1 && s.Open == 1 })
	f.do(t, http.MethodPost, "/v1/publish/com.example.a", `{"args":[1]}`)
	wait(t, stays, 1)
}

func TestStreamOverHTTP2IsCutWhenItsReaderStopsAndOthersGoOn(t *testing.T) {
	f := newFace(t, quiet, largeBodies, func(c *httpapi.Config) { c.WriteTimeout = 100 * time.Millisecond })
	get := overHTTP2(t, f)
	reads := streaming(t, get(t.Context(), "/v1/subscribe/com.example.a"))
	stops := streaming(t, get(t.Context(), "/v1/subscribe/com.example.a"))
	body := `{"args":["` + strings.Repeat("x", 100<<10) + `"]}`
	for range 45 { // more than the 4 MiB that the reader's connection lets come, by less than what may wait
		f.do(t, http.MethodPost, "/v1/publish/com.example.a", body)
		wait(t, reads, 1)
	}
	ended(t, f, "the reader does not read", func(s bridge.StreamStats) bool { return s.HungUp == 1 && s.Open == 1 })
	if _, err := io.Copy(io.Discard, stops); err == nil {
		t.Error("the stopped reader was told that it has everything")
	}
	f.do(t, http.MethodPost, "/v1/publish/com.example.a", body)
	wait(t, reads, 1)
}

// TestStreamWithABodyGoesOn is of a request whose connection is not taken over, since something of it is still to come.
func TestStreamWithABodyGoesOn(t *testing.T) {
	for name, serve := range map[string]func(http.Handler) *httptest.Server{"HTTP/1.1": httptest.NewServer, "TLS": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			f := newFace(t, quiet, func(c *httpapi.Config) { c.UnreadTimeout = 50 * time.Millisecond })
			srv := serve(f.handler)
			defer srv.Close()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/v1/subscribe/com.example.a", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			in := bufio.NewReader(res.Body)
			begin(t, in)
			<-time.NewTimer(150 * time.Millisecond).C // more than the time for the body
			for range 10 {
				f.do(t, http.MethodPost, "/v1/publish/com.example.a", `{"args":[1]}`)
				wait(t, in, 1)
			}
			leave()
			ended(t, f, "the reader is gone", func(s bridge.StreamStats) bool { return s.Open == 0 })
		})
	}
}

// TestReadersThatHangUpWhileEventsAreWritten leaves nobody who writes behind the handler's end.
func TestReadersThatHangUpWhileEventsAreWritten(t *testing.T) {
	for name, serve := range map[string]func(http.Handler) *httptest.Server{"HTTP/2": newServerH2C, "TLS": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			f := newFace(t, quiet, largeBodies)
			srv := serve(f.handler)
			defer srv.Close()
			hc := srv.Client()
			if name == "HTTP/2" {
				tr := &http.Transport{Protocols: new(http.Protocols)}
				tr.Protocols.SetUnencryptedHTTP2(true)
				defer tr.CloseIdleConnections()
				hc = &http.Client{Transport: tr}
			}
			var readers, publishers sync.WaitGroup
			over := make(chan struct{})
			publishers.Go(func() {
				body := `{"args":["` + strings.Repeat("x", 3000) + `"]}`
				for {
					select {
					case <-over:
						return
					default:
						f.do(t, http.MethodPost, "/v1/publish/com.example.a", body)
					}
				}
			})
			for range 4 {
				readers.Go(func() {
					for range 50 {
						hangUpAtAnEvent(t, hc, srv.URL+"/v1/subscribe/com.example.a")
					}
				})
			}
			readers.Wait()
			close(over)
			publishers.Wait()
			ended(t, f, "all are gone", func(s bridge.StreamStats) bool { return s.Open == 0 && s.HungUp == 200 })
		})
	}
}

func hangUpAtAnEvent(t *testing.T, hc *http.Client, url string) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	res, err := hc.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	wait(t, bufio.NewReaderSize(res.Body, 1<<20), 1)
}

func TestStreamOverHTTP2HasItsLastWords(t *testing.T) {
	f := newFace(t, quiet)
	get := overHTTP2(t, f)
	streams := []*bufio.Reader{streaming(t, get(t.Context(), "/v1/subscribe/com.example.a")), streaming(t, get(t.Context(), "/v1/subscribe/com.example.b"))}
	f.do(t, http.MethodPost, "/v1/publish/com.example.a", `{"args":[1]}`)
	if err := f.bridge.Withdraw(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for i, in := range streams {
		rest, err := io.ReadAll(in)
		if err != nil || strings.Contains(string(rest), `"args":[1]`) != (i == 0) || !strings.Contains(string(rest), "event: wamp.bye\n") {
			t.Errorf("got %q, %v", rest, err)
		}
	}
}

func TestStreamOverHTTP2GoesThroughWhatIsAroundTheHandler(t *testing.T) {
	f := newFace(t, quiet)
	around := make(chan string, 1)
	compressed := middleware.Compress(5, "text/event-stream")(f.handler)
	get := toHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			around <- r.URL.Path + " " + w.Header().Get("Content-Type") + " " + w.Header().Get("Content-Encoding")
		}()
		compressed.ServeHTTP(w, r)
	}))
	in := streaming(t, get(t.Context(), "/v1/subscribe/com.example.a")) // it asks for gzip, and inflates
	f.do(t, http.MethodPost, "/v1/publish/com.example.a", `{"args":[1]}`)
	wait(t, in, 1)
	if err := f.bridge.Withdraw(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := <-around; got != "/v1/subscribe/com.example.a text/event-stream gzip" {
		t.Errorf("got %q", got)
	}
}

// broken is a writer that panics at an event.
type broken struct{ http.ResponseWriter }

func (b broken) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(`"args":[1]`)) {
		panic("broken")
	}
	return b.ResponseWriter.Write(p)
}

func (b broken) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func TestStreamOverHTTP2EndsWhenItsWriterPanics(t *testing.T) {
	f := newFace(t, quiet)
	get := toHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.handler.ServeHTTP(broken{w}, r) }))
	in := streaming(t, get(t.Context(), "/v1/subscribe/com.example.a"))
	f.do(t, http.MethodPost, "/v1/publish/com.example.a", `{"args":[1]}`)
	if _, err := io.ReadAll(in); err == nil {
		t.Error("the reader was told that it has everything")
	}
	ended(t, f, "its writer panicked", func(s bridge.StreamStats) bool { return s.HungUp == 1 && s.Open == 0 })
}

// failing panics when a stream has begun.
type failing struct{}

func (failing) Begin(r *http.Request) *http.Request { return r }

func (failing) End(_ *http.Request, answer httpapi.Answer) {
	if answer.Stream {
		panic(http.ErrAbortHandler)
	}
}

func TestStreamOverHTTP2EndsWhenItsHandlerPanics(t *testing.T) {
	f := newFace(t, quiet, func(c *httpapi.Config) { c.Observer = failing{} })
	res := overHTTP2(t, f)(t.Context(), "/v1/subscribe/com.example.a")
	if _, err := io.ReadAll(res); err == nil {
		t.Error("the reader was told that it has everything")
	}
	ended(t, f, "its handler panicked", func(s bridge.StreamStats) bool { return s.HungUp == 1 && s.Open == 0 })
	f.do(t, http.MethodPost, "/v1/publish/com.example.a", `{"args":[1]}`)
}

func TestStreamOverHTTP2IsRefusedAsAnyRequest(t *testing.T) {
	get := overHTTP2(t, newFace(t, quiet))
	for path, want := range map[string]int{
		"/v1/subscribe/a..b": http.StatusBadRequest, "/v1/subscribe/a?cursor=fin.killed": http.StatusNoContent,
		"/v1/subscribe/wamp.x?on_gap=fail&cursor=1.1": http.StatusGone, "/v1/unknown/subscribe": http.StatusNotFound,
	} {
		res := get(t.Context(), path)
		if body, err := io.ReadAll(res); res.status != want || err != nil || res.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: got %d %s, %v", path, res.status, body, err)
		}
	}
}
