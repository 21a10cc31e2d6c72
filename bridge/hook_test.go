package bridge_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/router" //nolint:depguard // a real router at the other end
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

const patience = 20 * time.Second

// hooked is a router, hooks, and a service for them.
type hooked struct {
	*network

	hooks *bridge.Hooks
	url   string

	mu      sync.Mutex
	handler http.HandlerFunc
}

func newHooked(t *testing.T, handler http.HandlerFunc, change ...func(*bridge.HooksConfig)) *hooked {
	t.Helper()
	return newHookedOn(t, connect(t, false), handler, change...)
}

func newHookedOn(t *testing.T, n *network, handler http.HandlerFunc, change ...func(*bridge.HooksConfig)) *hooked {
	t.Helper()
	h := &hooked{network: n, handler: handler}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		f := h.handler
		h.mu.Unlock()
		f(w, r)
	}))
	h.url = srv.URL
	cfg := bridge.HooksConfig{
		Dial: h.dial, Egress: newEgress(t, bridge.EgressConfig{Loopback: true}), RetryDelay: time.Millisecond, RetryDelayMax: 10 * time.Millisecond,
	}
	for _, f := range change {
		f(&cfg)
	}
	h.hooks = bridge.NewHooks(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.hooks.Close(ctx); err != nil {
			t.Error("close hooks:", err)
		}
		srv.CloseClientConnections()
		srv.Close()
	})
	return h
}

func (h *hooked) serve(f http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handler = f
}

// put makes the hook "h".
func (h *hooked) put(spec bridge.HookSpec) {
	h.Helper()
	if spec.URL == "" {
		spec.URL = h.url
	}
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	defer cancel()
	if _, err := h.hooks.Put(ctx, anybody, "h", spec); err != nil {
		h.Fatal(err)
	}
}

func (h *hooked) status() bridge.HookStatus {
	h.Helper()
	s, err := h.hooks.Status(anybody, "h")
	if err != nil {
		h.Fatal(err)
	}
	return s
}

// await waits until the hook is as it should be.
func (h *hooked) await(what string, ok func(bridge.HookStatus) bool) bridge.HookStatus {
	h.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		s := h.status()
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			h.Fatalf("the hook is not %s: %+v", what, s)
		}
		<-tick.C
	}
}

