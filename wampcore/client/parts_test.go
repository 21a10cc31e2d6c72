package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// pair returns a callee that offers p by h, and a caller, in one realm.
func pair(t *testing.T, h client.InvocationHandler) (callee, caller *client.Session) {
	t.Helper()
	r := newRouter(t)
	callee, caller = join(t, r.Dial(), client.Config{EventQueue: 8}), join(t, r.Dial(), client.Config{EventQueue: 8})
	if _, err := callee.Register(t.Context(), "p", h, wampcore.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	return callee, caller
}

func number(n int) wampcore.Payload { return args(fmt.Sprintf("[%d]", n)) }

// collect returns what comes, finals marked, and the error that ends it.
func collect(parts iter.Seq2[client.Part, error]) (got []string, err error) {
	for part, e := range parts {
		if e != nil {
			return got, e
		}
		s := string(part.Payload.Args)
		if part.Final {
			s += " final"
		}
		got = append(got, s)
	}
	return got, nil
}

func TestProgressiveResultsComeInOrderAndTheFinalOneLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, caller := pair(t, func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			for i := range 3 {
				if err := inv.Progress(ctx, number(i)); err != nil {
					return wampcore.Payload{}, err
				}
			}
			return number(9), nil
		})
		got, err := collect(caller.CallParts(t.Context(), "p", number(0), wampcore.CallOptions{}))
		if want := []string{"[0]", "[1]", "[2]", "[9] final"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		plain, err := caller.Call(t.Context(), "p", number(0), wampcore.CallOptions{})
		if err != nil || string(plain.Args) != "[9]" {
			t.Errorf("a plain call got %s, %v", plain.Args, err)
		}
	})
}

func TestCallInPartsIsAnsweredWhileItIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, caller := pair(t, func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			n := 0
			for part := range inv.Parts(ctx) {
				n++
				if err := inv.Progress(ctx, part.Payload); err != nil {
					return wampcore.Payload{}, err
				}
			}
			return number(n), ctx.Err()
		})
		heard := make(chan struct{})
		parts := func(context.Context) iter.Seq[client.Part] {
			return func(yield func(client.Part) bool) {
				for i := range 3 {
					if !yield(client.Part{Payload: number(i)}) {
						return
					}
					<-heard // the answer to this part, before the next one is made
				}
			}
		}
		var got []string
		for part, err := range caller.Exchange(t.Context(), "p", parts, wampcore.CallOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(part.Payload.Args))
			if len(got) <= 3 {
				heard <- struct{}{}
			}
		}
		if want := []string{"[0]", "[1]", "[2]", "", "[4]"}; !slices.Equal(got, want) { // the empty one ends the call
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestCallThatIsAnsweredBeforeItIsMadeEndsItsParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, caller := pair(t, func(context.Context, *client.Invocation) (wampcore.Payload, error) { return number(1), nil })
		var made atomic.Int32
		endless := func(ctx context.Context) iter.Seq[client.Part] {
			return func(yield func(client.Part) bool) {
				for yield(client.Part{Payload: number(0)}) {
					made.Add(1)
					if made.Load() > 1 {
						<-ctx.Done()
						return
					}
				}
			}
		}
		got, err := collect(caller.Exchange(t.Context(), "p", endless, wampcore.CallOptions{}))
		if err != nil || !slices.Equal(got, []string{"[1] final"}) {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := caller.Call(t.Context(), "p", number(0), wampcore.CallOptions{}); err != nil {
			t.Errorf("the session is not as before: %v", err)
		}
	})
}

func TestWhoStopsTakingResultsCancelsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		_, caller := pair(t, func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			err := inv.Progress(ctx, number(1))
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return wampcore.Payload{}, err
		})
		for range caller.CallParts(t.Context(), "p", number(0), wampcore.CallOptions{}) {
			break
		}
		expectErr(t, <-ended, &wampcore.Error{URI: wampcore.ErrCanceled})
	})
}

func TestResultsThatAreNotTakenEndTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		_, caller := pair(t, func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			defer close(ended)
			for ctx.Err() == nil {
				_ = inv.Progress(ctx, number(1))
			}
			return wampcore.Payload{}, ctx.Err()
		})
		n := 0
		var last error
		for _, err := range caller.CallParts(t.Context(), "p", number(0), wampcore.CallOptions{}) {
			if n++; n == 1 {
				<-ended
			}
			last = err
		}
		if last == nil || n > 20 {
			t.Errorf("got %d results, then %v", n, last)
		}
	})
}

func TestProgressiveResultsThatWaitAreBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		callee, caller := join(t, r.Dial(), client.Config{}), join(t, r.Dial(), client.Config{PartBytes: 3000})
		ended := make(chan struct{})
		large := args(`["` + strings.Repeat("x", 1000) + `"]`)
		_, err := callee.Register(t.Context(), "p", func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			defer close(ended)
			for ctx.Err() == nil {
				_ = inv.Progress(ctx, large)
			}
			return wampcore.Payload{}, ctx.Err()
		}, wampcore.RegisterOptions{})
		expectErr(t, err, nil)
		n := 0
		var last error
		for _, err := range caller.CallParts(t.Context(), "p", number(0), wampcore.CallOptions{}) {
			if n++; n == 1 {
				<-ended
			}
			last = err
		}
		if !errors.Is(last, client.ErrSlow) || n > 5 {
			t.Errorf("got %d results, then %v", n, last)
		}
	})
}

func TestTestamentIsPublishedWhenTheSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		s, heir := join(t, r.Dial(), client.Config{}), join(t, r.Dial(), client.Config{})
		events := make(chan string, 4)
		_, err := heir.Subscribe(t.Context(), "will.", func(_ context.Context, e *wampcore.Event) {
			var word string
			if err := e.Payload.DecodeArgs(&word); err != nil {
				t.Error(err)
			}
			events <- string(e.Details.Topic) + " " + word
		}, wampcore.SubscribeOptions{Match: wampcore.MatchPrefix})
		expectErr(t, err, nil)
		opts := wampcore.PublishOptions{ExcludeAuthRole: []string{"nobody"}}
		expectErr(t, s.AddTestament(t.Context(), "will.a", args(`["x"]`), opts, client.ScopeDestroyed), nil)
		expectErr(t, s.AddTestament(t.Context(), "will.b", wampcore.Payload{}, opts, client.ScopeDetached), nil)
		expectErr(t, s.FlushTestaments(t.Context(), client.ScopeDetached), nil)
		expectErr(t, s.AddTestament(t.Context(), "will.c", wampcore.Payload{}, opts, "bogus"), &wampcore.Error{URI: wampcore.ErrInvalidArgument})
		expectErr(t, s.Close(t.Context()), nil)
		if got := <-events; got != "will.a x" {
			t.Errorf("got %s", got)
		}
	})
}

func TestRetainedEventComesToWhoAsksForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		s, late := join(t, r.Dial(), client.Config{}), join(t, r.Dial(), client.Config{})
		_, err := s.Publish(t.Context(), "t", args(`["kept"]`), wampcore.PublishOptions{Acknowledge: true, Retain: true})
		expectErr(t, err, nil)
		events := make(chan *wampcore.Event, 1)
		_, err = late.Subscribe(t.Context(), "t", func(_ context.Context, e *wampcore.Event) { events <- e },
			wampcore.SubscribeOptions{GetRetained: true})
		expectErr(t, err, nil)
		if e := <-events; !e.Details.Retained || string(e.Payload.Args) != `["kept"]` {
			t.Errorf("got %+v", e)
		}
	})
}

func TestRetainedEventCanBeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		s, asker := join(t, r.Dial(), client.Config{}), join(t, r.Dial(), client.Config{})
		for _, want := range []string{"", `["old"]`, `["new"]`} {
			if want != "" {
				_, err := s.Publish(t.Context(), "t", args(want), wampcore.PublishOptions{Acknowledge: true, Retain: true})
				expectErr(t, err, nil)
			}
			e, err := asker.Retained(t.Context(), "t")
			expectErr(t, err, nil)
			if e == nil && want != "" || e != nil && string(e.Payload.Args) != want {
				t.Errorf("got %+v, want %s", e, want)
			}
		}
	})
}

func TestEventHandlerThatPanicsEndsItsSessionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		s, other := join(t, r.Dial(), client.Config{}), join(t, r.Dial(), client.Config{})
		_, err := s.Subscribe(t.Context(), "t", func(context.Context, *wampcore.Event) { panic("bug") }, wampcore.SubscribeOptions{})
		expectErr(t, err, nil)
		_, err = other.Publish(t.Context(), "t", wampcore.Payload{}, wampcore.PublishOptions{Acknowledge: true})
		expectErr(t, err, nil)
		<-s.Done()
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "panicked: bug") {
			t.Errorf("got %v", err)
		}
		_, err = other.Publish(t.Context(), "t", wampcore.Payload{}, wampcore.PublishOptions{Acknowledge: true})
		expectErr(t, err, nil)
	})
}

// A handler that ends its goroutine does what a test's Fatal does.
func TestHandlersThatEndTheirGoroutinesHaveFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		s, other := join(t, r.Dial(), client.Config{}), join(t, r.Dial(), client.Config{})
		_, err := s.Register(t.Context(), "p", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
			runtime.Goexit()
			return wampcore.Payload{}, nil
		}, wampcore.RegisterOptions{})
		expectErr(t, err, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = other.Call(ctx, "p", wampcore.Payload{}, wampcore.CallOptions{})
		expectErr(t, err, &wampcore.Error{URI: wampcore.ErrRuntime})
		_, err = s.Subscribe(t.Context(), "t", func(context.Context, *wampcore.Event) { runtime.Goexit() }, wampcore.SubscribeOptions{})
		expectErr(t, err, nil)
		_, err = other.Publish(t.Context(), "t", wampcore.Payload{}, wampcore.PublishOptions{Acknowledge: true})
		expectErr(t, err, nil)
		select {
		case <-s.Done():
		case <-ctx.Done():
			t.Error("the session goes on without its handler")
		}
	})
}
