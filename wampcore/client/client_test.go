package client_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wampgate/wampgate/router" //nolint:depguard // a few tests go through a real router
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const realm1 wampcore.URI = "realm1"

// hooked is a transport that waits, where a hook is set, until the hook returns.
type hooked struct {
	wampcore.Transport
	received func(wampcore.Transport, wampcore.Message) // before the session sees it
	written  func(wampcore.Message)                     // before Write returns
}

func (h hooked) Receive() (wampcore.Message, error) {
	m, err := h.Transport.Receive()
	if err == nil && h.received != nil {
		h.received(h.Transport, m)
	}
	return m, err
}

func (h hooked) Write(ms []wampcore.Message) (bool, error) {
	last := ms[len(ms)-1]
	sent, err := h.Transport.Write(ms)
	if h.written != nil {
		h.written(last)
	}
	return sent, err
}

// script is a test of s in a bubble, where the test plays the router: p. A bubble in which all wait for ever fails.
type script struct {
	*testing.T
	s *client.Session
	p *wamptest.Peer
}

func scripted(t *testing.T, cfg client.Config, f func(*script), hooks ...hooked) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := wampcore.Pipe()
		for _, h := range hooks {
			h.Transport = near
			near = h
		}
		p := wamptest.New(t, far)
		p.Send(&wampcore.Welcome{Session: 77})
		s := join(t, near, cfg)
		t.Cleanup(p.Close)
		wamptest.Expect[*wampcore.Hello](p)
		f(&script{t, s, p})
	})
}

// each is scripted for each case.
func each[C any](t *testing.T, cases map[string]C, f func(*script, C)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			scripted(t, client.Config{}, func(t *script) { f(t, c) })
		})
	}
}

func newRouter(tb testing.TB) *router.Router {
	tb.Helper()
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: realm1, Strict: true}}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Shutdown(context.Background()) })
	return r
}

// join opens a session that the test's end closes.
func join(tb testing.TB, transport wampcore.Transport, cfg client.Config) *client.Session {
	tb.Helper()
	cfg.Realm = realm1
	s, err := client.Join(tb.Context(), transport, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// start runs f beside the test; the function it returns waits for what f returned.
func start[T any](f func() (T, error)) func() (T, error) {
	var v T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		v, err = f()
	}()
	return func() (T, error) {
		<-done
		return v, err
	}
}

// begin is start for what returns an error alone.
func begin(f func() error) func() error {
	wait := start(func() (struct{}, error) { return struct{}{}, f() })
	return func() error {
		_, err := wait()
		return err
	}
}

func call(ctx context.Context, s *client.Session) (wampcore.Payload, error) {
	return s.Call(ctx, "p", wampcore.Payload{}, wampcore.CallOptions{})
}

func startCall(ctx context.Context, s *client.Session) func() (wampcore.Payload, error) {
	return start(func() (wampcore.Payload, error) { return call(ctx, s) })
}

func startSubscribe(ctx context.Context, s *client.Session, h client.EventHandler) func() (*client.Subscription, error) {
	return start(func() (*client.Subscription, error) { return s.Subscribe(ctx, "t", h, wampcore.SubscribeOptions{}) })
}

// subscribe adds a handler; the subscription is 7.
func (t *script) subscribe(h client.EventHandler) *client.Subscription {
	t.Helper()
	subscribed := startSubscribe(t.Context(), t.s, h)
	t.p.Send(&wampcore.Subscribed{Request: wamptest.Expect[*wampcore.Subscribe](t.p).Request, Subscription: 7})
	sub, err := subscribed()
	if err != nil || sub.ID() != 7 {
		t.Fatalf("subscribe: %v", err)
	}
	return sub
}

// register offers a procedure; the registration is 9.
func (t *script) register(h client.InvocationHandler) *client.Registration {
	t.Helper()
	registered := start(func() (*client.Registration, error) {
		return t.s.Register(t.Context(), "p", h, wampcore.RegisterOptions{})
	})
	t.p.Send(&wampcore.Registered{Request: wamptest.Expect[*wampcore.Register](t.p).Request, Registration: 9})
	reg, err := registered()
	if err != nil || reg.ID() != 9 {
		t.Fatalf("register: %v", err)
	}
	return reg
}

func (t *script) invoke(request wampcore.ID) {
	t.p.Send(&wampcore.Invocation{Request: request, Registration: 9, Payload: args(`["x"]`)})
}

func (t *script) event(publication wampcore.ID) {
	t.p.Send(&wampcore.Event{Subscription: 7, Publication: publication})
}

func (t *script) expectFailure(request wampcore.ID, uri wampcore.URI) *wampcore.ErrorMsg {
	t.Helper()
	e := wamptest.Expect[*wampcore.ErrorMsg](t.p)
	if e.RequestType != wampcore.TypeInvocation || e.Request != request || e.URI != uri {
		t.Errorf("got ERROR %d %d %s, want %d %s", e.RequestType, e.Request, e.URI, request, uri)
	}
	return e
}

// expectAlive fails the test if the session is over, or if it has sent anything that was not expected yet.
func (t *script) expectAlive() {
	t.Helper()
	if _, err := t.s.Publish(t.Context(), "t", wampcore.Payload{}, wampcore.PublishOptions{}); err != nil || t.s.Err() != nil {
		t.Errorf("the session is over: %v, %v", err, t.s.Err())
	}
	wamptest.Expect[*wampcore.Publish](t.p)
}

func echo(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
	return inv.Payload, nil
}

func waitForEnd(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
	<-ctx.Done()
	return wampcore.Payload{}, ctx.Err()
}

func count(n *atomic.Int32) client.EventHandler {
	return func(context.Context, *wampcore.Event) { n.Add(1) }
}

func args(json string) wampcore.Payload {
	return wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(json)}
}