func (h *hooked) join(tb testing.TB) *client.Session {
	tb.Helper()
	s, err := client.Join(tb.Context(), h.router.Dial(), client.Config{Realm: realm1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func payload(args, kwargs string) wampcore.Payload {
	p := wampcore.Payload{Encoding: wampcore.JSON}
	if args != "" {
		p.Args = []byte(args)
	}
	if kwargs != "" {
		p.Kwargs = []byte(kwargs)
	}
	return p
}

// ask calls com.p and returns the result, or the error and its payload, on one line.
func ask(ctx context.Context, s *client.Session, p wampcore.Payload, opts wampcore.CallOptions) string {
	res, err := s.Call(ctx, "com.p", p, opts)
	if e, ok := errors.AsType[*wampcore.Error](err); ok {
		return string(e.URI) + " " + string(bridge.EncodeResult(e.Payload))
	}
	if err != nil {
		return err.Error()
	}
	return string(bridge.EncodeResult(res))
}

func text(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const (
	jsonKind    = "application/json"
	problemKind = "application/problem+json"
	sseKind     = "text/event-stream"
	linesKind   = "application/jsonl"
)

// unavailable is what a caller is told of wamp.error.unavailable: the router has looked for another callee.
const unavailable = `wamp.error.no_available_callee {"args":["no callee of the procedure can take the call now"]}`

func TestServicesAnswersMeanWhatTheContractSays(t *testing.T) {
	h := newHooked(t, nil, func(c *bridge.HooksConfig) { c.MaxAnswer, c.BreakAfter = 1000, 1_000_000 })
	h.put(bridge.HookSpec{Procedure: "com.p"})
	s := h.join(t)
	type row struct {
		status           int
		kind, body, want string
	}
	answered := func(status int) string {
		return fmt.Sprintf(`{"args":["the service answered %d %s"]}`, status, http.StatusText(status))
	}
	rows := []row{
		{200, jsonKind, `{"args":[1,9007199254740993],"kwargs":{"a":"b"}}`, `{"args":[1,9007199254740993],"kwargs":{"a":"b"}}`},
		{200, "application/json; charset=utf-8", `{}`, `{}`},
		{200, "", ``, `{}`},
		{201, jsonKind, `{"args":[2]}`, `{"args":[2]}`},
		{204, "", "", `{}`},
		{404, "", "", "wamp.error.no_such_procedure " + answered(404)},
		{405, "", "", "wamp.error.no_such_procedure " + answered(405)},
		{401, "", "", "wamp.error.not_authorized " + answered(401)},
		{403, "", "", "wamp.error.not_authorized " + answered(403)},
		{429, "", "", unavailable},
		{503, "", "", unavailable},
		{400, "", "", "wamp.error.invalid_argument " + answered(400)},
		{408, "", "", "wamp.error.invalid_argument " + answered(408)},
		{422, "text/html", "<p>", "wamp.error.invalid_argument " + answered(422)},
		{500, "", "", "wamp.error.runtime_error " + answered(500)},
		{502, "", "", "wamp.error.runtime_error " + answered(502)},
		{302, "", "", `wamp.error.runtime_error {"args":["the service answered 302, and redirects are not followed"]}`},
		{400, problemKind, `{"title":"Bad","detail":"no size"}`, `wamp.error.invalid_argument {"args":["no size"]}`},
		{409, problemKind, `{"wamp":{"error":"com.shop.sold_out","args":[7],"kwargs":{"k":1}}}`, `com.shop.sold_out {"args":[7],"kwargs":{"k":1}}`},
		{409, jsonKind, `{"wamp":{"error":"com.shop.sold_out"}}`, `com.shop.sold_out {}`},
		{503, problemKind, `{"detail":"d","wamp":{"error":"wamp.error.canceled"}}`, `wamp.error.canceled {"args":["d"]}`},
		{409, problemKind, `{"wamp":{"error":"not a uri"}}`, "wamp.error.invalid_argument " + answered(409)},
		{409, problemKind, `{"wamp":{"error":"com.x","args":5}}`, "wamp.error.invalid_argument " + answered(409)},
		{500, problemKind, `{{{`, "wamp.error.runtime_error " + answered(500)},
	}
	for _, r := range rows {
		h.serve(text(r.status, r.kind, r.body))
		if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); got != r.want {
			t.Errorf("%d %s %s: got %s, want %s", r.status, r.kind, r.body, got, r.want)
		}
	}
	for _, r := range []row{
		{200, "text/html", "<p>", ""},
		{200, jsonKind, "[1]", ""},
		{200, jsonKind, `{"x":1}`, ""},
		{200, jsonKind, "{", ""},
		{200, jsonKind, `{"options":{"a":1}}`, ""},
		{200, jsonKind, `{"args":["` + string(make([]byte, 2000)) + `"]}`, ""},
		{200, sseKind, "data: [\n\n", ""},
		{200, linesKind, "[1]\n", ""},
		{200, linesKind, `{"error":{}}`, ""},
		{200, sseKind, "data: " + string(make([]byte, 2000)) + "\n\n", ""},
	} {
		h.serve(text(r.status, r.kind, r.body))
		got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{})
		if want := `wamp.error.runtime_error {"args":["the service's answer `; !strings.HasPrefix(got, want) {
			t.Errorf("%d %s %.40q: got %s", r.status, r.kind, r.body, got)
		}
	}
}

func TestCallReachesTheServiceWithAllThatItNeedsAndNothingForged(t *testing.T) {
	type request struct {
		header http.Header
		body   string
	}
	requests := make(chan request, 10)
	h := newHooked(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.Header, string(body)}
		w.WriteHeader(http.StatusNoContent)
	})
	h.put(bridge.HookSpec{Procedure: "com.", Match: "prefix", Timeout: bridge.Duration(5 * time.Second), Headers: map[string]string{"x-own": "yes"}})
	s := h.join(t)
	trace, _ := wampcore.NewRaw(wampcore.CBOR, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	state, _ := wampcore.NewRaw(wampcore.JSON, "a=b")
	procedure := wampcore.URI("com.größe%\"€")
	_, err := s.Call(t.Context(), procedure, payload(`[9007199254740993,"\u0000AAE="]`, `{"k":{"n":1.0}}`), wampcore.CallOptions{
		DiscloseMe: true, Timeout: 60 * time.Second,
		Custom: wampcore.Attributes{{Key: "_traceparent", Value: trace}, {Key: "_tracestate", Value: state}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := <-requests
	if got.body != `{"args":[9007199254740993,"\u0000AAE="],"kwargs":{"k":{"n":1.0}}}` {
		t.Errorf("got %s", got.body)
	}
	want := map[string]string{
		"Content-Type": jsonKind, "X-Own": "yes", "Wamp-Procedure": "com.gr%C3%B6%C3%9Fe%25%22%E2%82%AC",
		"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate": "a=b",
		"Wamp-Caller": fmt.Sprint(s.ID()), "Wamp-Caller-Authrole": "anonymous", "Idempotency-Key": "", "Webhook-Signature": "",
	}
	for name, v := range want {
		if got.header.Get(name) != v {
			t.Errorf("%s: got %q, want %q", name, got.header.Get(name), v)
		}
	}
	if id := got.header.Get("Wamp-Invocation"); id == "" || id != got.header.Get("Webhook-Id") || got.header.Get("Wamp-Caller-Authid") == "" {
		t.Errorf("got %v", got.header)
	}
	if ms := got.header.Get("Wamp-Timeout-Ms"); len(ms) != 4 { // of the 5 s that the hook has
		t.Errorf("there are %s ms left", ms)
	}
	bad, _ := wampcore.NewRaw(wampcore.JSON, "00-\r\nEvil: 1")
	_, err = s.Call(t.Context(), "com.x\x00\x7f", wampcore.Payload{}, wampcore.CallOptions{Custom: wampcore.Attributes{{Key: "_traceparent", Value: bad}, {Key: "_tracestate", Value: bad}}})
	if err != nil {
		t.Fatal(err)
	}
	got = <-requests
	if got.header.Get("Evil") != "" || got.header.Get("Traceparent") != "" || got.header.Get("Wamp-Procedure") != "com.x%00%7F" || got.header.Get("Wamp-Caller") != "" {
		t.Errorf("got %v", got.header)
	}
}

func TestStreamedAnswersAreProgressiveResults(t *testing.T) {
	h := newHooked(t, nil)
	h.put(bridge.HookSpec{Procedure: "com.p"})
	s := h.join(t)
	for name, c := range map[string]struct {
		kind, body string
		want       []string
	}{
		"events": {
			sseKind, ": hello\r\n\r\ndata: {\"args\":[1]}\r\n\r\nevent: progress\ndata: {\"args\":\ndata: [2]}\n\nevent: ping\ndata: x\n\n" +
				"id: 4\nevent: result\ndata: {\"args\":[3]}\n\ndata: {\"args\":[4]}\n\n",
			[]string{`{"args":[1]}`, `{"args":[2]}`, `final {"args":[3]}`},
		},
		"events without a result": {sseKind, "data: {\"args\":[1]}\n\ndata: {\"args\":[2]}\n", []string{`{"args":[1]}`, `final {}`}},
		"events with an error": {
			sseKind, "data: {\"args\":[1]}\n\nevent: error\ndata: {\"wamp\":{\"error\":\"com.e\",\"args\":[5]}}\n\n", []string{`{"args":[1]}`, "com.e"},
		},
		"lines": {
			linesKind, "{\"args\":[1]}\n\n{\"progress\":{\"args\":[2]}}\n{\"result\":{\"kwargs\":{\"k\":3}}}\n{\"args\":[4]}\n",
			[]string{`{"args":[1]}`, `{"args":[2]}`, `final {"kwargs":{"k":3}}`},
		},
		"lines with an error": {linesKind, `{"error":{"wamp":{"error":"com.e"}}}`, []string{"com.e"}},
	} {
		h.serve(text(http.StatusOK, c.kind, c.body))
		var got []string
		for part, err := range s.CallParts(t.Context(), "com.p", wampcore.Payload{}, wampcore.CallOptions{}) {
			line := string(bridge.EncodeResult(part.Payload))
			if e, ok := errors.AsType[*wampcore.Error](err); ok {
				line = string(e.URI)
			} else if part.Final {
				line = "final " + line
			}
			got = append(got, line)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestServiceThatIsRefusedLostOrLateIsToldApart(t *testing.T) {
	h := newHooked(t, nil, func(c *bridge.HooksConfig) { c.BreakAfter = 1000 })
	h.put(bridge.HookSpec{Procedure: "com.p", Timeout: bridge.Duration(50 * time.Millisecond)})
	s := h.join(t)
	h.serve(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); got != `wamp.error.network_failure {"args":["the service was lost before it had answered"]}` {
		t.Errorf("got %s", got)
	}
	h.serve(func(w http.ResponseWriter, _ *http.Request) { // in the middle of its answer
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"args":[`)
	})
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); !strings.HasPrefix(got, "wamp.error.network_failure") {
		t.Errorf("got %s", got)
	}
	over := make(chan error, 10)
	h.serve(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		over <- r.Context().Err()
	})
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); got != `wamp.error.timeout {"args":["the service did not answer in time"]}` {
		t.Errorf("got %s", got)
	}
	<-over
	h.put(bridge.HookSpec{Procedure: "com.p"})
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{Timeout: 30 * time.Millisecond}); !strings.HasPrefix(got, "wamp.error.timeout") {
		t.Errorf("got %s", got)
	}
	<-over
	h.put(bridge.HookSpec{Procedure: "com.p", URL: "http://127.0.0.1:1/"})
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); got != unavailable {
		t.Errorf("got %s", got)
	}
	if f := h.status().Failures; len(f) != 1 || f[0].Error == "" {
		t.Errorf("got %+v", f)
	}
}

func TestCancelledCallCancelsTheRequest(t *testing.T) {
	began, over := make(chan struct{}), make(chan struct{})
	h := newHooked(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(began)
		<-r.Context().Done()
		close(over)
	})
	h.put(bridge.HookSpec{Procedure: "com.p"})
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan string, 1)
	s := h.join(t)
	go func() { answered <- ask(ctx, s, wampcore.Payload{}, wampcore.CallOptions{}) }()
	<-began
	cancel()
	<-over
	if got := <-answered; got != context.Canceled.Error() {
		t.Errorf("got %s", got)
	}
	if s := h.status(); s.Counts.Failures != 0 || s.Breaker != "closed" {
		t.Errorf("got %+v", s)
	}
}

func TestCallsBeyondConcurrencyWaitAndBeyondTheQueueAreRefused(t *testing.T) {
	began, gate := make(chan struct{}, 10), make(chan struct{})
	h := newHooked(t, func(w http.ResponseWriter, _ *http.Request) {
		began <- struct{}{}
		<-gate
		w.WriteHeader(http.StatusNoContent)
	})
	h.put(bridge.HookSpec{Procedure: "com.p", Concurrency: 2, Queue: 3})
	s := h.join(t)
	answers := make(chan string, 10)
	for range 6 {
		go func() { answers <- ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}) }()
	}
	if got := <-answers; got != unavailable {
		t.Errorf("got %s", got)
	}
	<-began
	<-began
	if len(began) > 0 {
		t.Error("more than 2 requests at once")
	}
	close(gate)
	for range 5 {
		if got := <-answers; got != "{}" {
			t.Errorf("got %s", got)
		}
	}
}

func TestOnlyIdempotentRequestsAreSentAgain(t *testing.T) {
	var mu sync.Mutex
	ids := map[string]int{}
	h := newHooked(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id := r.Header.Get("Webhook-Id")
		if ids[id]++; ids[id] < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		text(http.StatusOK, jsonKind, `{"args":["third"]}`)(w, r)
	})
	s := h.join(t)
	h.put(bridge.HookSpec{Procedure: "com.p"})
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); got != unavailable {
		t.Errorf("got %s", got)
	}
	h.put(bridge.HookSpec{Procedure: "com.p", Idempotent: true})
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); got != `{"args":["third"]}` {
		t.Errorf("got %s", got)
	}
	if len(ids) != 2 || h.status().Counts.Retries != 2 {
		t.Errorf("got %v, %+v", ids, h.status())
	}
}

func TestCircuitOpensAfterFailuresAndClosesWhenTheServiceIsBack(t *testing.T) {
	h := newHooked(t, text(http.StatusServiceUnavailable, "", ""), func(c *bridge.HooksConfig) { c.BreakAfter, c.BreakFor = 3, 50*time.Millisecond })
	h.put(bridge.HookSpec{Procedure: "com.p"})
	s := h.join(t)
	for range 3 {
		ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{})
	}
	h.serve(text(http.StatusNoContent, "", ""))
	opened := false
	for range 1000 {
		got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{})
		if got == "{}" {
			break
		}
		opened = opened || got == unavailable
		<-time.NewTimer(time.Millisecond).C
	}
	if st := h.status(); !opened || st.Breaker != "closed" || st.Counts.ShortCut == 0 {
		t.Errorf("opened %t, %+v", opened, st)
	}
}

func TestErrorsOfTheApplicationAndImpatientCallersDoNotOpenTheCircuit(t *testing.T) {
	h := newHooked(t, text(http.StatusInternalServerError, problemKind, `{"wamp":{"error":"com.e"}}`), func(c *bridge.HooksConfig) { c.BreakAfter = 1 })
	h.put(bridge.HookSpec{Procedure: "com.p"})
	s := h.join(t)
	ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{})
	h.serve(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{Timeout: 5 * time.Millisecond})
	h.await("settled", func(s bridge.HookStatus) bool { return s.Counts.Failures+s.Counts.Answered == 2 })
	if st := h.status(); st.Breaker != "closed" {
		t.Errorf("got %+v", st)
	}
}

func TestSickServiceIsUnregisteredUntilItRecovers(t *testing.T) {
	var mu sync.Mutex
	well := false
	h := newHooked(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/healthz" && (!well || r.Method != http.MethodGet) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	set := func(v bool) {
		mu.Lock()
		defer mu.Unlock()
		well = v
	}
	h.put(bridge.HookSpec{Procedure: "com.p", Health: "/healthz", HealthInterval: bridge.Duration(time.Second)})
	s := h.join(t)
	for _, v := range []bool{false, true, false, true} {
		set(v)
		want := bridge.HookSick
		if v {
			want = bridge.HookReady
		}
		h.await(string(want), func(s bridge.HookStatus) bool { return s.State == want })
		got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{})
		if v && got != "{}" || !v && !strings.HasPrefix(got, "wamp.error.no_such_procedure") {
			t.Errorf("well %t: got %s", v, got)
		}
	}
}

// received is what a service got of one event.
type received struct {
	header http.Header
	body   string
}

// inOrder is a service that collects events, and answers each as it is told.
func inOrder(events chan received, answer func(n int, w http.ResponseWriter)) http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		n++
		mine := n
		mu.Unlock()
		events <- received{r.Header, string(body)}
		answer(mine, w)
	}
}

func (h *hooked) publishN(s *client.Session, topic wampcore.URI, from, to int) {
	h.Helper()
	for i := from; i < to; i++ {
		if _, err := s.Publish(h.Context(), topic, payload(fmt.Sprintf("[%d]", i), ""), wampcore.PublishOptions{Acknowledge: true}); err != nil {
			h.Fatal(err)
		}
	}
}

// arg returns the first argument of an event.
func arg(tb testing.TB, body string) int {
	tb.Helper()
	var e struct{ Args []int }
	if err := json.Unmarshal([]byte(body), &e); err != nil || len(e.Args) == 0 {
		tb.Fatalf("%s: %v", body, err)
	}
	return e.Args[0]
}

func receive(tb testing.TB, events chan received) received {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case e := <-events:
		return e
	case <-timer.C:
		tb.Fatal("no event came")
		panic("unreachable")
	}
}

func TestEventsAreDeliveredInOrderWhateverIsRetried(t *testing.T) {
	events := make(chan received, 1000)
	h := newHooked(t, inOrder(events, func(n int, w http.ResponseWriter) {
		switch n % 7 {
		case 1:
			w.WriteHeader([]int{408, 425, 429, 500, 502, 503}[n%6])
		case 3:
			panic(http.ErrAbortHandler)
		}
	}))
	h.put(bridge.HookSpec{Topic: "com.t"})
	s := h.join(t)
	h.publishN(s, "com.t", 0, 100)
	id, last := "", -1
	for last < 99 {
		e := receive(t, events)
		n := arg(t, e.body)
		if again := e.header.Get("Webhook-Id") == id; n != last+1 && (n != last || !again) {
			t.Fatalf("got %d after %d", n, last)
		}
		id, last = e.header.Get("Webhook-Id"), n
	}
	h.await("done", func(s bridge.HookStatus) bool {
		return s.Counts.Deliveries == 100 && s.Counts.Retries > 10 && s.Lag.Events == 0
	})
}

func TestSlowServiceReadsOnFromHistoryAndMissesNothing(t *testing.T) {
	events, gate := make(chan received, 1000), make(chan struct{})
	h := newHooked(t, inOrder(events, func(int, http.ResponseWriter) { <-gate }), func(c *bridge.HooksConfig) { c.QueueEvents = 5 })
	h.put(bridge.HookSpec{Topic: "com.", Match: "prefix"})
	s := h.join(t)
	h.publishN(s, "com.t", 0, 300)
	if lag := h.await("behind", func(s bridge.HookStatus) bool { return s.Lag.Events >= 290 }).Lag; lag.Seconds <= 0 {
		t.Errorf("got %+v", lag)
	}
	close(gate)
	for i := range 300 {
		e := receive(t, events)
		if n := arg(t, e.body); n != i || e.header.Get("Wamp-Gap") != "" || e.header.Get("Wamp-Topic") != "com.t" {
			t.Fatalf("got %d %v, want %d", n, e.header, i)
		}
		if i%10 == 0 && i < 100 { // while it reads
			h.publishN(s, "com.t", 300+i, 310+i)
		}
	}
	h.publishN(s, "com.t", 400, 450)
	for i := range 150 {
		if n := arg(t, receive(t, events).body); n != 300+i {
			t.Fatalf("got %d, want %d", n, 300+i)
		}
	}
	if st := h.await("done", func(s bridge.HookStatus) bool { return s.Counts.Deliveries == 450 }); st.Counts.Gaps != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestRefusedEventsGoToTheDeadLetterTopicAtOnce(t *testing.T) {
	events := make(chan received, 100)
	h := newHooked(t, inOrder(events, func(n int, w http.ResponseWriter) {
		if n == 2 {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
		if n == 3 {
			w.Header().Set("Location", "http://169.254.169.254/")
			w.WriteHeader(http.StatusFound)
		}
	}))
	s := h.join(t)
	dead := make(chan *wampcore.Event, 10)
	if _, err := s.Subscribe(t.Context(), "com.dead", func(_ context.Context, e *wampcore.Event) { dead <- e }, wampcore.SubscribeOptions{}); err != nil {
		t.Fatal(err)
	}
	h.put(bridge.HookSpec{Topic: "com.t", DeadLetter: "com.dead"})
	h.publishN(s, "com.t", 0, 4)
	for i := range 4 {
		if n := arg(t, receive(t, events).body); n != i {
			t.Errorf("got %d, want %d", n, i)
		}
	}
	for i, status := range []int{422, 302} {
		e := <-dead
		var letter []struct {
			Topic string
			Args  []int
		}
		var kwargs struct {
			Hook, Reason     string
			Status, Attempts int
		}
		p := e.Payload.Transcode(wampcore.JSON)
		if err := errors.Join(json.Unmarshal(p.Args, &letter), json.Unmarshal(p.Kwargs, &kwargs)); err != nil {
			t.Fatal(err)
		}
		if letter[0].Topic != "com.t" || letter[0].Args[0] != i+1 || kwargs.Hook != "h" || kwargs.Status != status || kwargs.Attempts != 1 {
			t.Errorf("got %s %s", p.Args, p.Kwargs)
		}
	}
	h.await("done", func(s bridge.HookStatus) bool {
		return s.Counts.Deliveries == 2 && s.Counts.DeadLetters == 2 && len(s.Failures) == 2
	})
}

func TestEventThatFailsForTooLongIsADeadLetterAndTheNextGoesOn(t *testing.T) {
	events := make(chan received, 100_000)
	h := newHooked(t, nil)
	h.serve(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if arg(t, string(body)) == 0 {
			w.Header().Set("Retry-After", "3600") // it is capped
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		events <- received{r.Header, string(body)}
	})
	h.put(bridge.HookSpec{Topic: "com.t", RetryFor: bridge.Duration(time.Second)})
	h.publishN(h.join(t), "com.t", 0, 2)
	if n := arg(t, receive(t, events).body); n != 1 {
		t.Errorf("got %d", n)
	}
	if st := h.status(); st.Counts.DeadLetters != 1 || st.Counts.Retries < 3 {
		t.Errorf("got %+v", st)
	}
}

func TestGoneDisablesAHookUntilItIsPutAgain(t *testing.T) {
	events := make(chan received, 100)
	h := newHooked(t, text(http.StatusGone, "", ""))
	h.put(bridge.HookSpec{Topic: "com.t"})
	s := h.join(t)
	h.publishN(s, "com.t", 0, 3)
	h.await("disabled", func(s bridge.HookStatus) bool { return s.State == bridge.HookDisabled })
	h.publishN(s, "com.t", 3, 5)
	h.serve(inOrder(events, func(int, http.ResponseWriter) {}))
	h.put(bridge.HookSpec{Topic: "com.t"})
	h.publishN(s, "com.t", 5, 6)
	for i := range 6 { // what came in between, too: it is in the history
		if n := arg(t, receive(t, events).body); n != i {
			t.Fatalf("got %d, want %d", n, i)
		}
	}
}

func TestProceduresAreTakenBackWhileOpenCallsAreAnswered(t *testing.T) {
	begun, answer := make(chan struct{}), make(chan struct{})
	h := newHooked(t, func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-answer
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"args":[7]}`))
	})
	h.put(bridge.HookSpec{Procedure: "p"})
	caller := h.join(t)
	got := call(t.Context(), caller, "p", `[]`)
	<-begun
	h.hooks.Withdraw()
	if r := wait(t, call(t.Context(), caller, "p", `[]`)); !isError(r.err, wampcore.ErrNoSuchProcedure) {
		t.Errorf("after it was taken back: got %+v", r)
	}
	if _, err := h.hooks.Put(t.Context(), anybody, "q", bridge.HookSpec{URL: h.url, Procedure: "q"}); !errors.Is(err, bridge.ErrDraining) {
		t.Errorf("a new one: got %v", err)
	}
	close(answer)
	if r := wait(t, got); r.args != "[7]" {
		t.Errorf("got %+v", r)
	}
}

func TestResultOfAStreamDoesNotWaitForItsEnd(t *testing.T) {
	over := make(chan struct{})
	h := newHooked(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		text(http.StatusOK, sseKind, "event: result\ndata: {\"args\":[1]}\n\n")(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(over)
	})
	h.put(bridge.HookSpec{Procedure: "com.p", Timeout: bridge.Duration(5 * time.Minute)})
	if got := ask(t.Context(), h.join(t), wampcore.Payload{}, wampcore.CallOptions{}); got != `{"args":[1]}` {
		t.Errorf("got %s", got)
	}
	<-over
}

func TestServiceThatTricklesIsBounded(t *testing.T) {
	trickle := func(kind, piece string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", kind)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, piece); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				<-tick.C
			}
		}
	}
	h := newHooked(t, nil, func(c *bridge.HooksConfig) { c.MaxAnswer = 100 })
	h.put(bridge.HookSpec{Procedure: "com.p", Timeout: bridge.Duration(100 * time.Millisecond)})
	s := h.join(t)
	h.serve(trickle(jsonKind, ""))
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); !strings.HasPrefix(got, "wamp.error.timeout") {
		t.Errorf("nothing: got %s", got)
	}
	h.put(bridge.HookSpec{Procedure: "com.p"})
	h.serve(trickle(jsonKind, strings.Repeat(" ", 60)))
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); !strings.HasPrefix(got, "wamp.error.runtime_error") {
		t.Errorf("spaces: got %s", got)
	}
	for piece, want := range map[string]string{"data: 0123456789": "wamp.error.runtime_error", "data: 0123456789\n": "wamp.error.runtime_error"} {
		h.serve(trickle(sseKind, piece))
		if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %s", piece, got)
		}
	}
	h.serve(func(w http.ResponseWriter, _ *http.Request) { // headers without end
		for i := range 2000 {
			w.Header().Set(fmt.Sprintf("X-%d", i), string(make([]byte, 0, 1))+"0123456789012345678901234567890123456789")
		}
		w.WriteHeader(http.StatusOK)
	})
	if got := ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); !strings.HasPrefix(got, "wamp.error.network_failure") {
		t.Errorf("got %s", got)
	}
}

