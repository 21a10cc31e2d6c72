package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// expectTooMany wants a 429 with everything that belongs to one.
func expectTooMany(t *testing.T, f *face, rec *httptest.ResponseRecorder, reason string) {
	t.Helper()
	seconds, err := strconv.Atoi(rec.Header().Get("Retry-After"))
	if rec.Code != http.StatusTooManyRequests || err != nil || seconds < 1 || !strings.Contains(rec.Body.String(), `"retriable":true,"outcome":"not_executed"`) {
		t.Errorf("got %d %v %s, want 429", rec.Code, rec.Header(), rec.Body)
	}
	if f.handler.Stats().Refused[reason] == 0 {
		t.Errorf("nothing is counted under %s: %v", reason, f.handler.Stats().Refused)
	}
}

func TestRateOfAPrincipalIsBounded(t *testing.T) {
	f := newFace(t, known, func(cfg *httpapi.Config) {
		cfg.Limits.Roles = map[string]httpapi.Limit{"user": {Rate: 0.001, Burst: 3}, "anonymous": {Rate: 0.001, Burst: 1}}
		cfg.Limits.Principals = map[string]httpapi.Limit{"root": {Rate: -1}}
	})
	ask := func(header ...string) *httptest.ResponseRecorder {
		return f.do(t, http.MethodGet, "/v1/sessions", "", header...)
	}
	for i := range 3 {
		if rec := ask(as("joe")...); rec.Code != http.StatusOK {
			t.Fatalf("request %d: got %d", i+1, rec.Code)
		}
	}
	expectTooMany(t, f, ask(as("joe")...), "rate")
	if rec := ask(); rec.Code != http.StatusOK {
		t.Errorf("another is refused, too: %d", rec.Code)
	}
	expectTooMany(t, f, ask(), "rate")
	for range 20 {
		if rec := ask(as("root")...); rec.Code != http.StatusOK {
			t.Fatalf("without a bound: got %d", rec.Code)
		}
	}
}

func TestBatchCountsAsManyRequestsAsItHas(t *testing.T) {
	f := newFace(t, known, func(cfg *httpapi.Config) { cfg.Limits.Default = httpapi.Limit{Rate: 0.001, Burst: 5} })
	body := `[{"procedure":"a"},{"procedure":"b"},{"procedure":"c"}]`
	if rec := f.do(t, http.MethodPost, "/v1/call", body, as("joe")...); rec.Code != http.StatusOK {
		t.Fatalf("got %d %s", rec.Code, rec.Body)
	}
	expectTooMany(t, f, f.do(t, http.MethodPost, "/v1/call", body, as("joe")...), "rate")
}

func TestBodyIsBoundedByRole(t *testing.T) {
	f := newFace(t, known, func(cfg *httpapi.Config) {
		cfg.Limits.Roles = map[string]httpapi.Limit{"user": {Body: 20}, "admin": {Body: 1 << 20}}
	})
	f.register(t, "p", func(context.Context, *client.Invocation) (wampcore.Payload, error) { return wampcore.Payload{}, nil })
	long := `{"args":["` + strings.Repeat("x", 2000) + `"]}`
	for _, c := range []struct {
		body string
		who  []string
		want int
	}{
		{`{"args":["123456"]}`, as("joe"), 200},
		{`{"args":["12345678901"]}`, as("joe"), 413},
		{long, nil, 413},
		{long, as("root"), 200},
	} {
		if rec := f.do(t, http.MethodPost, "/v1/call/p", c.body, c.who...); rec.Code != c.want {
			t.Errorf("%d bytes of %v: got %d, want %d", len(c.body), c.who, rec.Code, c.want)
		}
	}
	if n := f.handler.Stats().Refused["body"]; n != 2 {
		t.Errorf("%d are counted, want 2", n)
	}
}

func TestOpenCallsAreBounded(t *testing.T) {
	f := newFace(t, known, func(cfg *httpapi.Config) { cfg.Limits.Default.Calls = 2 })
	started, release := make(chan struct{}, 2), make(chan struct{})
	f.register(t, "slow", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		started <- struct{}{}
		<-release
		return wampcore.Payload{}, nil
	})
	done := make(chan int, 2)
	for range 2 {
		go func() { done <- f.do(t, http.MethodPost, "/v1/call/slow", "", as("joe")...).Code }()
		<-started
	}
	expectTooMany(t, f, f.do(t, http.MethodPost, "/v1/call/slow", "", as("joe")...), "calls")
	if rec := f.do(t, http.MethodPost, "/v1/call/nothing", "", as("root")...); rec.Code != http.StatusNotFound {
		t.Errorf("another is refused, too: %d", rec.Code)
	}
	expectTooMany(t, f, f.do(t, http.MethodPost, "/v1/call", `[{"procedure":"a"},{"procedure":"b"},{"procedure":"c"}]`, as("root")...), "calls")
	close(release)
	for range 2 {
		if code := <-done; code != http.StatusOK {
			t.Errorf("got %d", code)
		}
	}
	if rec := f.do(t, http.MethodPost, "/v1/call/nothing", "", as("joe")...); rec.Code != http.StatusNotFound {
		t.Errorf("afterwards: got %d", rec.Code)
	}
}