// text is the first argument.
func text(tb testing.TB, p wampcore.Payload) (s string) {
	tb.Helper()
	if err := p.DecodeArgs(&s); err != nil {
		tb.Error(err)
	}
	return s
}

func expectErr(tb testing.TB, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) {
		tb.Errorf("got error %v, want %v", got, want)
	}
}

func isViolation(err error) bool {
	_, ok := errors.AsType[*wampcore.ProtocolError](err)
	return ok
}

// Joining.

func TestJoinSaysHelloAndKeepsTheWelcome(t *testing.T) {
	near, far := wampcore.Pipe()
	p := wamptest.New(t, far)
	p.Send(&wampcore.Welcome{Session: 77, Details: wampcore.WelcomeDetails{AuthRole: "anonymous"}})
	s, err := client.Join(t.Context(), near, client.Config{Realm: realm1, Agent: "a", AuthID: "me"})
	if err != nil {
		t.Fatal(err)
	}
	hello := wamptest.Expect[*wampcore.Hello](p)
	if d := hello.Details; hello.Realm != realm1 || d.Agent != "a" || d.AuthID != "me" || !d.Roles.Has(wampcore.RoleCallee) {
		t.Errorf("hello %+v", hello)
	}
	if s.ID() != 77 || s.Welcome().Details.AuthRole != "anonymous" || s.Err() != nil {
		t.Errorf("welcome %+v, error %v", s.Welcome(), s.Err())
	}
	p.Close()
	<-s.Done()
	expectErr(t, s.Err(), wampcore.ErrClosed)
}

func TestJoinThatFailsSaysWhyAndClosesItsTransport(t *testing.T) {
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	for name, c := range map[string]struct {
		answer wampcore.Message // nil: none
		leave  bool
		is     func(error) bool
	}{
		"ABORT":         {answer: &wampcore.Abort{Reason: "e"}, is: is(&wampcore.Error{URI: "e"})},
		"CHALLENGE":     {answer: &wampcore.Challenge{AuthMethod: "ticket"}, is: isViolation},
		"EVENT":         {answer: &wampcore.Event{Subscription: 1, Publication: 1}, is: isViolation},
		"the peer left": {leave: true, is: is(wampcore.ErrClosed)},
		"no answer":     {is: is(context.DeadlineExceeded)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := wampcore.Pipe()
				p := wamptest.New(t, far)
				if c.answer != nil {
					p.Send(c.answer)
				}
				if c.leave {
					p.Close()
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if s, err := client.Join(ctx, near, client.Config{Realm: realm1}); s != nil || !c.is(err) {
					t.Errorf("got %v, %v", s, err)
				}
				_, err := near.Write(nil)
				expectErr(t, err, wampcore.ErrClosed)
			})
		})
	}
}

// Requests.

// requests are those that wait for an answer.
func requests() map[string]func(context.Context, *client.Session) error {
	return map[string]func(context.Context, *client.Session) error{
		"call": func(ctx context.Context, s *client.Session) error {
			_, err := call(ctx, s)
			return err
		},
		"publish": func(ctx context.Context, s *client.Session) error {
			_, err := s.Publish(ctx, "t", wampcore.Payload{}, wampcore.PublishOptions{Acknowledge: true})
			return err
		},
		"register": func(ctx context.Context, s *client.Session) error {
			_, err := s.Register(ctx, "p", echo, wampcore.RegisterOptions{})
			return err
		},
		"subscribe": func(ctx context.Context, s *client.Session) error {
			_, err := s.Subscribe(ctx, "t", count(new(atomic.Int32)), wampcore.SubscribeOptions{})
			return err
		},
	}
}

type request = func(context.Context, *client.Session) error

