package bridge

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wampgate/wampgate/wampcore"
)

// told is an observer that remembers, and makes a trace.
type told struct {
	pass  Trace
	begun []Operation
	ended []error
}

func (o *told) Begin(ctx context.Context, op Operation, _ Trace) (context.Context, Trace) {
	o.begun = append(o.begun, op)
	return ctx, o.pass
}

func (o *told) End(_ context.Context, _ Operation, _ time.Duration, err error) {
	o.ended = append(o.ended, err)
}

func text(s string) wampcore.Raw {
	return wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte(`"` + s + `"`)}
}

func TestObserverIsToldOfCallsAndPublications(t *testing.T) {
	o := new(told)
	b := New(Config{
		Dial:     func(context.Context, Principal) (wampcore.Transport, error) { return nil, errors.New("nobody there") },
		Observer: o,
	})
	defer func() { _ = b.Close(t.Context()) }()
	_, callErr := b.Call(t.Context(), Principal{Realm: "realm1"}, "com.example.p", CallRequest{})
	_, publishErr := b.Publish(t.Context(), Principal{Realm: "realm1"}, "com.example.t", PublishRequest{})
	if diff := cmp.Diff([]Operation{{Calling, "com.example.p"}, {Publishing, "com.example.t"}}, o.begun); diff != "" {
		t.Error(diff)
	}
	if callErr == nil || publishErr == nil || len(o.ended) != 2 || !errors.Is(o.ended[0], callErr) || !errors.Is(o.ended[1], publishErr) {
		t.Errorf("got %v, want %v and %v", o.ended, callErr, publishErr)
	}
}

func TestTraceReplacesTheOneOfTheRequest(t *testing.T) {
	came := wampcore.Attributes{{Key: "_traceparent", Value: text("a")}, {Key: "_x_other", Value: text("b")}, {Key: "_tracestate", Value: text("c")}}
	want := wampcore.Attributes{{Key: "_x_other", Value: text("b")}, {Key: "_traceparent", Value: text("d")}}
	if got := (Trace{Parent: "d"}).in(came); !cmp.Equal(want, got) {
		t.Error(cmp.Diff(want, got))
	}
	if got := (Trace{}).in(came); !cmp.Equal(came, got) {
		t.Error(cmp.Diff(came, got))
	}
	if got, want := TraceOf(came), (Trace{"a", "c"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	odd := wampcore.Attributes{{Key: "_traceparent", Value: wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte("{}")}}}
	if got := TraceOf(odd); got != (Trace{}) {
		t.Errorf("got %v", got)
	}
}

func TestNobodyToTellCostsNothing(t *testing.T) {
	b, ctx := New(Config{}), t.Context()
	custom := wampcore.Attributes{{Key: "_x", Value: text("y")}}
	if n := testing.AllocsPerRun(100, func() {
		_, trace, done := b.observe(ctx, Operation{Calling, "p"})
		_ = trace.in(custom)
		_ = done(nil)
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}