// open begins an event stream and waits until it is ready.
func open(t *testing.T, url string, header ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(res.Body)
	for res.StatusCode == http.StatusOK {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "event: wamp.ready") {
			break
		}
	}
	t.Cleanup(func() { _ = res.Body.Close(); http.DefaultClient.CloseIdleConnections() })
	return res, r
}

func TestOpenStreamsAreBounded(t *testing.T) {
	for name, end := range map[string]func(f *face, first *http.Response){ // on a connection of HTTP/1.1 that was taken over
		"its reader goes": func(_ *face, first *http.Response) { _ = first.Body.Close() },
		"its session is killed": func(f *face, first *http.Response) {
			var there struct{ Sessions []wampcore.ID }
			f.get(t, "/v1/sessions", &there)
			for _, id := range there.Sessions {
				f.do(t, http.MethodDelete, fmt.Sprintf("/v1/sessions/%d", id), "")
			}
			_, _ = io.Copy(io.Discard, first.Body)
		},
		"its credentials are taken back": func(f *face, first *http.Response) {
			f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{names{}}}, streamOfJoe)
			_, _ = io.Copy(io.Discard, first.Body)
			f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{folks()}}, streamOfJoe)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFace(t, known, func(cfg *httpapi.Config) { cfg.Limits = streamOfJoe })
			srv := httptest.NewServer(f.handler)
			t.Cleanup(srv.Close)                                             // after the streams
			first, _ := open(t, srv.URL+"/v1/subscribe/com.t", as("joe")...) //nolint:bodyclose // by open
			expectTooMany(t, f, f.do(t, http.MethodGet, "/v1/subscribe/com.t", "", as("joe")...), "streams")
			if rec := f.do(t, http.MethodGet, "/v1/sessions", "", as("joe")...); rec.Code != http.StatusOK {
				t.Errorf("what is no stream is refused, too: %d", rec.Code)
			}
			end(f, first)
			for deadline := time.Now().Add(10 * time.Second); ; {
				res, _ := open(t, srv.URL+"/v1/subscribe/com.t", as("joe")...)
				if res.StatusCode == http.StatusOK {
					break
				}
				_ = res.Body.Close()
				if time.Now().After(deadline) {
					t.Fatal("a stream that is over still counts")
				}
			}
		})
	}
}

func TestStreamOfAReaderThatStopsCountsNoLongerThanAWriteMayTake(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(proto, func(t *testing.T) {
			f := newFace(t, known, quiet, func(cfg *httpapi.Config) {
				cfg.Limits, cfg.WriteTimeout = streamOfJoe, 500*time.Millisecond
			})
			srv := httptest.NewUnstartedServer(f.handler)
			if srv.EnableHTTP2 = proto == "HTTP/2"; srv.EnableHTTP2 {
				srv.StartTLS()
			} else {
				srv.Start()
			}
			t.Cleanup(srv.Close)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/subscribe/com.t", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer joe")
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = res.Body.Close() }) // nobody reads it
			if res.Proto[:6] != proto[:6] {
				t.Fatalf("got %s", res.Proto)
			}
			expectTooMany(t, f, f.do(t, http.MethodGet, "/v1/subscribe/com.t", "", as("joe")...), "streams")
			s := f.join(t)
			event, _ := wampcore.NewPayload(wampcore.JSON, []any{strings.Repeat("x", 64<<10)}, nil)
			for deadline := time.Now().Add(60 * time.Second); f.bridge.Stats().Streams.Open > 0; {
				sent := f.bridge.Stats().Streams.Events
				if _, err := s.Publish(t.Context(), "com.t", event, wampcore.PublishOptions{Acknowledge: true}); err != nil {
					t.Fatal(err)
				}
				// It is written as it comes, until there is no room any more.
				for soon := time.Now().Add(20 * time.Millisecond); f.bridge.Stats().Streams.Events == sent && time.Now().Before(soon); {
					runtime.Gosched()
				}
				if time.Now().After(deadline) {
					t.Fatalf("a reader that stops keeps its stream: %+v", f.bridge.Stats().Streams)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			again := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/v1/subscribe/com.t", nil)
			again.Header = req.Header
			rec := httptest.NewRecorder()
			if f.handler.ServeHTTP(rec, again); rec.Code != http.StatusOK {
				t.Errorf("it still counts: %d %s", rec.Code, rec.Body)
			}
		})
	}
}