func TestRequestEndsWithItsAnswerItsContextOrTheSession(t *testing.T) {
	each(t, requests(), func(t *script, r request) {
		done := begin(func() error { return r(t.Context(), t.s) })
		m, _ := t.p.Receive()
		t.p.Send(&wampcore.ErrorMsg{RequestType: m.Type(), Request: 1, URI: "com.example.no", Payload: args(`["why"]`)})
		err := done()
		if e, ok := errors.AsType[*wampcore.Error](err); !ok || e.URI != "com.example.no" || text(t, e.Payload) != "why" {
			t.Errorf("got %v", err)
		}
		t.expectAlive()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		expectErr(t, r(ctx, t.s), context.DeadlineExceeded) // while it waits
		expectErr(t, r(ctx, t.s), context.DeadlineExceeded) // before it begins
		expectErr(t, t.s.Err(), nil)
		done = begin(func() error { return r(t.Context(), t.s) })
		synctest.Wait()
		t.p.Close()
		expectErr(t, done(), client.ErrClosed)
		expectErr(t, r(t.Context(), t.s), client.ErrClosed)
	})
}

func TestRequestIDsAreSequentialInTheOrderWritten(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		for range 50 {
			for _, r := range requests() {
				begin(func() error { return r(t.Context(), t.s) })
			}
		}
		for want := range wampcore.ID(200) {
			m, _ := t.p.Receive()
			if got := reflect.ValueOf(m).Elem().FieldByName("Request").Uint(); got != uint64(want+1) {
				t.Fatalf("got %T with id %d, want %d", m, got, want+1)
			}
		}
	})
}

func TestCallReturnsItsResult(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		result := startCall(t.Context(), t.s)
		c := wamptest.Expect[*wampcore.Call](t.p)
		t.p.Send(&wampcore.Result{Request: c.Request, Details: wampcore.ResultDetails{Progress: true}, Payload: args(`["early"]`)})
		t.p.Send(&wampcore.Result{Request: c.Request, Payload: args(`["ü",5]`)})
		payload, err := result()
		var str string
		var n int
		if decodeErr := payload.DecodeArgs(&str, &n); err != nil || decodeErr != nil || c.Procedure != "p" || str != "ü" || n != 5 {
			t.Errorf("got %q, %d, %v, %v", str, n, err, decodeErr)
		}
	})
}

func TestCallThatIsGivenUpIsCancelledAndItsLateResultIgnored(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		ctx, cancel := context.WithCancelCause(t.Context())
		result := startCall(ctx, t.s)
		c := wamptest.Expect[*wampcore.Call](t.p)
		why := errors.New("not wanted any more")
		cancel(why)
		_, err := result() // there is no answer that it could wait for
		expectErr(t, err, why)
		if m := wamptest.Expect[*wampcore.Cancel](t.p); m.Request != c.Request || m.Mode != wampcore.CancelKillNoWait {
			t.Errorf("got %+v, want killnowait of %d", m, c.Request)
		}
		t.p.Send(&wampcore.Result{Request: c.Request})
		result = startCall(t.Context(), t.s)
		t.p.Send(&wampcore.Result{Request: wamptest.Expect[*wampcore.Call](t.p).Request, Payload: args(`["next"]`)})
		if payload, err := result(); err != nil || text(t, payload) != "next" {
			t.Errorf("the next call got %s, %v", payload.Args, err)
		}
	})
}

func TestDeadlineOfACallIsItsTimeoutUnlessItHasOne(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: 5 * time.Second, time.Minute: time.Minute} {
		scripted(t, client.Config{}, func(t *script) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := t.s.Call(ctx, "p", wampcore.Payload{}, wampcore.CallOptions{Timeout: given})
			expectErr(t, err, context.DeadlineExceeded)
			if d, c := time.Since(began), wamptest.Expect[*wampcore.Call](t.p); d != 5*time.Second || c.Options.Timeout != want {
				t.Errorf("returned after %s, timeout %s, want %s", d, c.Options.Timeout, want)
			}
			wamptest.Expect[*wampcore.Cancel](t.p)
		})
	}
}

func TestCallsThatTheRouterDoesNotReadEndWithTheirContextOrTheSession(t *testing.T) {
	for _, want := range []error{context.Canceled, client.ErrClosed} {
		scripted(t, client.Config{}, func(t *script) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			calls := make([]func() (wampcore.Payload, error), 3000) // more than the pipe and the outbox hold
			for i := range calls {
				calls[i] = startCall(ctx, t.s)
			}
			synctest.Wait()
			if errors.Is(want, client.ErrClosed) {
				t.p.Close()
			} else {
				cancel()
			}
			for _, result := range calls {
				if _, err := result(); !errors.Is(err, want) {
					t.Fatalf("got %v, want %v", err, want)
				}
			}
		})
	}
}

