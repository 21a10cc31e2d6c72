package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// expiring asks again and again, with credentials that last longer each time, until done: a busy machine may need longer to begin.
func expiring(t *testing.T, ask func(f *face, last bool) (done bool)) {
	t.Helper()
	for soon := 300 * time.Millisecond; ; soon *= 2 {
		f := newFace(t, quiet, func(cfg *httpapi.Config) { cfg.Auth.Methods = []httpapi.Method{lasting{folks(), soon}} })
		if last := soon > 10*time.Second; ask(f, last) || last {
			return
		}
	}
}

// The last words of a call's stream, which say that there is nothing to come back for.
func byeOfCall(format, why string) string {
	if format == jsonl {
		return `{"id":"fin.","bye":{"reason":"the credentials of the stream ` + why + "\"}}\n"
	}
	return "id: fin.\nevent: wamp.bye\ndata: {\"reason\":\"the credentials of the stream " + why + "\"}\n\n"
}

func TestStreamOfACallEndsWithByeWhenItsCredentialsExpire(t *testing.T) {
	for _, accept := range []string{"text/event-stream", jsonl} {
		expiring(t, func(f *face, last bool) bool {
			ended := f.counter(t, 2, make(chan struct{}), nil)
			send := f.serve(t)
			if accept == jsonl {
				send = f.serveHTTP2(t)
			}
			res := send(t.Context(), "/v1/call/count", nil, append(as("joe"), "Accept", accept)...)
			said, err := io.ReadAll(res)
			if res.status != http.StatusOK && !last {
				return false
			}
			if got := withoutIDs(string(said)); err != nil || !strings.HasSuffix(got, byeOfCall(accept, "have expired")) || !strings.Contains(got, `{"args":[0]}`) {
				t.Errorf("%s: got %d %s, %v", accept, res.status, got, err)
			}
			if err := <-ended; err == nil {
				t.Errorf("%s: the callee was not interrupted", accept)
			}
			return true
		})
	}
}

func TestCallInPartsEndsWithItsCredentialsAlthoughItsBodyIsOpen(t *testing.T) {
	for _, accept := range []string{"text/event-stream", jsonl, "application/json"} {
		expiring(t, func(f *face, last bool) bool {
			ended := f.summing(t)
			in, out := io.Pipe()
			defer func() { _ = out.Close() }()
			go func() { _, _ = io.WriteString(out, "{\"args\":[1]}\n") }()
			res := f.serve(t)(t.Context(), "/v1/call/sum", in, append(as("joe"), "Content-Type", jsonl, "Accept", accept)...)
			said, err := io.ReadAll(res)
			got := withoutIDs(string(said))
			if accept == "application/json" {
				if res.status != http.StatusUnauthorized || !strings.Contains(got, "have expired") {
					t.Errorf("%s: got %d %s, %v", accept, res.status, got, err)
				}
				if begun := strings.Contains(got, `"outcome":"unknown"`); !begun {
					return last
				}
			} else {
				if res.status != http.StatusOK && !last {
					return false
				}
				if err != nil || !strings.HasSuffix(got, byeOfCall(accept, "have expired")) {
					t.Errorf("%s: got %d %s, %v", accept, res.status, got, err)
				}
			}
			if err := <-ended; err == nil {
				t.Errorf("%s: the callee was not interrupted", accept)
			}
			return true
		})
	}
}

func TestCallWhoseCredentialsExpireBeforeItSaysAnythingIsRefusedAndCancelled(t *testing.T) {
	expiring(t, func(f *face, last bool) bool {
		begun, ended := make(chan struct{}, 1), make(chan struct{})
		f.register(t, "p", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
			begun <- struct{}{}
			<-ctx.Done()
			close(ended)
			return wampcore.Payload{}, ctx.Err()
		})
		rec := f.do(t, http.MethodPost, "/v1/call/p", "", append(as("joe"), "Accept", "text/event-stream")...)
		if rec.Code != http.StatusUnauthorized || !strings.Contains(rec.Body.String(), "have expired") || rec.Header().Get("Www-Authenticate") == "" {
			t.Errorf("got %d %v %s", rec.Code, rec.Header(), rec.Body)
		}
		select {
		case <-begun:
		default:
			return last
		}
		if !strings.Contains(rec.Body.String(), `"outcome":"unknown"`) {
			t.Errorf("the call was made: got %s", rec.Body)
		}
		<-ended
		return true
	})
}

