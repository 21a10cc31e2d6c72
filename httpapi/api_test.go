package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"go.uber.org/goleak"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

func TestMain(m *testing.M) {
	decodeBodies()
	decodeLines()
	goleak.VerifyTestMain(m)
}

// face is an HTTP face over a router, whose every answer is held against the OpenAPI document.
type face struct {
	router  *router.Router
	bridge  *bridge.Bridge
	handler *httpapi.Handler
	doc     *openapi3.T
}

func newFace(tb testing.TB, change ...func(*httpapi.Config)) *face {
	tb.Helper()
	return newFaceOver(tb, router.RealmConfig{Name: "realm1", Operators: []string{"anonymous"}}, change...)
}

func newFaceOver(tb testing.TB, realm router.RealmConfig, change ...func(*httpapi.Config)) *face {
	tb.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../openapi.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	if err := doc.Validate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	r, err := router.New(router.Config{Realms: []router.RealmConfig{realm, {Name: "realm2"}}})
	if err != nil {
		tb.Fatal(err)
	}
	b := bridge.New(bridge.Config{
		Dial: func(_ context.Context, p bridge.Principal) (wampcore.Transport, error) {
			if p.AuthRole == "" {
				return r.Dial(), nil
			}
			return r.DialAs(router.Identity{AuthID: p.AuthID, AuthRole: p.AuthRole, Method: p.Method, Provider: p.Provider}), nil
		},
		Attach: func(t wampcore.Transport, p bridge.Principal) func() error {
			if p.AuthRole == "" {
				return r.AttachResting(t, router.Peer{Transport: "http"}, nil)
			}
			id := router.Identity{AuthID: p.AuthID, AuthRole: p.AuthRole, Method: p.Method, Provider: p.Provider}
			return r.AttachResting(t, router.Peer{Transport: "http"}, &id)
		},
		StreamEvents: 100,
	})
	yaml, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	cfg := httpapi.Config{
		Bridge: b, Realm: "realm1", OpenAPI: yaml, MaxBody: 1 << 10, WebSocket: http.NotFoundHandler(), LongPoll: http.NotFoundHandler(),
		Hosts: []string{"gateway.example", "*.apps.example"}, Heartbeat: 20 * time.Millisecond, UnreadTimeout: 100 * time.Millisecond,
	}
	for _, f := range change {
		f(&cfg)
	}
	handler, err := httpapi.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			tb.Error(err)
		}
		if err := r.Shutdown(ctx); err != nil {
			tb.Error(err)
		}
	})
	return &face{r, b, handler, doc}
}

// do sends a request and validates the answer.
func (f *face) do(tb testing.TB, method, path, body string, header ...string) *httptest.ResponseRecorder {
	tb.Helper()
	req := httptest.NewRequestWithContext(tb.Context(), method, path, strings.NewReader(body))
	req.Host = "localhost"
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	f.handler.ServeHTTP(rec, req)
	routes, err := gorillamux.NewRouter(f.doc)
	if err != nil {
		tb.Fatal(err)
	}
	route, params, err := routes.FindRoute(req)
	if err != nil {
		return rec // not a route: 404 or 405
	}
	answer := rec.Body.Bytes()
	if rec.Header().Get("Content-Encoding") == "gzip" {
		answer = gunzip(tb, answer)
	}
	opts := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	err = openapi3filter.ValidateResponse(tb.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: opts},
		Status:                 rec.Code, Header: rec.Header(), Body: io.NopCloser(bytes.NewReader(answer)), Options: opts,
	})
	if err != nil {
		tb.Errorf("%s %s: %d is not what openapi.yaml says: %v", method, path, rec.Code, err)
	}
	return rec
}