func TestPublicationReturnsItsIDIfAcknowledged(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		if id, err := t.s.Publish(t.Context(), "t", args(`["x"]`), wampcore.PublishOptions{}); id != 0 || err != nil {
			t.Errorf("without acknowledgement: got %d, %v", id, err)
		}
		if m := wamptest.Expect[*wampcore.Publish](t.p); m.Options.Acknowledge || m.Topic != "t" || text(t, m.Payload) != "x" {
			t.Errorf("got %+v", m)
		}
		published := start(func() (wampcore.ID, error) {
			return t.s.Publish(t.Context(), "t", wampcore.Payload{}, wampcore.PublishOptions{Acknowledge: true})
		})
		m := wamptest.Expect[*wampcore.Publish](t.p)
		t.p.Send(&wampcore.Published{Request: m.Request, Publication: 123})
		if id, err := published(); id != 123 || err != nil || !m.Options.Acknowledge {
			t.Errorf("with acknowledgement: got %d, %v", id, err)
		}
	})
}

// Registrations.

func TestInvocationsAreBoundedAtOnceAndInAll(t *testing.T) {
	scripted(t, client.Config{Concurrency: 2, Backlog: 2}, func(t *script) {
		var running, most atomic.Int32
		gate := make(chan struct{})
		t.register(func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			defer running.Add(-1)
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			select {
			case <-gate:
			case <-ctx.Done():
			}
			return inv.Payload, nil
		})
		for request := wampcore.ID(1); request <= 5; request++ {
			t.invoke(request)
			synctest.Wait()
		}
		t.expectFailure(5, wampcore.ErrUnavailable)
		t.p.Send(&wampcore.Interrupt{Request: 4})
		t.expectFailure(4, wampcore.ErrCanceled) // though it never ran
		if n := running.Load(); n != 2 {
			t.Errorf("%d handlers run, want 2", n)
		}
		close(gate)
		for range 3 {
			wamptest.Expect[*wampcore.Yield](t.p)
		}
		if n := most.Load(); n != 2 {
			t.Errorf("%d handlers ran at once, want 2", n)
		}
		t.invoke(6)
		wamptest.Expect[*wampcore.Yield](t.p)
	})
}

func TestFailureOfAHandlerIsAnErrorThatTellsNoMoreThanItShould(t *testing.T) {
	secret := errors.New("password is 123")
	type failure struct {
		fail func() error
		uri  wampcore.URI
		text string
	}
	each(t, map[string]failure{
		"plain error":    {func() error { return secret }, wampcore.ErrRuntime, "the procedure failed"},
		"panic":          {func() error { panic(secret) }, wampcore.ErrRuntime, "the procedure failed"},
		"error":          {func() error { return &wampcore.Error{URI: "com.example.bad", Message: "bad"} }, "com.example.bad", "bad"},
		"error, payload": {func() error { return &wampcore.Error{URI: "e", Payload: args(`["p"]`)} }, "e", "p"},
		"wrapped error":  {func() error { return fmt.Errorf("%w: %w", secret, &wampcore.Error{URI: "e"}) }, "e", ""},
	}, func(t *script, c failure) {
		t.register(func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			if inv.Request == 1 {
				return wampcore.Payload{}, c.fail()
			}
			return inv.Payload, nil
		})
		t.invoke(1)
		if e := t.expectFailure(1, c.uri); text(t, e.Payload) != c.text {
			t.Errorf("got %q, want %q", e.Payload.Args, c.text)
		}
		t.invoke(2)
		if y := wamptest.Expect[*wampcore.Yield](t.p); y.Request != 2 || text(t, y.Payload) != "x" {
			t.Errorf("got %+v", y)
		}
	})
}

func TestHandlerIsStoppedByAnInterruptOrItsTimeout(t *testing.T) {
	each(t, map[string]wampcore.URI{"interrupt": wampcore.ErrCanceled, "timeout": wampcore.ErrTimeout},
		func(t *script, want wampcore.URI) {
			t.register(waitForEnd)
			t.p.Send(&wampcore.Invocation{
				Request: 1, Registration: 9, Details: wampcore.InvocationDetails{Timeout: time.Second},
			})
			t.p.Send(&wampcore.Interrupt{Request: 99}) // of no invocation
			if want == wampcore.ErrCanceled {
				t.p.Send(&wampcore.Interrupt{Request: 1, Mode: wampcore.CancelKill})
			}
			t.expectFailure(1, want)
			t.expectAlive()
		})
}