func TestStreamOfACallEndsWithByeWhenItsCredentialsAreTakenBack(t *testing.T) {
	f := newFace(t, known, quiet)
	ended := f.counter(t, 2, make(chan struct{}), nil)
	for _, accept := range []string{"text/event-stream", jsonl} {
		f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{folks()}}, httpapi.Limits{})
		res := f.serve(t)(t.Context(), "/v1/call/count", nil, append(as("joe"), "Accept", accept)...)
		if line, err := res.ReadString('\n'); err != nil || !strings.Contains(line, "progress") {
			t.Fatalf("got %q, %v", line, err)
		}
		f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{names{}}}, httpapi.Limits{})
		said, err := io.ReadAll(res)
		if got := withoutIDs(string(said)); err != nil || !strings.HasSuffix(got, byeOfCall(accept, "were taken back")) {
			t.Errorf("got %s, %v", got, err)
		}
		if err := <-ended; err == nil {
			t.Error("the callee was not interrupted")
		}
	}
}

func TestStreamsEndWithByeWhenTheirCredentialsExpire(t *testing.T) {
	for _, path := range []string{"/v1/subscribe/com.t", "/v1/register/com.p"} {
		expiring(t, func(f *face, last bool) bool {
			srv := httptest.NewServer(f.handler)
			t.Cleanup(srv.Close)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer joe")
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusUnauthorized && !last {
				return false
			}
			if !strings.HasSuffix(string(said), "event: wamp.bye\ndata: {\"reason\":\"the credentials of the stream have expired\"}\n\n") {
				t.Errorf("%s: got %d %s, %v", path, res.StatusCode, said, err)
			}
			return true
		})
	}
}

func TestPollEndsWithItsCredentials(t *testing.T) {
	expiring(t, func(f *face, _ bool) bool {
		rec := f.do(t, http.MethodGet, "/v1/subscribe/com.t?wait=60", "", append(as("joe"), "Accept", "application/json")...)
		if rec.Code != http.StatusUnauthorized || !strings.Contains(rec.Body.String(), "have expired") {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
		return true
	})
	f := newFace(t, known)
	answer := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		answer <- f.do(t, http.MethodGet, "/v1/subscribe/com.t?wait=60", "", append(as("joe"), "Accept", "application/json")...)
	}()
	for f.bridge.Stats().Streams.Opened == 0 {
		select {
		case rec := <-answer:
			t.Fatalf("got %d %s", rec.Code, rec.Body)
		case <-time.After(time.Millisecond): //nolint:forbidigo // there is nothing else to wait for
		}
	}
	f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{names{}}}, httpapi.Limits{})
	if rec := <-answer; rec.Code != http.StatusUnauthorized || !strings.Contains(rec.Body.String(), "taken back") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

// reconfiguring is a method whose principals are taken back while it lets them in.
type reconfiguring struct {
	names

	takeBack func()
}

func (r reconfiguring) Authenticate(req *http.Request) (*httpapi.Grant, error) {
	g, err := r.names.Authenticate(req)
	if g != nil {
		r.takeBack()
	}
	return g, err
}

func TestStreamWhoseCredentialsAreTakenBackWhileItComesInEndsAtOnce(t *testing.T) {
	for _, c := range []struct{ method, path, accept string }{
		{http.MethodGet, "/v1/subscribe/com.t", "text/event-stream"},
		{http.MethodGet, "/v1/subscribe/com.t?wait=60", "application/json"},
		{http.MethodGet, "/v1/register/com.p", "text/event-stream"},
		{http.MethodPost, "/v1/call/count", "text/event-stream"},
	} {
		var f *face
		f = newFace(t, quiet, func(cfg *httpapi.Config) {
			cfg.Auth.Methods = []httpapi.Method{reconfiguring{folks(), func() {
				f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{names{}}}, httpapi.Limits{})
			}}}
		})
		f.counter(t, 2, make(chan struct{}), nil)
		rec := f.do(t, c.method, c.path, "", append(as("joe"), "Accept", c.accept)...)
		if !strings.Contains(rec.Body.String(), "taken back") {
			t.Errorf("%s: got %d %s", c.path, rec.Code, rec.Body)
		}
	}
}