var streamOfJoe = httpapi.Limits{Principals: map[string]httpapi.Limit{"joe": {Streams: 1}}} //nolint:gochecknoglobals // constant

func TestAddressThatSendsManyWrongCredentialsIsNotHeard(t *testing.T) {
	f := newFace(t, known, func(cfg *httpapi.Config) { cfg.Limits.FailureRate, cfg.Limits.FailureBurst = 0.001, 3 })
	for range 3 {
		if rec := f.do(t, http.MethodGet, "/v1/sessions", "", as("mallory")...); rec.Code != http.StatusUnauthorized {
			t.Fatalf("got %d", rec.Code)
		}
	}
	expectTooMany(t, f, f.do(t, http.MethodGet, "/v1/sessions", "", as("mallory")...), "failures")
	expectTooMany(t, f, f.do(t, http.MethodGet, "/v1/sessions", "", as("joe")...), "failures")
	if rec := f.do(t, http.MethodGet, "/v1/sessions", ""); rec.Code != http.StatusOK {
		t.Errorf("without credentials: got %d", rec.Code)
	}
}

func TestForwardedAddressesAreBelievedOfTrustedProxiesAlone(t *testing.T) {
	var log logged
	f := newFace(t, func(cfg *httpapi.Config) {
		cfg.TrustedProxies = []string{"10.0.0.0/8", "2001:db8::1", httpapi.UnixProxies}
		cfg.Log = zerolog.New(&log)
	})
	for _, c := range []struct{ peer, forwarded, want string }{
		{"192.0.2.1:1234", "198.51.100.7", "192.0.2.1:1234"},
		{"10.1.2.3:1234", "", "10.1.2.3:1234"},
		{"10.1.2.3:1234", "198.51.100.7", "198.51.100.7:0"},
		{"10.1.2.3:1234", "203.0.113.9, 198.51.100.7, 10.9.9.9", "198.51.100.7:0"},
		{"10.1.2.3:1234", "nonsense, 198.51.100.7", "198.51.100.7:0"},
		{"10.1.2.3:1234", "198.51.100.7, nonsense", "10.1.2.3:1234"},
		{"10.1.2.3:1234", "10.0.0.1, 10.0.0.2", "10.0.0.1:0"},
		{"[2001:db8::1]:1", "2001:db8:ffff::2", "[2001:db8:ffff::2]:0"},
		{"[::ffff:10.1.2.3]:1", "::ffff:198.51.100.7", "198.51.100.7:0"},
		{"@", "198.51.100.7", "198.51.100.7:0"},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/livez", nil)
		req.RemoteAddr = c.peer
		if c.forwarded != "" {
			req.Header.Set("X-Forwarded-For", c.forwarded)
		}
		log.Reset()
		f.handler.ServeHTTP(httptest.NewRecorder(), req)
		if !strings.Contains(log.String(), `"peer":"`+c.want+`"`) {
			t.Errorf("%s for %q: want %s in %s", c.peer, c.forwarded, c.want, log.String())
		}
	}
	if _, err := httpapi.New(httpapi.Config{TrustedProxies: []string{"proxy.example"}}); err == nil {
		t.Error("a name is accepted for an address")
	}
}

// logged is what was logged. A stream's request is logged when its connection was taken over, whatever the test does then.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAnonymousIsBoundedByAddress(t *testing.T) {
	f := newFace(t, func(cfg *httpapi.Config) {
		cfg.TrustedProxies = []string{"192.0.2.1"} // of httptest
		cfg.Limits.Default = httpapi.Limit{Rate: 0.001, Burst: 1}
	})
	from := func(address string) int {
		return f.do(t, http.MethodGet, "/v1/sessions", "", "X-Forwarded-For", address).Code
	}
	for _, c := range []struct {
		address string
		want    int
	}{
		{"198.51.100.7", 200},
		{"198.51.100.7", 429},
		{"198.51.100.8", 200},
		{"2001:db8::1", 200},
		{"2001:db8::ffff", 429}, // of one network
		{"2001:db8:0:1::1", 200},
	} {
		if got := from(c.address); got != c.want {
			t.Errorf("%s: got %d, want %d", c.address, got, c.want)
		}
	}
}
