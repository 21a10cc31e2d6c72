package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

// tracer makes spans of HTTP requests, of what they ask the router for, and of hooks. A nil one makes none.
type tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	sampling sampling
}

// newTracer reads OpenTelemetry's variables. It returns nil where they name no collector.
func newTracer(ctx context.Context, environ []string, log zerolog.Logger) (*tracer, error) {
	vars := map[string]string{}
	for _, line := range environ {
		if name, value, _ := strings.Cut(line, "="); strings.HasPrefix(name, "OTEL_") {
			vars[name] = value
		}
	}
	collector, err := newOTLP(vars)
	if err != nil || collector == nil || strings.EqualFold(vars["OTEL_SDK_DISABLED"], "true") || vars["OTEL_TRACES_EXPORTER"] == "none" {
		return nil, err
	}
	s, err := newSampling(vars["OTEL_TRACES_SAMPLER"], vars["OTEL_TRACES_SAMPLER_ARG"])
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "wampgate"), attribute.String("service.version", buildVersion()),
	), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter, err := otlptrace.New(ctx, collector)
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn().Err(err).Msg("traces are lost") }))
	t := &tracer{sampling: s, provider: sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), sdktrace.WithResource(about), sdktrace.WithSampler(sdktrace.AlwaysSample()),
	)}
	t.tracer = t.provider.Tracer("github.com/wampgate/wampgate")
	log.Info().Str("collector", collector.where()).Msg("tracing")
	return t, nil
}

// where is the collector's address, without what may be secret in it.
func (o *otlp) where() string {
	address, _, _ := strings.Cut(o.url, "?")
	if scheme, rest, ok := strings.Cut(address, "://"); ok {
		if _, host, ok := strings.Cut(rest, "@"); ok {
			return scheme + "://" + host
		}
	}
	return address
}

// traceGrace is how long the collector may take for the last spans: one that is not there does not keep the gateway.
const traceGrace = time.Second

// close sends what is left.
func (t *tracer) close(ctx context.Context, log zerolog.Logger) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, traceGrace)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		log.Warn().Err(err).Msg("traces are lost")
	}
}

// sampling decides before a span is begun: one that is not sampled costs nearly as much as one that is.
type sampling struct {
	parents bool    // a parent's decision counts
	ratio   float64 // of the others
}

// newSampling reads OpenTelemetry's names.
func newSampling(name, arg string) (sampling, error) {
	base, parents := strings.CutPrefix(name, "parentbased_")
	s := sampling{parents: parents || name == "", ratio: 1}
	switch base {
	case "", "always_on":
	case "always_off":
		s.ratio = 0
	case "traceidratio":
		if arg == "" {
			break
		}
		ratio, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(ratio >= 0 && ratio <= 1) { // NaN is neither
			return s, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q is not from 0 to 1", arg)
		}
		s.ratio = ratio
	default:
		return s, fmt.Errorf("OTEL_TRACES_SAMPLER: %q is not known; want always_on, always_off, traceidratio, or one of these after parentbased_", name)
	}
	return s, nil
}

func (s sampling) samples(parent trace.SpanContext) bool {
	if s.parents && parent.IsValid() {
		return parent.IsSampled()
	}
	return rand.Float64() < s.ratio
}

// begin begins the span of an HTTP request, if it is sampled. If not, and nobody else has decided, those who come after are told.
func (t *tracer) begin(r *http.Request) *http.Request {
	if isPlumbing(r.URL.Path) {
		return r
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	parent := trace.SpanContextFromContext(ctx)
	if !t.sampling.samples(parent) {
		if !parent.IsValid() {
			r.Header["Traceparent"] = []string{unsampled()}
		}
		return r
	}
	ctx, _ = t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", knownMethod(r.Method)),
		attribute.String("url.path", r.URL.Path),
		attribute.String("network.protocol.version", strings.TrimPrefix(r.Proto, "HTTP/")),
		attribute.String("user_agent.original", r.UserAgent()),
	))
	return r.WithContext(ctx)
}

// isPlumbing reports whether a path is of probes, or carries native clients.
func isPlumbing(path string) bool {
	switch path {
	case "/livez", "/readyz", "/startupz", "/metrics", "/openapi.yaml", "/ws":
		return true
	default:
		return strings.HasPrefix(path, "/longpoll/")
	}
}