func TestTicketWhoseMakerIsTakenBackMeanwhileOpensNoStream(t *testing.T) {
	for name, wait := range map[string]bool{"while it is made": false, "before it is used": true} {
		var f *face
		takeBack := func() { f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{names{}}}, httpapi.Limits{}) }
		f = newFace(t, quiet, func(cfg *httpapi.Config) {
			method := httpapi.Method(folks())
			if !wait {
				method = reconfiguring{folks(), takeBack}
			}
			cfg.Auth.Methods = []httpapi.Method{method}
		})
		ticket := f.ticket(t, "/v1/ticket", as("joe")...)
		if wait {
			takeBack()
		}
		rec := f.do(t, http.MethodGet, "/v1/subscribe/com.t?ticket="+ticket, "")
		if rec.Code != http.StatusUnauthorized {
			t.Errorf("%s: got %d %s", name, rec.Code, rec.Body)
		}
	}
}

// gate is an authorizer that lets everything pass when it is opened.
type gate struct{ reached, open chan struct{} }

func (g gate) Authorize(ctx context.Context, _ *router.Question) (router.Decision, error) {
	close(g.reached)
	select {
	case <-g.open:
	case <-ctx.Done():
	}
	return router.Decision{Allow: true}, nil
}

// forgetting is a method that knows nobody any more, when it has done something.
type forgetting struct {
	names

	first func()
}

func (m forgetting) Authenticate(r *http.Request) (*httpapi.Grant, error) {
	m.first()
	return m.names.Authenticate(r)
}

func TestStreamThatBeginsWhileItsCredentialsAreTakenBackEnds(t *testing.T) {
	g := gate{make(chan struct{}), make(chan struct{})}
	f := newFaceOver(t, router.RealmConfig{Name: "realm1", Roles: map[string]router.Role{"user": {Authorizer: g}}}, known, quiet)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	said := make(chan string, 1)
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/subscribe/com.t", nil)
		req.Header.Set("Authorization", "Bearer joe")
		res, err := srv.Client().Do(req)
		if err != nil {
			said <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		said <- string(b)
	}()
	<-g.reached
	begin := func() { // between that the streams are listed, and that they are ended
		close(g.open)
		for f.bridge.Stats().Streams.Opened == 0 {
			runtime.Gosched()
		}
	}
	f.handler.Reconfigure(httpapi.Auth{Methods: []httpapi.Method{forgetting{names{}, begin}}}, httpapi.Limits{})
	if got := <-said; !strings.Contains(got, "taken back") {
		t.Errorf("got %s", got)
	}
}

func TestOpenStreamsKeepNothingOfTheirRequests(t *testing.T) {
	f := newFace(t, quiet, func(cfg *httpapi.Config) { cfg.Auth.Methods = []httpapi.Method{lasting{folks(), time.Hour}} })
	var mu sync.Mutex
	var requests []weak.Pointer[http.Request]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, weak.Make(r))
		mu.Unlock()
		f.handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close) // after the streams
	for i := range 40 {  // of timers that were stopped, a quarter may be kept
		header := as("joe")
		if i%2 == 1 {
			header = nil
		}
		open(t, srv.URL+"/v1/subscribe/com.t", header...) //nolint:bodyclose // by open
	}
	kept := func() (n int) {
		runtime.GC()
		mu.Lock()
		defer mu.Unlock()
		for _, r := range requests {
			if r.Value() != nil {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(20 * time.Second); kept() > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests of %d are kept", kept(), len(requests))
		}
	}
}