func TestInvocationOfWhatIsNotRegisteredIsRefused(t *testing.T) {
	each(t, map[string]func(*script){
		"never registered": func(*script) {},
		"unregistered": func(t *script) {
			reg := t.register(echo)
			done := begin(func() error { return reg.Unregister(t.Context()) })
			m := wamptest.Expect[*wampcore.Unregister](t.p)
			t.invoke(1) // crossed it
			wamptest.Expect[*wampcore.Yield](t.p)
			t.p.Send(&wampcore.Unregistered{Request: m.Request})
			if err := done(); err != nil || m.Registration != 9 {
				t.Errorf("unregister %d: %v", m.Registration, err)
			}
		},
		"revoked": func(t *script) {
			t.register(echo)
			t.p.Send(&wampcore.Unregistered{Details: wampcore.RevokedDetails{ID: 9}})
		},
	}, func(t *script, end func(*script)) {
		end(t)
		t.invoke(2)
		t.expectFailure(2, wampcore.ErrNoSuchRegistration)
		t.expectAlive()
	})
}

// Subscriptions.

func TestEventsComeInOrderAndNoneIsLostAfterSubscribed(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		var got []wampcore.ID
		subscribed := startSubscribe(t.Context(), t.s, func(_ context.Context, e *wampcore.Event) { got = append(got, e.Publication) })
		t.p.Send(&wampcore.Event{Subscription: 8, Publication: 1}) // of nobody
		t.p.Send(&wampcore.Subscribed{Request: wamptest.Expect[*wampcore.Subscribe](t.p).Request, Subscription: 7})
		for id := range wampcore.ID(200) {
			t.event(id + 1)
		}
		synctest.Wait()
		if _, err := subscribed(); err != nil || len(got) != 200 || !slices.IsSorted(got) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestHandlersOfOneTopicShareASubscriptionUntilTheLastGoes(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		var a, b atomic.Int32
		subA, subB := t.subscribe(count(&a)), t.subscribe(count(&b))
		t.event(1)
		synctest.Wait()
		for range 2 {
			expectErr(t, subA.Unsubscribe(t.Context()), nil)
		}
		t.expectAlive() // and no UNSUBSCRIBE before that
		t.event(2)
		synctest.Wait()
		last := begin(func() error { return subB.Unsubscribe(t.Context()) })
		m := wamptest.Expect[*wampcore.Unsubscribe](t.p)
		t.event(3) // crossed it
		t.p.Send(&wampcore.Unsubscribed{Request: m.Request})
		if err := last(); err != nil || m.Subscription != 7 {
			t.Errorf("unsubscribe %d: %v", m.Subscription, err)
		}
		t.expectAlive()
		synctest.Wait()
		if a.Load() != 1 || b.Load() != 2 {
			t.Errorf("the handlers got %d and %d events, want 1 and 2", a.Load(), b.Load())
		}
	})
}

func TestRevokedSubscriptionHasNoMoreEvents(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		sub := t.subscribe(func(context.Context, *wampcore.Event) { t.Error("an event came") })
		t.p.Send(&wampcore.Unsubscribed{Details: wampcore.RevokedDetails{ID: 7}})
		t.event(1)
		synctest.Wait()
		expectErr(t, sub.Unsubscribe(t.Context()), nil)
		t.expectAlive()
	})
}

func TestHandlerThatDoesNotKeepUpEndsTheSession(t *testing.T) {
	scripted(t, client.Config{EventQueue: 2}, func(t *script) {
		t.subscribe(func(ctx context.Context, _ *wampcore.Event) { <-ctx.Done() })
		for id := range wampcore.ID(3) { // one is handled, two wait
			t.event(id + 1)
			synctest.Wait()
		}
		t.expectAlive()
		t.event(4)
		<-t.s.Done()
		if t.s.Err() == nil {
			t.Error("there is no cause")
		}
		t.p.ExpectClosed()
	})
}

// The end.

func TestCloseSaysGoodbyeAndWaitsForHandlers(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		var returned atomic.Int32
		t.subscribe(func(ctx context.Context, _ *wampcore.Event) {
			<-ctx.Done()
			returned.Add(1)
		})
		t.register(func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			defer returned.Add(1)
			return waitForEnd(ctx, inv)
		})
		t.event(1)
		t.invoke(1)
		result := startCall(t.Context(), t.s)
		made := wamptest.Expect[*wampcore.Call](t.p)
		synctest.Wait()
		closed := begin(func() error { return t.s.Close(t.Context()) })
		wamptest.Expect[*wampcore.Unregister](t.p)
		t.invoke(2)
		t.expectFailure(2, wampcore.ErrUnavailable)
		t.p.Send(&wampcore.Result{Request: made.Request, Payload: args(`["y"]`)})
		if p, err := result(); err != nil || text(t, p) != "y" {
			t.Errorf("the call that was open ended with %v", err)
		}
		t.p.Send(&wampcore.Interrupt{Request: 1}) // the last that is open
		t.expectFailure(1, wampcore.ErrCanceled)
		if g := wamptest.Expect[*wampcore.Goodbye](t.p); g.Reason != wampcore.CloseRealm {
			t.Errorf("reason %s", g.Reason)
		}
		_, err := call(t.Context(), t.s)
		expectErr(t, err, client.ErrClosed)
		t.p.Send(&wampcore.Goodbye{Reason: wampcore.CloseGoodbyeAndOut})
		if err := closed(); err != nil || returned.Load() != 2 {
			t.Errorf("close: %v; %d handlers have returned", err, returned.Load())
		}
		expectErr(t, t.s.Err(), client.ErrClosed)
		<-t.s.Done()
		expectErr(t, t.s.Close(t.Context()), nil)
	})
}

