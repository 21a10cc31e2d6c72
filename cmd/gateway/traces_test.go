package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

// collector is a stub of one.
type collector struct {
	*httptest.Server

	mu     sync.Mutex
	spans  []*tracepb.Span
	header http.Header
	about  string
	busy   int // answers 503 so many times
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := new(collector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.busy > 0 {
			c.busy--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		b, err := io.ReadAll(body)
		data := new(tracepb.TracesData)
		if err != nil || proto.Unmarshal(b, data) != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("what came to %s is no export: %v", r.URL, err)
		}
		c.header = r.Header
		for _, of := range data.ResourceSpans {
			c.about = of.Resource.String()
			for _, s := range of.ScopeSpans {
				c.spans = append(c.spans, s.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func newTestTracer(t *testing.T, c *collector, environ ...string) *tracer {
	t.Helper()
	tr, err := newTracer(t.Context(), append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL}, environ...), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

const sampledParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestSpansOfARequestAndItsCallReachTheCollector(t *testing.T) {
	c := newCollector(t)
	c.busy = 1
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "team=x")
	tr := newTestTracer(t, c, "OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20b", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip")
	m := newMetrics(func() snapshot { return snapshot{} }, nil, nil)
	o, ops := observer{m, tr}, operations{m, tr}
	r := httptest.NewRequest(http.MethodPost, "/v1/call/com.example.p?token=hunter2", nil)
	r.Header.Set("Traceparent", sampledParent)
	r.Header.Set("Tracestate", "a=b")
	r.Header.Set("Authorization", "Bearer hunter2")
	r = o.Begin(r)
	op := bridge.Operation{Action: bridge.Calling, URI: "com.example.p"}
	ctx, passed := ops.Begin(r.Context(), op, bridge.Trace{})
	ops.End(ctx, op, time.Millisecond, &wampcore.Error{URI: "com.example.error", Message: "hunter2"})
	o.End(r, httpapi.Answer{Route: "/v1/call/{procedure}", Status: 500})
	tr.close(t.Context(), zerolog.Nop())

	if len(c.spans) != 2 {
		t.Fatalf("got %d spans, want 2", len(c.spans))
	}
	call, request := c.spans[0], c.spans[1]
	if request.Name != "POST /v1/call/{procedure}" || request.Kind != tracepb.Span_SPAN_KIND_SERVER || hexOf(request.ParentSpanId) != "b7ad6b7169203331" {
		t.Errorf("the request's span: %v", request)
	}
	if call.Name != "call com.example.p" || call.Kind != tracepb.Span_SPAN_KIND_CLIENT || hexOf(call.ParentSpanId) != hexOf(request.SpanId) {
		t.Errorf("the call's span: %v", call)
	}
	if want := (bridge.Trace{Parent: "00-0af7651916cd43dd8448eb211c80319c-" + hexOf(call.SpanId) + "-01", State: "a=b"}); passed != want {
		t.Errorf("passed on: got %v, want %v", passed, want)
	}
	if strings.Contains(call.String()+request.String(), "hunter2") {
		t.Errorf("a secret is in the spans: %v %v", call, request)
	}
	if !strings.Contains(call.String(), "com.example.error") || request.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("the error: %v %v", call, request)
	}
	if c.header.Get("Api-Key") != "a b" || !strings.Contains(c.about, "wampgate") || !strings.Contains(c.about, "team") {
		t.Errorf("headers %v, resource %s", c.header, c.about)
	}
}

func hexOf(id []byte) string {
	var s trace.SpanID
	copy(s[:], id)
	return s.String()
}

func TestHooksAreInTheTraceOfTheirMessage(t *testing.T) {
	c := newCollector(t)
	tr := newTestTracer(t, c)
	op := bridge.Operation{Action: bridge.Invoking, URI: "com.example.p"}
	ctx, passed := tr.beginOperation(t.Context(), op, bridge.Trace{Parent: sampledParent})
	tr.endOperation(ctx, nil)
	tr.close(t.Context(), zerolog.Nop())
	if len(c.spans) != 1 || hexOf(c.spans[0].ParentSpanId) != "b7ad6b7169203331" || !strings.HasPrefix(passed.Parent, sampledParent[:36]) || passed.Parent == sampledParent {
		t.Errorf("got %v, passed on %v", c.spans, passed)
	}
}

func TestWhatIsNotSampledHasNoSpanAndSaysSo(t *testing.T) {
	c := newCollector(t)
	tr := newTestTracer(t, c, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0")
	for _, parent := range []string{"", sampledParent[:54] + "0", "nonsense"} {
		r := httptest.NewRequest(http.MethodPost, "/v1/call/p", nil)
		if parent != "" {
			r.Header.Set("Traceparent", parent)
		}
		r = tr.begin(r)
		got := r.Header.Get("Traceparent")
		if trace.SpanFromContext(r.Context()).IsRecording() || !strings.HasSuffix(got, "-00") || len(got) != len(sampledParent) {
			t.Errorf("%q: passed on %q", parent, got)
		}
		if ctx, passed := tr.beginOperation(r.Context(), bridge.Operation{}, bridge.Trace{}); passed != (bridge.Trace{}) || ctx != r.Context() {
			t.Errorf("a call has a span: %v", passed)
		}
		tr.end(r, httpapi.Answer{})
	}
	for _, path := range []string{"/livez", "/ws", "/longpoll/x/send"} {
		r := httptest.NewRequest(http.MethodPost, path, nil)
		if tr.begin(r) != r || r.Header.Get("Traceparent") != "" {
			t.Errorf("%s has a span", path)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/v1/call/p", nil)
	r.Header.Set("Traceparent", sampledParent)
	if r = tr.begin(r); !trace.SpanFromContext(r.Context()).IsRecording() {
		t.Error("a sampled parent does not count")
	}
	tr.close(t.Context(), zerolog.Nop())
	if len(c.spans) != 0 { // the one above has not ended
		t.Errorf("got %v", c.spans)
	}
}

func TestSamplersByTheirNames(t *testing.T) {
	sampled := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})
	not := sampled.WithTraceFlags(0)
	for _, c := range []struct {
		name, arg              string
		root, ofSampled, ofNot bool
	}{
		{"", "", true, true, false},
		{"always_on", "", true, true, true},
		{"always_off", "", false, false, false},
		{"traceidratio", "1", true, true, true},
		{"traceidratio", "0", false, false, false},
		{"parentbased_always_on", "", true, true, false},
		{"parentbased_always_off", "", false, true, false},
		{"parentbased_traceidratio", "0", false, true, false},
	} {
		s, err := newSampling(c.name, c.arg)
		if err != nil || s.samples(trace.SpanContext{}) != c.root || s.samples(sampled) != c.ofSampled || s.samples(not) != c.ofNot {
			t.Errorf("%s %s: %+v, %v", c.name, c.arg, s, err)
		}
	}
	half, n := sampling{ratio: .5}, 0
	for range 1000 {
		if half.samples(not) {
			n++
		}
	}
	if n < 400 || n > 600 {
		t.Errorf("a half is %d of 1000", n)
	}
}

func TestMistakesInOpenTelemetrysVariables(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	notPEM := filepath.Join(t.TempDir(), "ca")
	_ = os.WriteFile(notPEM, nil, 0o600)
	for _, c := range []struct{ variable, says string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317", "OTEL_EXPORTER_OTLP_ENDPOINT: want a URL"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "http/protobuf is"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT=10s", "no number of milliseconds"},
		{"OTEL_EXPORTER_OTLP_HEADERS=hunter2", "pair 1 is not name=value"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + notPEM, "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		{"OTEL_TRACES_SAMPLER=sometimes", "OTEL_TRACES_SAMPLER"},
		{"OTEL_TRACES_SAMPLER=traceidratio", ""},
		{"OTEL_SDK_DISABLED=true", ""},
	} {
		tr, err := newTracer(t.Context(), []string{endpoint, c.variable}, zerolog.Nop())
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: got %v", c.variable, err)
		}
		tr.close(t.Context(), zerolog.Nop())
	}
	if _, err := newTracer(t.Context(), []string{endpoint, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=NaN"}, zerolog.Nop()); err == nil {
		t.Error("not a number is a ratio")
	}
	if tr, err := newTracer(t.Context(), []string{"OTEL_SERVICE_NAME=x"}, zerolog.Nop()); tr != nil || err != nil {
		t.Errorf("without a collector: got %v, %v", tr, err)
	}
}

func TestCollectorThatIsNotThereHoldsNobodyUp(t *testing.T) {
	var tries atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tries.Add(1)
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer srv.Close()
	o, err := newOTLP(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": srv.URL + "/"})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.UploadTraces(t.Context(), nil); err == nil || tries.Load() != 1 {
		t.Errorf("got %v after %d tries, want one", err, tries.Load())
	}
	srv.Close()
	tr, err := newTracer(t.Context(), []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + srv.URL}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, _ := tr.beginOperation(t.Context(), bridge.Operation{Action: bridge.Invoking}, bridge.Trace{})
	tr.endOperation(ctx, nil)
	var log bytes.Buffer
	tr.close(t.Context(), zerolog.New(&log)) // it would try for a minute
	if !strings.Contains(log.String(), "traces are lost") {
		t.Errorf("got %s", log.String())
	}
}

func TestNoTracesCostNothing(t *testing.T) {
	ops := operations{newMetrics(func() snapshot { return snapshot{} }, nil, nil), nil}
	o := observer(ops)
	r := httptest.NewRequest(http.MethodPost, "/v1/call/p", nil)
	op := bridge.Operation{URI: "p"}
	if n := testing.AllocsPerRun(100, func() {
		r2 := o.Begin(r)
		ctx, _ := ops.Begin(r2.Context(), op, bridge.Trace{})
		ops.End(ctx, op, time.Millisecond, nil)
		o.End(r2, httpapi.Answer{Route: "/v1/call/{procedure}", Status: 200, Took: time.Millisecond})
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func BenchmarkObservedCall(b *testing.B) {
	m := newMetrics(func() snapshot { return snapshot{} }, nil, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	tr, err := newTracer(b.Context(), []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + srv.URL}, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	defer tr.close(b.Context(), zerolog.Nop())
	off := &tracer{tracer: tr.tracer, sampling: sampling{parents: true}}
	for _, c := range []struct {
		name   string
		tracer *tracer
	}{{"no traces", nil}, {"not sampled", off}, {"sampled", tr}} {
		b.Run(c.name, func(b *testing.B) {
			o, ops := observer{m, c.tracer}, operations{m, c.tracer}
			op := bridge.Operation{URI: "p"}
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/v1/call/p", nil)
				r = o.Begin(r)
				ctx, _ := ops.Begin(r.Context(), op, bridge.Trace{})
				ops.End(ctx, op, time.Millisecond, nil)
				o.End(r, httpapi.Answer{Route: "/v1/call/{procedure}", Status: 200, Took: time.Millisecond})
			}
		})
	}
}

func FuzzOTLPHeaders(f *testing.F) {
	for _, list := range []string{"", "a=b", "a=b,c=d%20e", "a", "=b", "a=%", " a = b ,", "a=b=c"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		header, err := otlpHeaders(list)
		if err == nil && len(header) > strings.Count(list, ",")+1 {
			t.Errorf("%q has %d headers", list, len(header))
		}
		if err != nil && len(err.Error()) > 100 {
			t.Errorf("%q: %v", list, err)
		}
	})
}
