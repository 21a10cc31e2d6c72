package bridge

import (
	"context"
	"slices"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// Observer is told of what is asked of the router, and of hooks, by any number of goroutines. It is how spans and metrics are made
// without the bridge knowing of either.
type Observer interface {
	// Begin is told of an operation, and of the trace that it is a part of where that is not in ctx. It returns the context for what the
	// operation does, and the trace to pass on; the zero Trace is for none of the observer's making.
	Begin(ctx context.Context, op Operation, t Trace) (context.Context, Trace)
	// End is told of the same operation, with the context that Begin gave it.
	End(ctx context.Context, op Operation, took time.Duration, err error)
}

// Operation is what is observed.
type Operation struct {
	Action Action
	URI    wampcore.URI // the procedure or the topic
}

// Action is what an operation does.
type Action uint8

// The bridge calls and publishes, hooks are invoked and delivered to.
const (
	Calling Action = iota
	Publishing
	Invoking
	Delivering
)

// String returns the action's name.
func (a Action) String() string { return [...]string{"call", "publish", "invoke", "deliver"}[a] }

// Trace is a trace context as W3C writes it: traceparent and tracestate.
type Trace struct{ Parent, State string }

// The options that carry a trace context through WAMP.
const (
	traceParent = "_traceparent"
	traceState  = "_tracestate"
)

// TraceOf returns the trace context of a message.
func TraceOf(custom wampcore.Attributes) Trace {
	var t Trace
	for _, a := range custom {
		switch a.Key {
		case traceParent:
			_ = a.Value.Decode(&t.Parent) // what is no text is none
		case traceState:
			_ = a.Value.Decode(&t.State)
		}
	}
	return t
}

// in returns custom with the trace context, instead of one that it had. The zero Trace changes nothing.
func (t Trace) in(custom wampcore.Attributes) wampcore.Attributes {
	if t == (Trace{}) {
		return custom
	}
	custom = slices.DeleteFunc(slices.Clone(custom), func(a wampcore.Attribute) bool { return a.Key == traceParent || a.Key == traceState })
	for _, a := range []struct{ key, text string }{{traceParent, t.Parent}, {traceState, t.State}} {
		if b, err := marshal(a.text); err == nil && a.text != "" {
			custom = append(custom, wampcore.Attribute{Key: a.key, Value: wampcore.Raw{Encoding: wampcore.JSON, Bytes: b}})
		}
	}
	return custom
}

// observe tells the observer of an operation that begins. done, which returns its argument, tells it of the end.
func (b *Bridge) observe(ctx context.Context, op Operation) (_ context.Context, passed Trace, done func(error) error) {
	return observe(ctx, b.cfg.Observer, op, Trace{})
}

// observe tells an observer, if there is one.
func observe(ctx context.Context, o Observer, op Operation, t Trace) (_ context.Context, passed Trace, done func(error) error) {
	if o == nil {
		return ctx, Trace{}, unobserved
	}
	began := time.Now()
	ctx, passed = o.Begin(ctx, op, t)
	return ctx, passed, func(err error) error {
		o.End(ctx, op, time.Since(began), err)
		return err
	}
}

func unobserved(err error) error { return err }