func TestInvocationsMayCallToFinishWhileTheSessionCloses(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		gate := make(chan struct{})
		t.register(func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
			<-gate
			return call(ctx, t.s)
		})
		t.invoke(1)
		synctest.Wait()
		closed := begin(func() error { return t.s.Close(t.Context()) })
		wamptest.Expect[*wampcore.Unregister](t.p)
		close(gate)
		t.p.Send(&wampcore.Result{Request: wamptest.Expect[*wampcore.Call](t.p).Request, Payload: args(`["y"]`)})
		if y := wamptest.Expect[*wampcore.Yield](t.p); text(t, y.Payload) != "y" {
			t.Error("the invocation was not answered with what it called for")
		}
		wamptest.Expect[*wampcore.Goodbye](t.p)
		t.p.Send(&wampcore.Goodbye{Reason: wampcore.CloseGoodbyeAndOut})
		expectErr(t, closed(), nil)
	})
}

func TestCloseDoesNotWaitForARouterThatIsGone(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		result := startCall(t.Context(), t.s)
		wamptest.Expect[*wampcore.Call](t.p)
		closed := begin(func() error { return t.s.Close(t.Context()) })
		synctest.Wait()
		t.p.Send(&wampcore.Goodbye{Reason: wampcore.CloseSystemShutdown})
		wamptest.Expect[*wampcore.Goodbye](t.p)
		expectErr(t, closed(), nil)
		_, err := result()
		expectErr(t, err, client.ErrClosed)
	})
}

func TestCloseIsCutWhenItsContextEnds(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		expectErr(t, t.s.Close(ctx), context.DeadlineExceeded)
		<-t.s.Done()
		expectErr(t, t.s.Err(), client.ErrClosed)
		wamptest.Expect[*wampcore.Goodbye](t.p)
		t.p.ExpectClosed()
	})
}

func TestEndByTheRouterIsTheReason(t *testing.T) {
	details := wampcore.CloseDetails{Message: "bye"}
	each(t, map[string]wampcore.Message{
		"GOODBYE": &wampcore.Goodbye{Reason: wampcore.CloseKilled, Details: details},
		"ABORT":   &wampcore.Abort{Reason: wampcore.CloseKilled, Details: details},
	}, func(t *script, m wampcore.Message) {
		result := startCall(t.Context(), t.s)
		wamptest.Expect[*wampcore.Call](t.p)
		t.p.Send(m)
		_, err := result()
		expectErr(t, err, client.ErrClosed)
		expectErr(t, err, &wampcore.Error{URI: wampcore.CloseKilled})
		if e, ok := errors.AsType[*wampcore.Error](t.s.Err()); !ok || e.URI != wampcore.CloseKilled || e.Message != "bye" {
			t.Errorf("got %v", t.s.Err())
		}
		if m.Type() == wampcore.TypeGoodbye {
			if g := wamptest.Expect[*wampcore.Goodbye](t.p); g.Reason != wampcore.CloseGoodbyeAndOut {
				t.Errorf("reason %s", g.Reason)
			}
		}
		t.p.ExpectClosed()
	})
}

func TestRouterThatBreaksTheProtocolIsAborted(t *testing.T) {
	each(t, map[string]wampcore.Message{
		"WELCOME":                &wampcore.Welcome{Session: 1},
		"CALL":                   &wampcore.Call{Request: 1, Procedure: "p"},
		"answer of another type": &wampcore.Subscribed{Request: 1, Subscription: 1},
		"ERROR of another type":  &wampcore.ErrorMsg{RequestType: wampcore.TypePublish, Request: 1, URI: "e"},
	}, func(t *script, m wampcore.Message) {
		startCall(t.Context(), t.s)
		wamptest.Expect[*wampcore.Call](t.p)
		t.p.Send(m)
		if a := wamptest.Expect[*wampcore.Abort](t.p); a.Reason != wampcore.ErrProtocolViolation || a.Details.Message == "" {
			t.Errorf("got %+v", a)
		}
		t.p.ExpectClosed()
		if <-t.s.Done(); !isViolation(t.s.Err()) {
			t.Errorf("got %v", t.s.Err())
		}
	})
}