func (f *face) register(tb testing.TB, procedure wampcore.URI, h client.InvocationHandler) *client.Session {
	tb.Helper()
	s, err := client.Join(tb.Context(), f.router.Dial(), client.Config{Realm: "realm1"})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := s.Register(tb.Context(), procedure, h, wampcore.RegisterOptions{}); err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestEveryRouteIsDescribedAndEveryDescriptionRouted(t *testing.T) {
	f := newFace(t)
	var described []string
	for path, item := range f.doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	routed, err := httpapi.Routes(httpapi.Config{
		Bridge: f.bridge, Realm: "realm1", WebSocket: http.NotFoundHandler(), LongPoll: http.NotFoundHandler(),
		Metrics: http.NotFoundHandler(), Hooks: bridge.NewHooks(bridge.HooksConfig{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(described)
	slices.Sort(routed)
	if !slices.Equal(described, routed) {
		t.Errorf("described:\n%s\nrouted:\n%s", strings.Join(described, "\n"), strings.Join(routed, "\n"))
	}
}

func TestCallPassesArgumentsAndResultThroughAsTheyAre(t *testing.T) {
	f := newFace(t)
	f.register(t, "com.example.echo", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		return inv.Payload, nil
	})
	for _, c := range []struct{ path, body, want string }{
		{"/v1/call/com.example.echo", `{"args":[ 1.0 , 18446744073709551615],"kwargs":{"b":"<&>"}}`, `{"args":[ 1.0 , 18446744073709551615],"kwargs":{"b":"<&>"}}`},
		{"/v1/realms/realm1/call/com.example.echo", ``, `{}`},
		{"/v1/call/com.example.echo?as=args", `[1]`, `{"args":[1]}`},
		{"/v1/call/com.example.echo?as=kwargs", `{"a":1}`, `{"kwargs":{"a":1}}`},
		{"/v1/call/com.example.echo?as=value&result=value", `{"a":1}`, `{"a":1}`},
		{"/v1/call/com%2Eexample%2Eecho", `{"args":null}`, `{}`},
	} {
		if rec := f.do(t, http.MethodPost, c.path, c.body); rec.Code != http.StatusOK || rec.Body.String() != c.want {
			t.Errorf("%s %s: got %d %s, want %s", c.path, c.body, rec.Code, rec.Body, c.want)
		}
	}
}

func TestErrorsOfCalleesHaveTheStatusOfTheTable(t *testing.T) {
	f := newFace(t)
	for uri, want := range map[wampcore.URI]int{
		"wamp.error.invalid_uri": 400, "wamp.error.invalid_argument": 400, "wamp.error.not_authorized": 403,
		"wamp.error.authentication_denied": 401, "wamp.error.option_disallowed.disclose_me": 403, "wamp.error.no_such_session": 404,
		"wamp.error.procedure_already_exists": 409, "wamp.error.payload_size_exceeded": 413, "wamp.error.feature_not_supported": 501,
		"wamp.error.no_available_callee": 503, "wamp.error.network_failure": 502, "wamp.error.canceled": 502, "wamp.error.timeout": 504,
		"wamp.error.runtime_error": 500, "wamp.error.of_a_new_kind": 500, "com.example.error": 422,
	} {
		s := f.register(t, "p", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
			return wampcore.Payload{}, &wampcore.Error{URI: uri, Message: "why"}
		})
		rec := f.do(t, http.MethodPost, "/v1/call/p", "")
		if rec.Code != want || rec.Header().Get("Wamp-Error") != string(uri) || !strings.Contains(rec.Body.String(), `"detail":"why"`) {
			t.Errorf("%s: got %d %v %s, want %d", uri, rec.Code, rec.Header(), rec.Body, want)
		}
		if (want == 503) != (rec.Header().Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After is %q", uri, rec.Header().Get("Retry-After"))
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.register(t, "q", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		p, err := wampcore.NewPayload(wampcore.CBOR, nil, map[string]any{"http_status": 418})
		if err != nil {
			return p, err
		}
		return wampcore.Payload{}, &wampcore.Error{URI: "com.example.teapot", Payload: p}
	})
	if rec := f.do(t, http.MethodPost, "/v1/call/q", "", "X-Request-Id", "mine"); rec.Code != 418 || rec.Header().Get("X-Request-Id") != "mine" {
		t.Errorf("got %d %v", rec.Code, rec.Header())
	}
}

func TestErrorsThatComeWithoutAWordHaveADetail(t *testing.T) {
	f := newFace(t)
	f.register(t, "late", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		return wampcore.Payload{}, &wampcore.Error{URI: wampcore.ErrTimeout} // as callees say it that keep the deadline themselves
	})
	for _, path := range []string{"/v1/sessions/5", "/v1/registrations/555", "/v1/subscriptions/555"} {
		if rec := f.do(t, http.MethodGet, path, ""); rec.Code != http.StatusNotFound || !strings.Contains(rec.Body.String(), `"detail":"there is no `) {
			t.Errorf("%s: got %d %s", path, rec.Code, rec.Body)
		}
	}
	if rec := f.do(t, http.MethodGet, "/v1/register/late", ""); rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "is registered already") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if rec := f.do(t, http.MethodPost, "/v1/call/late", ""); !strings.Contains(rec.Body.String(), `"detail":"the deadline passed before the answer came"`) {
		t.Errorf("got %s", rec.Body)
	}
}

func TestDeadlineOfTheRequestEndsTheCall(t *testing.T) {
	f := newFace(t)
	interrupted := make(chan error, 3)
	f.register(t, "p", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
		<-ctx.Done()
		interrupted <- context.Cause(ctx)
		return wampcore.Payload{}, ctx.Err()
	})
	for _, header := range [][]string{{"Wamp-Timeout-Ms", "500"}, {"Grpc-Timeout", "500m"}, {"Connect-Timeout-Ms", "500", "Wamp-Timeout-Ms", "100000"}} {
		if rec := f.do(t, http.MethodPost, "/v1/call/p", "", header...); rec.Code != http.StatusGatewayTimeout {
			t.Errorf("%v: got %d %s", header, rec.Code, rec.Body)
		}
		<-interrupted
	}
	for _, header := range [][]string{{"Wamp-Timeout-Ms", "0"}, {"Grpc-Timeout", "20"}, {"Connect-Timeout-Ms", "soon"}} {
		if rec := f.do(t, http.MethodPost, "/v1/call/p", "", header...); rec.Code != http.StatusBadRequest {
			t.Errorf("%v: got %d %s", header, rec.Code, rec.Body)
		}
	}
}

func TestAbandonedRequestCancelsItsCall(t *testing.T) {
	f := newFace(t)
	started, interrupted := make(chan struct{}), make(chan error, 1)
	f.register(t, "p", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
		close(started)
		<-ctx.Done()
		interrupted <- context.Cause(ctx)
		return wampcore.Payload{}, ctx.Err()
	})
	ctx, abandon := context.WithCancel(t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/v1/call/p", nil)
	done := make(chan struct{})
	go func() {
		f.handler.ServeHTTP(httptest.NewRecorder(), req)
		close(done)
	}()
	<-started
	abandon()
	<-done
	if err := <-interrupted; err == nil {
		t.Error("the callee was not interrupted")
	}
}

func TestStreamSaysReadyThenEventsThenBye(t *testing.T) {
	f := newFace(t)
	srv := httptest.NewServer(f.handler)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/subscribe/a.b?topic=c&prefix=d&wildcard=e..f", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type") + "; " + res.Header.Get("X-Accel-Buffering"); got != "text/event-stream; no" {
		t.Errorf("headers: %s", got)
	}
	var seen bytes.Buffer
	until := func(text string) {
		b := make([]byte, 512)
		for !strings.Contains(seen.String(), text) {
			n, err := res.Body.Read(b)
			if seen.Write(b[:n]); err != nil && !strings.Contains(seen.String(), text) {
				t.Fatalf("%q did not come: %v, %s", text, err, seen.String())
			}
		}
	}
	until("event: wamp.ready\n")
	for _, topic := range []string{"a.b", "c", "dd.x", "e.x.f"} {
		if rec := f.do(t, http.MethodPost, "/v1/publish/"+topic, `{"kwargs":{"n":1}}`); rec.Code != http.StatusOK {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		until(`data: {"topic":"` + topic + `","publication":`)
	}
	until(": \n\n") // a heartbeat
	go func() { _ = f.bridge.Withdraw(t.Context(), 0) }()
	until("event: wamp.bye\n")
}

func TestPublicationThatIsNotAcknowledgedIsAccepted(t *testing.T) {
	f := newFace(t)
	if rec := f.do(t, http.MethodPost, "/v1/publish/t", `{"options":{"acknowledge":false}}`); rec.Code != http.StatusAccepted {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func TestBadRequestsAreProblemsThatTheDocumentKnows(t *testing.T) {
	f := newFace(t)
	for _, c := range []struct {
		method, path, body string
		header             []string
		want               int
	}{
		{"POST", "/v1/call/p", `[1]`, nil, 400},
		{"POST", "/v1/call/p", `{"x":1}`, nil, 400},
		{"POST", "/v1/call/p", `{"args":{}}`, nil, 400},
		{"POST", "/v1/call/p?as=x", `{}`, nil, 400},
		{"POST", "/v1/call/p?as=x", ``, nil, 400},
		{"POST", "/v1/call/p?as=%zz", `{}`, nil, 400},
		{"POST", "/v1/publish/p?as=args;result=value", `[]`, nil, 400},
		{"POST", "/v1/call/p", `{}`, []string{"Content-Type", "text/plain"}, 415},
		{"POST", "/v1/call/p", `{"args":["` + strings.Repeat("x", 2000) + `"]}`, nil, 413},
		{"POST", "/v1/call/p", ``, []string{"Accept", "text/html"}, 406},
		{"POST", "/v1/call/p", ``, nil, 404},
		{"POST", "/v1/call/p", ``, []string{"Origin", "https://evil.example"}, 403},
		{"POST", "/v1/publish/a..b", ``, nil, 400},
		{"GET", "/v1/call/p", ``, nil, 405},
		{"GET", "/v1/subscribe", ``, nil, 400},
		{"GET", "/v1/subscribe/a..b", ``, nil, 400},
		{"GET", "/v1/subscribe/a?match=x", ``, nil, 400},
		{"GET", "/v1/subscribe/a?cursor=%zz", ``, nil, 400}, // and not a stream that has lost events and says nothing
		{"GET", "/v1/subscribe/a?ticket=x&cursor=1.a%", ``, nil, 400},
		{"GET", "/v1/sessions?limit=1;after=5", ``, nil, 400},
		{"GET", "/v1/subscribe/a", ``, []string{"Accept", "image/png"}, 406},
		{"GET", "/v1/realms/nowhere/subscribe/a", ``, nil, 404},
		{"GET", "/nothing", ``, nil, 404},
	} {
		rec := f.do(t, c.method, c.path, c.body, c.header...)
		if rec.Code != c.want || rec.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s %.40s: got %d %s, want %d", c.method, c.path, c.body, rec.Code, rec.Body, c.want)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/startupz", "/openapi.yaml"} {
		if rec := f.do(t, http.MethodGet, path, ""); rec.Code != http.StatusOK {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

func TestHostsOtherThanTheOwnAreRefused(t *testing.T) {
	f := newFace(t)
	for host, want := range map[string]int{
		"localhost:8080": 200, "127.0.0.1": 200, "[::1]:80": 200, "gateway.example": 200, "a.apps.example": 200,
		"LocalHost:8080": 200, "Gateway.Example.": 200, "A.apps.example:80": 200,
		"apps.example": 421, ".apps.example": 421, "evil.example": 421, "gateway.example.evil.example": 421, "": 421,
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/livez", nil)
		req.Host = host
		rec := httptest.NewRecorder()
		f.handler.ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("%s: got %d, want %d", host, rec.Code, want)
		}
		if host == "" && !strings.Contains(rec.Body.String(), "send the header Host") {
			t.Errorf("got %s", rec.Body)
		}
	}
}