// unsampled is the trace context of a trace that nobody is to record.
func unsampled() string {
	var b [24]byte
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	b[0] |= 1 // neither id may be zero
	b[16] |= 1
	return "00-" + hex.EncodeToString(b[:16]) + "-" + hex.EncodeToString(b[16:]) + "-00"
}

// end ends the span of a request.
func (t *tracer) end(r *http.Request, answer httpapi.Answer) {
	span := trace.SpanFromContext(r.Context())
	if !span.IsRecording() {
		return
	}
	if answer.Route != "" {
		span.SetName(r.Method + " " + answer.Route)
		span.SetAttributes(attribute.String("http.route", answer.Route))
	}
	span.SetAttributes(attribute.Int("http.response.status_code", answer.Status))
	if answer.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// beginOperation begins the span of something that is asked of the router, or of a hook: a part of the request that asks, or of
// the trace of the message that it comes with.
func (t *tracer) beginOperation(ctx context.Context, op bridge.Operation, from bridge.Trace) (context.Context, bridge.Trace) {
	switch op.Action {
	case bridge.Calling, bridge.Publishing:
		if !trace.SpanContextFromContext(ctx).IsSampled() {
			return ctx, bridge.Trace{}
		}
	case bridge.Invoking, bridge.Delivering:
		carrier := propagation.MapCarrier{"traceparent": from.Parent, "tracestate": from.State}
		ctx = propagation.TraceContext{}.Extract(ctx, carrier)
		if !t.sampling.samples(trace.SpanContextFromContext(ctx)) {
			return ctx, bridge.Trace{}
		}
	}
	kind := trace.SpanKindClient
	if op.Action == bridge.Publishing {
		kind = trace.SpanKindProducer
	}
	ctx, span := t.tracer.Start(ctx, op.Action.String()+" "+string(op.URI), trace.WithSpanKind(kind), trace.WithAttributes(
		attribute.String("rpc.system", "wamp"), attribute.String("wamp.action", op.Action.String()), attribute.String("wamp.uri", string(op.URI)),
	))
	passed := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, passed)
	return context.WithValue(ctx, operationSpan{}, span), bridge.Trace{Parent: passed["traceparent"], State: passed["tracestate"]}
}

// operationSpan is a context's key to the span of the operation that it is of.
type operationSpan struct{}

// endOperation ends the span of an operation, whose context ctx is.
func (t *tracer) endOperation(ctx context.Context, err error) {
	span, ok := ctx.Value(operationSpan{}).(trace.Span)
	if !ok {
		return
	}
	if err != nil {
		text := resultOf(err)
		if e, ok := errors.AsType[*wampcore.Error](err); ok {
			text = string(e.URI) // its text may be anything
		}
		span.SetStatus(codes.Error, text)
		span.SetAttributes(attribute.String("error.type", text))
	}
	span.End()
}

// observer is told of all that is done: it makes the metrics, and the spans if there are to be any.
type observer struct {
	metrics *metrics
	tracer  *tracer // nil: there are none
}

// Begin is told of a request.
func (o observer) Begin(r *http.Request) *http.Request {
	o.metrics.begin()
	if o.tracer == nil {
		return r
	}
	return o.tracer.begin(r)
}

// End is told of its answer.
func (o observer) End(r *http.Request, answer httpapi.Answer) {
	o.metrics.answered(r.Method, answer)
	if o.tracer != nil {
		o.tracer.end(r, answer)
	}
}

// operations is the bridge's and the hooks' observer.
type operations observer

// Begin is told of an operation.
func (o operations) Begin(ctx context.Context, op bridge.Operation, from bridge.Trace) (context.Context, bridge.Trace) {
	if o.tracer == nil {
		return ctx, bridge.Trace{}
	}
	return o.tracer.beginOperation(ctx, op, from)
}

// End is told of its end.
func (o operations) End(ctx context.Context, op bridge.Operation, took time.Duration, err error) {
	o.metrics.operationEnded(op, took, err)
	if o.tracer != nil {
		o.tracer.endOperation(ctx, err)
	}
}