func TestSessionThatWasClosedSaysSoEvenIfTheRouterDoesNotAnswer(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		closed := begin(func() error { return t.s.Close(t.Context()) })
		wamptest.Expect[*wampcore.Goodbye](t.p)
		t.p.Close()
		expectErr(t, closed(), nil)
		expectErr(t, t.s.Err(), client.ErrClosed)
	})
}

func TestReasonIsKeptWhenTheRouterDoesNotWaitForTheLastWord(t *testing.T) {
	for _, m := range []wampcore.Message{&wampcore.Goodbye{Reason: wampcore.CloseKilled}, &wampcore.Welcome{Session: 1}} {
		scripted(t, client.Config{}, func(t *script) {
			t.p.Send(m)
			<-t.s.Done()
			if !errors.Is(t.s.Err(), &wampcore.Error{URI: wampcore.CloseKilled}) && !isViolation(t.s.Err()) {
				t.Errorf("after %T: got %v", m, t.s.Err())
			}
		}, hooked{received: func(transport wampcore.Transport, got wampcore.Message) {
			if got == m {
				_ = transport.Close(0)
			}
		}})
	}
}

func TestNothingIsSentAfterGoodbye(t *testing.T) {
	scripted(t, client.Config{}, func(t *script) {
		gate := make(chan struct{})
		t.register(func(context.Context, *client.Invocation) (wampcore.Payload, error) {
			<-gate
			return wampcore.Payload{}, nil
		})
		t.invoke(1)
		synctest.Wait() // the handler runs
		ctx, cancel := context.WithCancel(t.Context())
		startCall(ctx, t.s)
		wamptest.Expect[*wampcore.Call](t.p)
		t.p.Send(&wampcore.Goodbye{Reason: wampcore.CloseKilled})
		wamptest.Expect[*wampcore.Goodbye](t.p)
		close(gate) // no YIELD
		cancel()    // no CANCEL
		t.p.ExpectClosed()
	})
}

func TestRouterThatDoesNotReadCannotMakeTheSessionGrow(t *testing.T) {
	each(t, map[string]wampcore.ID{"answers": 9, "refusals": 10},
		func(t *script, registration wampcore.ID) {
			t.register(echo)
			const all, bound = 20_000, 10_000 // the queues and the invocations are fewer than 3,000
			var taken atomic.Int32
			begin(func() error {
				for id := range wampcore.ID(all) {
					t.p.Send(&wampcore.Invocation{Request: id + 1, Registration: registration})
					taken.Add(1)
				}
				return nil
			})
			synctest.Wait()
			if n := taken.Load(); n > bound && t.s.Err() == nil {
				t.Errorf("%d answers wait to be written", n)
			}
		})
}

// What crosses on its way.

func TestWhatIsGrantedAfterItWasGivenUpIsTakenBack(t *testing.T) {
	type grant struct {
		request       request
		granted, back wampcore.Message
	}
	each(t, map[string]grant{
		"register": {
			requests()["register"],
			&wampcore.Registered{Request: 1, Registration: 9}, &wampcore.Unregister{Request: 2, Registration: 9},
		},
		"subscribe": {
			requests()["subscribe"],
			&wampcore.Subscribed{Request: 1, Subscription: 7}, &wampcore.Unsubscribe{Request: 2, Subscription: 7},
		},
	}, func(t *script, c grant) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		expectErr(t, c.request(ctx, t.s), context.DeadlineExceeded)
		_, _ = t.p.Receive()
		t.p.Send(c.granted)
		if m, _ := t.p.Receive(); !reflect.DeepEqual(m, c.back) {
			t.Errorf("got %+v, want %+v", m, c.back)
		}
	})
}

func TestSubscribeThatFailsLeavesNoHandler(t *testing.T) {
	gate := make(chan chan struct{}, 1)
	scripted(t, client.Config{}, func(t *script) {
		for id := range wampcore.ID(30) { // the answer and the end of ctx are there at once: either may be seen first
			var events atomic.Int32
			written := make(chan struct{})
			gate <- written
			ctx, cancel := context.WithCancel(t.Context())
			subscribed := startSubscribe(ctx, t.s, count(&events))
			m, _ := t.p.Receive()
			for m.Type() != wampcore.TypeSubscribe { // it may have taken the one before back
				m, _ = t.p.Receive()
			}
			t.p.Send(&wampcore.Subscribed{Request: m.(*wampcore.Subscribe).Request, Subscription: id + 1})
			synctest.Wait()
			cancel()
			close(written)
			_, err := subscribed()
			t.p.Send(&wampcore.Event{Subscription: id + 1, Publication: 1})
			synctest.Wait()
			if err != nil && events.Load() != 0 {
				t.Fatalf("Subscribe returned %v, but its handler got an event", err)
			}
		}
	}, hooked{written: func(m wampcore.Message) {
		if m.Type() == wampcore.TypeSubscribe {
			<-<-gate
		}
	}})
}