func TestRequestsAreSignedWithEachSecret(t *testing.T) {
	type request struct {
		header http.Header
		body   []byte
	}
	requests := make(chan request, 10)
	h := newHooked(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.Header, body}
	})
	secrets := []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 64))}
	h.put(bridge.HookSpec{Procedure: "com.p", Secrets: secrets})
	ask(t.Context(), h.join(t), payload(`["ä"]`, ""), wampcore.CallOptions{})
	got := <-requests
	for _, secret := range secrets {
		wh, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := wh.Verify(got.body, got.header); err != nil {
			t.Errorf("%v: %v", got.header, err)
		}
		if err := wh.Verify(append(got.body, ' '), got.header); err == nil {
			t.Error("another body is believed")
		}
	}
	if n := len(strings.Split(got.header.Get("Webhook-Signature"), " ")); n != 2 {
		t.Errorf("%d signatures", n)
	}
}

func TestEventsAreSentInTheFormatThatIsAskedFor(t *testing.T) {
	events := make(chan received, 100)
	h := newHooked(t, inOrder(events, func(int, http.ResponseWriter) {}))
	s := h.join(t)
	trace, _ := wampcore.NewRaw(wampcore.JSON, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	topic := wampcore.URI("com.tö\"")
	send := func(args string) wampcore.ID {
		id, err := s.Publish(t.Context(), topic, payload(args, `{"k":1.5}`), wampcore.PublishOptions{
			Acknowledge: true, DiscloseMe: true, Custom: wampcore.Attributes{{Key: "_traceparent", Value: trace}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	check := func(format bridge.Format, kind string, want, header map[string]string) {
		t.Helper()
		h.put(bridge.HookSpec{Topic: topic, Format: format})
		id := send(`[9007199254740993]`)
		e := receive(t, events)
		if e.header.Get("Content-Type") != kind || e.header.Get("Traceparent") == "" {
			t.Errorf("%s: got %v", format, e.header)
		}
		fill := strings.NewReplacer("ID", fmt.Sprint(id), "SESSION", fmt.Sprint(s.ID()))
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(e.body), &got); err != nil {
			t.Fatal(err)
		}
		for name, v := range want {
			if string(got[name]) != fill.Replace(v) {
				t.Errorf("%s: %s is %s, want %s", format, name, got[name], fill.Replace(v))
			}
		}
		for name, v := range header {
			if e.header.Get(name) != fill.Replace(v) {
				t.Errorf("%s: %s is %q, want %q", format, name, e.header.Get(name), fill.Replace(v))
			}
		}
	}
	check(bridge.FormatWAMP, jsonKind,
		map[string]string{"topic": `"com.tö\""`, "publication": "ID", "args": "[9007199254740993]", "kwargs": `{"k":1.5}`},
		map[string]string{"Wamp-Topic": "com.t%C3%B6%22", "Wamp-Publication": "ID", "Wamp-Publisher": "SESSION", "Webhook-Id": "ID", "Wamp-Attempt": "1"})
	check(bridge.FormatCloudEvents, "application/cloudevents+json", map[string]string{
		"specversion": `"1.0"`, "id": `"ID"`, "source": `"/realms/realm1"`, "type": `"com.tö\""`, "datacontenttype": `"application/json"`,
		"data": `{"args":[9007199254740993],"kwargs":{"k":1.5}}`, "wamppublisher": `"SESSION"`,
		"traceparent": `"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"`,
	}, nil)
	check(bridge.FormatBinary, jsonKind, map[string]string{"args": "[9007199254740993]", "kwargs": `{"k":1.5}`}, map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": "ID", "Ce-Source": "/realms/realm1", "Ce-Type": "com.t%C3%B6%22", "Ce-Wamppublisher": "SESSION",
	})
}

func TestBatchesAreAcknowledgedAsAWhole(t *testing.T) {
	gate := make(chan struct{})
	events := make(chan received, 100)
	h := newHooked(t, inOrder(events, func(n int, w http.ResponseWriter) {
		<-gate
		if n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	h.put(bridge.HookSpec{Topic: "com.t", Format: bridge.FormatBatch, Batch: 4})
	h.publishN(h.join(t), "com.t", 0, 1)
	first := receive(t, events)
	h.publishN(h.join(t), "com.t", 1, 11)
	close(gate)
	var got [][]int
	for n := 0; n < 11; {
		var batch []struct {
			Data struct{ Args []int }
		}
		if err := json.Unmarshal([]byte(first.body), &batch); err != nil || first.header.Get("Content-Type") != "application/cloudevents-batch+json" {
			t.Fatalf("%s: %v", first.body, err)
		}
		args := make([]int, 0, len(batch))
		for _, e := range batch {
			args = append(args, e.Data.Args[0])
		}
		got = append(got, args)
		if n = args[len(args)-1] + 1; n < 11 {
			first = receive(t, events)
		}
	}
	if d := cmp.Diff([][]int{{0}, {1, 2, 3, 4}, {1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10}}, got); d != "" {
		t.Error(d)
	}
	h.await("done", func(s bridge.HookStatus) bool { return s.Counts.Deliveries == 11 })
}

func TestLossOfTheRouterLosesNoEventsAndNoProcedure(t *testing.T) {
	events := make(chan received, 1000)
	h := newHooked(t, inOrder(events, func(int, http.ResponseWriter) {}))
	s := h.join(t)
	h.put(bridge.HookSpec{Topic: "com.t"})
	h.publishN(s, "com.t", 0, 5)
	for range 5 {
		receive(t, events)
	}
	h.cut(errors.New("the cable is out"))
	h.await("down", func(s bridge.HookStatus) bool { return s.State == bridge.HookDown })
	h.publishN(s, "com.t", 5, 200)
	h.cut(nil)
	for i := range 195 {
		if e := receive(t, events); arg(t, e.body) != 5+i || e.header.Get("Wamp-Gap") != "" {
			t.Fatalf("got %s %v, want %d", e.body, e.header, 5+i)
		}
	}
	h.publishN(s, "com.t", 200, 201)
	if n := arg(t, receive(t, events).body); n != 200 {
		t.Errorf("got %d", n)
	}
	h.serve(text(http.StatusNoContent, "", ""))
	h.put(bridge.HookSpec{Procedure: "com.p"})
	h.cut(nil)
	deadline := time.Now().Add(patience)
	for got := ""; got != "{}" && time.Now().Before(deadline); {
		if got = ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{}); got != "{}" && time.Now().After(deadline) {
			t.Errorf("got %s", got)
		}
	}
}

func TestWhatTheHistoryHasForgottenIsSaid(t *testing.T) {
	events, gate := make(chan received, 1000), make(chan struct{})
	h := newHooked(t, inOrder(events, func(int, http.ResponseWriter) { <-gate }), func(c *bridge.HooksConfig) { c.QueueEvents = 5 })
	s := h.join(t)
	h.put(bridge.HookSpec{Topic: "com.t"})
	h.publishN(s, "com.t", 0, 1)
	first := receive(t, events)
	h.publishN(s, "com.t", 1, 10)
	h.publishN(s, "com.flood", 0, 70_000) // more than the history keeps
	h.publishN(s, "com.t", 10, 12)
	close(gate)
	for i, want := range []int{0, 1, 2, 3, 4, 5, 10, 11} {
		e := first
		if i > 0 {
			e = receive(t, events)
		}
		if gap := e.header.Get("Wamp-Gap") != ""; arg(t, e.body) != want || gap != (i == 6) {
			t.Errorf("got %s, gap %t, want %d", e.body, gap, want)
		}
	}
	if st := h.await("done", func(s bridge.HookStatus) bool { return s.Counts.Deliveries == 8 }); st.Counts.Gaps != 1 {
		t.Errorf("got %+v", st)
	}
}

func TestEventsThatNoHistoryKeepsDoNotConfuseTheOrder(t *testing.T) {
	events, gate := make(chan received, 1000), make(chan struct{})
	h := newHooked(t, inOrder(events, func(int, http.ResponseWriter) { <-gate }), func(c *bridge.HooksConfig) { c.QueueEvents = 5 })
	s := h.join(t)
	h.put(bridge.HookSpec{Topic: "com.t"})
	h.publishN(s, "com.t", 0, 1)
	receive(t, events) // it is not in the queue any more
	h.publishN(s, "com.t", 1, 4)
	for i := range 2 { // the last that is kept in the queue are not kept in the history
		_, err := s.Publish(t.Context(), "com.t", payload(fmt.Sprintf("[%d]", 4+i), ""), wampcore.PublishOptions{Acknowledge: true, Exclude: []wampcore.ID{7}})
		if err != nil {
			t.Fatal(err)
		}
	}
	h.publishN(s, "com.t", 6, 20)
	close(gate)
	for i := range 19 {
		if n := arg(t, receive(t, events).body); n != 1+i {
			t.Fatalf("got %d, want %d", n, 1+i)
		}
	}
}

func TestProcedureThatTheRouterTakesAwayDisablesItsHook(t *testing.T) {
	h := newHooked(t, text(http.StatusNoContent, "", ""))
	h.put(bridge.HookSpec{Procedure: "com.p"})
	s := h.join(t)
	ctx := t.Context()
	id, err := client.Call[wampcore.ID](ctx, s, "wamp.registration.match", "com.p")
	if err != nil {
		t.Fatal(err)
	}
	callees, err := client.Call[[]wampcore.ID](ctx, s, "wamp.registration.list_callees", id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Call(ctx, "wamp.registration.remove_callee", payload(fmt.Sprintf("[%d,%d]", id, callees[0]), `{"reason":"enough"}`), wampcore.CallOptions{}); err != nil {
		t.Fatal(err)
	}
	st := h.await("disabled", func(s bridge.HookStatus) bool { return s.State == bridge.HookDisabled })
	if !strings.HasSuffix(st.Reason, "enough") {
		t.Errorf("got %s", st.Reason)
	}
	h.put(bridge.HookSpec{Procedure: "com.p"})
	if got := ask(ctx, s, wampcore.Payload{}, wampcore.CallOptions{}); got != "{}" {
		t.Errorf("got %s", got)
	}
}

func TestHooksOfTheConfigurationComeGoAndStayAsItSays(t *testing.T) {
	h := newHooked(t, text(http.StatusNoContent, "", ""))
	hook := func(name, procedure string) bridge.ConfiguredHook {
		return bridge.ConfiguredHook{Principal: anybody, Name: name, Spec: bridge.HookSpec{Procedure: wampcore.URI(procedure), URL: h.url}}
	}
	states := func() (all []string) {
		for _, s := range h.hooks.List(anybody) {
			all = append(all, fmt.Sprintf("%s %s %d", s.Name, s.Procedure, s.Counts.Calls))
		}
		return all
	}
	s := h.join(t)
	for _, c := range []struct {
		hooks []bridge.ConfiguredHook
		want  []string
	}{
		{[]bridge.ConfiguredHook{hook("h", "com.p"), hook("b", "com.b")}, []string{"b com.b 0", "h com.p 1"}},
		{[]bridge.ConfiguredHook{hook("h", "com.p"), hook("b", "com.c")}, []string{"b com.c 0", "h com.p 2"}},
		{[]bridge.ConfiguredHook{hook("h", "com.p")}, []string{"h com.p 3"}},
	} {
		if err := h.hooks.Reconfigure(c.hooks); err != nil {
			t.Fatal(err)
		}
		h.await("ready", func(s bridge.HookStatus) bool { return s.State == bridge.HookReady })
		ask(t.Context(), s, wampcore.Payload{}, wampcore.CallOptions{})
		if d := cmp.Diff(c.want, states()); d != "" {
			t.Error(d)
		}
	}
	if _, err := h.hooks.Put(t.Context(), anybody, "h", hook("h", "com.x").Spec); !errors.Is(err, bridge.ErrHookConfigured) {
		t.Errorf("got %v", err)
	}
	other := anybody
	other.AuthRole = "other"
	if _, err := h.hooks.Status(other, "h"); !errors.Is(err, bridge.ErrNoHook) {
		t.Errorf("got %v", err)
	}
	if stats := h.hooks.Stats(); len(stats) != 1 || stats[0].Name != "h" || stats[0].Calls != 3 || stats[0].Kind != "procedure" {
		t.Errorf("got %+v", stats)
	}
}

func TestCloseLetsRequestsFinishAndCutsThemInTheEnd(t *testing.T) {
	for _, patient := range []bool{true, false} {
		began, gate := make(chan struct{}, 2), make(chan struct{})
		h := newHooked(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			began <- struct{}{}
			select {
			case <-gate:
			case <-r.Context().Done():
			}
			text(http.StatusOK, jsonKind, `{"args":[1]}`)(w, r)
		})
		h.put(bridge.HookSpec{Procedure: "com.p"})
		if _, err := h.hooks.Put(t.Context(), anybody, "t", bridge.HookSpec{Topic: "com.t", URL: h.url}); err != nil {
			t.Fatal(err)
		}
		s := h.join(t)
		answers := make(chan string, 1)
		go func() { answers <- ask(context.Background(), s, wampcore.Payload{}, wampcore.CallOptions{}) }()
		h.publishN(s, "com.t", 0, 1)
		<-began
		<-began
		ctx, cancel := context.WithCancel(context.Background())
		closed := make(chan error, 1)
		go func() { closed <- h.hooks.Close(ctx) }()
		if patient {
			close(gate)
		} else {
			cancel()
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if got := <-answers; patient && got != `{"args":[1]}` || !patient && !strings.HasPrefix(got, "wamp.error.canceled") {
			t.Errorf("patient %t: got %s", patient, got)
		}
		cancel()
	}
}

func TestHookWithoutAHistoryDeliversWhatItHasAndSaysTheRest(t *testing.T) {
	events, gate := make(chan received, 1000), make(chan struct{})
	n := connectTo(t, false, router.RealmConfig{History: router.HistoryConfig{Off: true}}, bridge.Config{})
	h := newHookedOn(t, n, inOrder(events, func(int, http.ResponseWriter) { <-gate }), func(c *bridge.HooksConfig) { c.QueueEvents = 5 })
	s := h.join(t)
	h.put(bridge.HookSpec{Topic: "com.t"})
	h.publishN(s, "com.t", 0, 1)
	receive(t, events)
	h.publishN(s, "com.t", 1, 20)
	h.await("behind", func(s bridge.HookStatus) bool { return s.Lag.Events == 20 }) // all have come
	close(gate)
	for i := range 5 {
		if n := arg(t, receive(t, events).body); n != 1+i {
			t.Errorf("got %d, want %d", n, 1+i)
		}
	}
	h.await("live again", func(s bridge.HookStatus) bool { return s.Counts.Gaps == 1 && s.Lag.Events == 0 })
	h.publishN(s, "com.t", 20, 21)
	if e := receive(t, events); arg(t, e.body) != 20 || e.header.Get("Wamp-Gap") == "" {
		t.Errorf("got %s %v", e.body, e.header)
	}
}