func TestUnsubscribeThatHasToWaitIsNotOvertaken(t *testing.T) {
	overtaken := func(t *script) {
		sub := t.subscribe(count(new(atomic.Int32)))
		for range 2000 { // more than the pipe and the outbox hold
			startCall(t.Context(), t.s)
		}
		synctest.Wait()
		begin(func() error { return sub.Unsubscribe(t.Context()) })
		synctest.Wait()
		startSubscribe(t.Context(), t.s, count(new(atomic.Int32)))
		synctest.Wait()
		subscribed := true
		for m, err := t.p.Receive(); err == nil; m, err = t.p.Receive() { // until nothing comes any more
			switch m := m.(type) {
			case *wampcore.Subscribe:
				subscribed = true
				t.p.Send(&wampcore.Subscribed{Request: m.Request, Subscription: 7})
			case *wampcore.Unsubscribe:
				subscribed = false
				t.p.Send(&wampcore.Unsubscribed{Request: m.Request})
			}
		}
		if !subscribed {
			t.Error("UNSUBSCRIBE came after the SUBSCRIBE of a later handler")
		}
	}
	for range 8 { // which of the two is woken first is left to chance
		scripted(t, client.Config{}, overtaken)
	}
}

// Through a router. Its realm is strict: a gap in the request ids would end the session.

func TestSubscribeHasEventsWhateverCrossesIt(t *testing.T) {
	for name, cross := range map[string]func(ctx context.Context, s *client.Session, last *client.Subscription, subscribe func()){
		"the last handler goes": func(ctx context.Context, _ *client.Session, last *client.Subscription, subscribe func()) {
			subscribe()
			begin(func() error { return last.Unsubscribe(ctx) })
		},
		"one fails, the last goes": func(ctx context.Context, s *client.Session, last *client.Subscription, subscribe func()) {
			subscribe()
			over, cancel := context.WithCancel(ctx)
			cancel()
			_, _ = startSubscribe(over, s, count(new(atomic.Int32)))()
			begin(func() error { return last.Unsubscribe(ctx) })
		},
		"one is given up": func(ctx context.Context, s *client.Session, last *client.Subscription, subscribe func()) {
			_ = last.Unsubscribe(ctx)
			brief, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, _ = startSubscribe(brief, s, count(new(atomic.Int32)))()
			subscribe()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, gate := newRouter(t), make(chan struct{})
				s := join(t, hooked{Transport: r.Dial(), received: func(_ wampcore.Transport, m wampcore.Message) {
					if m, ok := m.(*wampcore.Subscribed); ok && m.Request > 1 {
						<-gate
					}
				}}, client.Config{})
				last, err := startSubscribe(t.Context(), s, count(new(atomic.Int32)))()
				expectErr(t, err, nil)
				var events atomic.Int32
				var subscribed func() (*client.Subscription, error)
				cross(t.Context(), s, last, func() {
					subscribed = startSubscribe(t.Context(), s, count(&events))
					synctest.Wait()
				})
				synctest.Wait()
				close(gate)
				_, err = subscribed()
				expectErr(t, err, nil)
				synctest.Wait()
				_, err = s.Publish(t.Context(), "t", wampcore.Payload{}, wampcore.PublishOptions{IncludeMe: true})
				expectErr(t, err, nil)
				synctest.Wait()
				if n := events.Load(); n != 1 {
					t.Errorf("the handler got %d events, want 1", n)
				}
			})
		})
	}
}

func TestConcurrentCallsOfOneSessionAreAllAnsweredRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		callee, caller := join(t, r.Dial(), client.Config{Backlog: 4096}), join(t, r.Dial(), client.Config{})
		double := func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
			var n int
			if err := inv.Payload.DecodeArgs(&n); err != nil {
				return wampcore.Payload{}, err
			}
			return wampcore.NewPayload(wampcore.CBOR, []any{2 * n}, nil)
		}
		_, err := callee.Register(t.Context(), "p", double, wampcore.RegisterOptions{})
		expectErr(t, err, nil)
		var calls sync.WaitGroup
		for i := range 2000 {
			calls.Go(func() {
				p, _ := wampcore.NewPayload(wampcore.MessagePack, []any{i}, nil)
				res, err := caller.Call(t.Context(), "p", p, wampcore.CallOptions{})
				var got int
				if decodeErr := res.DecodeArgs(&got); err != nil || decodeErr != nil || got != 2*i {
					t.Errorf("got %d, %v, %v, want %d", got, err, decodeErr, 2*i)
				}
			})
		}
		calls.Wait()
	})
}
