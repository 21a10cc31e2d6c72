package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// flaky is a router that a test plays, connection by connection.
type flaky struct {
	*testing.T
	r *client.Redialer

	mu    sync.Mutex
	dials []time.Time
	fail  error
	peers chan *wamptest.Peer
}

func (f *flaky) dial(context.Context) (wampcore.Transport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials = append(f.dials, time.Now())
	if f.fail != nil {
		return nil, f.fail
	}
	near, far := wampcore.Pipe()
	f.peers <- wamptest.New(f.T, far)
	return near, nil
}

// broken makes dialing fail, or not any more.
func (f *flaky) broken(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// next answers the next HELLO.
func (f *flaky) next() *wamptest.Peer {
	f.Helper()
	p := <-f.peers
	wamptest.Expect[*wampcore.Hello](p)
	p.Send(&wampcore.Welcome{Session: wampcore.NewID()})
	return p
}

func redialing(t *testing.T, cfg client.RedialConfig, f func(*flaky)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fl := &flaky{T: t, peers: make(chan *wamptest.Peer, 100)}
		cfg.Dial = fl.dial
		cfg.Session.Realm = realm1
		fl.r = client.Redial(cfg)
		defer func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // cut
			_ = fl.r.Close(ctx)
		}()
		f(fl)
	})
}

// subscribed answers a SUBSCRIBE.
func subscribed(p *wamptest.Peer, id wampcore.ID) wampcore.URI {
	m := wamptest.Expect[*wampcore.Subscribe](p)
	p.Send(&wampcore.Subscribed{Request: m.Request, Subscription: id})
	return m.Topic
}

func TestWhatStandsIsRestoredOnTheNextSession(t *testing.T) {
	var log []string // written by one goroutine, read when it waits
	var restored []wampcore.URI
	cfg := client.RedialConfig{
		OnUp:   func(*client.Session) { log = append(log, "up") },
		OnDown: func(error) { log = append(log, "down") },
		OnRestored: func(st *client.Standing, err error) {
			restored = append(restored, st.URI())
			if err != nil {
				log = append(log, err.Error())
			}
		},
	}
	redialing(t, cfg, func(t *flaky) {
		p := t.next()
		synctest.Wait() // else it may be lost before it is told of
		var events atomic.Int32
		sub := start(func() (*client.Standing, error) {
			return t.r.Subscribe(t.Context(), "t", count(&events), wampcore.SubscribeOptions{Match: wampcore.MatchPrefix})
		})
		subscribed(p, 7)
		standing, err := sub()
		if err != nil || standing.URI() != "t" {
			t.Fatal(err)
		}
		reg := start(func() (*client.Standing, error) {
			return t.r.Register(t.Context(), "p", echo, wampcore.RegisterOptions{})
		})
		p.Send(&wampcore.Registered{Request: wamptest.Expect[*wampcore.Register](p).Request, Registration: 9})
		if _, err := reg(); err != nil {
			t.Fatal(err)
		}
		result := start(func() (wampcore.Payload, error) {
			return t.r.Call(t.Context(), "q", wampcore.Payload{}, wampcore.CallOptions{})
		})
		wamptest.Expect[*wampcore.Call](p)
		p.Close() // the network is cut
		_, err = result()
		expectErr(t, err, client.ErrClosed)
		synctest.Wait()
		_, err = t.r.Call(t.Context(), "q", wampcore.Payload{}, wampcore.CallOptions{})
		expectErr(t, err, client.ErrDown)
		_, err = t.r.Publish(t.Context(), "q", wampcore.Payload{}, wampcore.PublishOptions{})
		expectErr(t, err, client.ErrDown)

		p = t.next()
		for range 2 { // in any order
			m, err := p.Receive()
			if err != nil {
				t.Fatal(err)
			}
			switch m := m.(type) {
			case *wampcore.Subscribe:
				if m.Topic != "t" || m.Options.Match != wampcore.MatchPrefix {
					t.Errorf("got %+v", m)
				}
				p.Send(&wampcore.Subscribed{Request: m.Request, Subscription: 70})
			case *wampcore.Register:
				p.Send(&wampcore.Registered{Request: m.Request, Registration: 90})
			default:
				t.Errorf("got %T", m)
			}
		}
		p.Send(&wampcore.Event{Subscription: 70, Publication: 1, Details: wampcore.EventDetails{Topic: "t.x"}})
		p.Send(&wampcore.Invocation{Request: 1, Registration: 90, Payload: args(`["x"]`)})
		if y := wamptest.Expect[*wampcore.Yield](p); text(t, y.Payload) != "x" {
			t.Error("the procedure is not back")
		}
		synctest.Wait()
		if events.Load() != 1 {
			t.Error("the subscription is not back")
		}
		slices.Sort(restored)
		if want := []string{"up", "down", "up"}; !slices.Equal(log, want) || !slices.Equal(restored, []wampcore.URI{"p", "t"}) {
			t.Errorf("told of %v, restored %v", log, restored)
		}

		ended := begin(func() error { return standing.End(t.Context()) })
		p.Send(&wampcore.Unsubscribed{Request: wamptest.Expect[*wampcore.Unsubscribe](p).Request})
		expectErr(t, ended(), nil)
		p.Close()
		p = t.next()
		m := wamptest.Expect[*wampcore.Register](p) // and no SUBSCRIBE
		p.Send(&wampcore.Registered{Request: m.Request, Registration: 900})
		synctest.Wait()
		if _, err := t.r.Session(); err != nil {
			t.Error(err)
		}
	})
}

func TestDelayBetweenAttemptsGrowsWithJitterAndStartsAnew(t *testing.T) {
	redialing(t, client.RedialConfig{MinDelay: time.Second, MaxDelay: 8 * time.Second}, func(t *flaky) {
		p := t.next()
		synctest.Wait()
		t.broken(errors.New("no route"))
		p.Close()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := t.r.Wait(ctx)
		expectErr(t, err, client.ErrDown)
		t.mu.Lock()
		gaps := make([]time.Duration, 0, len(t.dials))
		for i := range t.dials[1:] {
			gaps = append(gaps, t.dials[i+1].Sub(t.dials[i]))
		}
		t.mu.Unlock()
		want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second}
		for i, w := range want {
			if i >= len(gaps) || gaps[i] < w/2 || gaps[i] > w*3/2 {
				t.Fatalf("the delays were %v, want about %v", gaps, want)
			}
		}
		t.broken(nil)
		p = t.next()
		time.Sleep(20 * time.Second) //nolint:forbidigo // the bubble's clock
		t.mu.Lock()
		before := len(t.dials)
		t.mu.Unlock()
		lost := time.Now()
		p.Close()
		t.next()
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(t.dials) != before+1 || t.dials[before].Sub(lost) > 1500*time.Millisecond {
			t.Errorf("after a session that lived, the next attempt came after %s", t.dials[before].Sub(lost))
		}
	})
}

func TestWhatIsRefusedAtFirstDoesNotStand(t *testing.T) {
	redialing(t, client.RedialConfig{}, func(t *flaky) {
		p := t.next()
		reg := start(func() (*client.Standing, error) {
			return t.r.Register(t.Context(), "p", echo, wampcore.RegisterOptions{})
		})
		m := wamptest.Expect[*wampcore.Register](p)
		p.Send(&wampcore.ErrorMsg{RequestType: wampcore.TypeRegister, Request: m.Request, URI: wampcore.ErrNotAuthorized})
		_, err := reg()
		expectErr(t, err, &wampcore.Error{URI: wampcore.ErrNotAuthorized})
		p.Close()
		p = t.next()
		synctest.Wait()
		p.Close() // with nothing sent before
	})
}

func TestWhatIsRefusedLaterIsTriedAgain(t *testing.T) {
	var refused atomic.Int32
	restored := func(_ *client.Standing, err error) {
		if err != nil {
			refused.Add(1)
		}
	}
	redialing(t, client.RedialConfig{OnRestored: restored}, func(t *flaky) {
		reg := start(func() (*client.Standing, error) {
			return t.r.Register(t.Context(), "p", echo, wampcore.RegisterOptions{})
		})
		p := t.next()
		p.Send(&wampcore.Registered{Request: wamptest.Expect[*wampcore.Register](p).Request, Registration: 9})
		if _, err := reg(); err != nil {
			t.Fatal(err)
		}
		p.Close()
		p = t.next()
		for range 3 { // the router has not noticed yet that the old session is gone
			m := wamptest.Expect[*wampcore.Register](p)
			p.Send(&wampcore.ErrorMsg{RequestType: wampcore.TypeRegister, Request: m.Request, URI: wampcore.ErrProcedureAlreadyExists})
		}
		p.Send(&wampcore.Registered{Request: wamptest.Expect[*wampcore.Register](p).Request, Registration: 9})
		synctest.Wait()
		if refused.Load() != 3 {
			t.Errorf("told of %d refusals", refused.Load())
		}
		if s, err := t.r.Session(); err != nil || s.Err() != nil {
			t.Error("the session ended for that")
		}
	})
}

func TestSubscriptionThatIsGivenUpWhileThereIsNoSessionDoesNotStand(t *testing.T) {
	redialing(t, client.RedialConfig{MinDelay: time.Minute, MaxDelay: time.Minute}, func(t *flaky) {
		p := t.next()
		t.broken(errors.New("no route"))
		p.Close()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := t.r.Subscribe(ctx, "t", func(context.Context, *wampcore.Event) {}, wampcore.SubscribeOptions{})
		expectErr(t, err, client.ErrDown)
		t.broken(nil)
		p = t.next()
		synctest.Wait()
		p.Close()
	})
}

func TestRevocationNamesWhatStood(t *testing.T) {
	revoked := make(chan wampcore.URI, 1)
	cfg := client.RedialConfig{OnRevoked: func(st *client.Standing, _ wampcore.RevokedDetails) { revoked <- st.URI() }}
	redialing(t, cfg, func(t *flaky) {
		p := t.next()
		sub := start(func() (*client.Standing, error) {
			return t.r.Subscribe(t.Context(), "t", func(context.Context, *wampcore.Event) {}, wampcore.SubscribeOptions{})
		})
		subscribed(p, 7)
		if _, err := sub(); err != nil {
			t.Fatal(err)
		}
		p.Send(&wampcore.Unsubscribed{Details: wampcore.RevokedDetails{ID: 7}})
		if got := <-revoked; got != "t" {
			t.Errorf("got %s", got)
		}
	})
}

func TestRevocationThatFollowsAtOnceIsNotMissed(t *testing.T) {
	for name, attach := range map[string]func(*flaky) (*client.Standing, error){
		"subscription": func(t *flaky) (*client.Standing, error) {
			return t.r.Subscribe(t.Context(), "t", func(context.Context, *wampcore.Event) {}, wampcore.SubscribeOptions{})
		},
		"registration": func(t *flaky) (*client.Standing, error) {
			return t.r.Register(t.Context(), "t", echo, wampcore.RegisterOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var told atomic.Int32
			cfg := client.RedialConfig{OnRevoked: func(*client.Standing, wampcore.RevokedDetails) { told.Add(1) }}
			redialing(t, cfg, func(t *flaky) { revocations(t, &told, attach) })
		})
	}
}

func revocations(t *flaky, told *atomic.Int32, attach func(*flaky) (*client.Standing, error)) {
	p := t.next()
	for id := wampcore.ID(1); id <= 300; id++ { // who is first, the reader or who waits for it, is chance
		told.Store(0)
		standing := start(func() (*client.Standing, error) { return attach(t) })
		revokeAtOnce(p, id)
		st, err := standing()
		synctest.Wait()
		switch {
		case err != nil:
			if !errors.Is(err, &wampcore.Error{URI: wampcore.ErrNotAuthorized}) {
				t.Fatal(err)
			}
		case told.Load() != 1 || !st.Revoked():
			t.Fatalf("number %d was taken away, and nobody was told", id)
		default:
			if err := st.End(t.Context()); err != nil { // there is nothing to tell the router
				t.Fatal(err)
			}
		}
	}
	told.Store(0)
	standing := start(func() (*client.Standing, error) { return attach(t) })
	agree(p, 1000)
	if _, err := standing(); err != nil {
		t.Fatal(err)
	}
	p.Close()
	revokeAtOnce(t.next(), 1001) // when it is restored
	synctest.Wait()
	if told.Load() != 1 {
		t.Errorf("told %d times", told.Load())
	}
}

// agree answers a SUBSCRIBE or REGISTER.
func agree(p *wamptest.Peer, id wampcore.ID) (registered bool) {
	m, _ := p.Receive()
	switch m := m.(type) {
	case *wampcore.Subscribe:
		p.Send(&wampcore.Subscribed{Request: m.Request, Subscription: id})
	case *wampcore.Register:
		p.Send(&wampcore.Registered{Request: m.Request, Registration: id})
		return true
	}
	return false
}

// revokeAtOnce takes back what it has agreed to.
func revokeAtOnce(p *wamptest.Peer, id wampcore.ID) {
	if agree(p, id) {
		p.Send(&wampcore.Unregistered{Details: wampcore.RevokedDetails{ID: id}})
	} else {
		p.Send(&wampcore.Unsubscribed{Details: wampcore.RevokedDetails{ID: id}})
	}
}

func TestRedialerSaysWhyTheFirstAttemptFailed(t *testing.T) {
	redialing(t, client.RedialConfig{}, func(t *flaky) {
		p := <-t.peers
		wamptest.Expect[*wampcore.Hello](p)
		p.Send(&wampcore.Abort{Reason: wampcore.ErrNoSuchRealm})
		_, err := t.r.Ready(t.Context())
		expectErr(t, err, &wampcore.Error{URI: wampcore.ErrNoSuchRealm})
		expectErr(t, err, client.ErrDown)
	})
}

func TestClosedRedialerOpensNoOtherSession(t *testing.T) {
	for name, state := range map[string]func(*flaky){
		"while there is one":         func(t *flaky) { t.next(); synctest.Wait() },
		"while it waits for WELCOME": func(t *flaky) { synctest.Wait() },
		"while it waits to try":      func(t *flaky) { p := t.next(); t.broken(errors.New("no")); p.Close(); synctest.Wait() },
	} {
		t.Run(name, func(t *testing.T) {
			redialing(t, client.RedialConfig{}, func(t *flaky) {
				state(t)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_ = t.r.Close(ctx)
				before := len(t.dials)
				time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
				if len(t.dials) != before {
					t.Error("it dials on")
				}
				for _, wait := range []func(context.Context) (*client.Session, error){t.r.Wait, t.r.Ready} {
					if _, err := wait(t.Context()); err == nil {
						t.Error("there is a session")
					}
				}
				_, err := t.r.Wait(t.Context())
				expectErr(t, err, client.ErrClosed)
			})
		})
	}
}

func TestTypedCallsAndProcedures(t *testing.T) {
	type point struct {
		X, Y int
		Name string `json:"name"`
	}
	ctx := t.Context()
	s := join(t, newRouter(t).Dial(), client.Config{})
	move := client.Procedure(func(_ context.Context, p point) (point, error) {
		if p.Name == "" {
			return p, &wampcore.Error{URI: "com.example.nameless"}
		}
		return point{p.X + 1, p.Y + 1, p.Name}, nil
	})
	if _, err := s.Register(ctx, "com.example.move", move, wampcore.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := client.Call[point](ctx, s, "com.example.move", point{1, 2, "a"})
	if want := (point{2, 3, "a"}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	byName, err := wampcore.NewPayload(wampcore.JSON, nil, map[string]any{"X": 1, "name": "b"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Call(ctx, "com.example.move", byName, wampcore.CallOptions{})
	if err != nil || out.DecodeArgs(&got) != nil || got != (point{2, 1, "b"}) {
		t.Errorf("by keywords: got %+v, %v", got, err)
	}
	_, err = client.Call[point](ctx, s, "com.example.move", point{})
	expectErr(t, err, &wampcore.Error{URI: "com.example.nameless"})
	_, err = client.Call[point](ctx, s, "com.example.move", "no point")
	expectErr(t, err, &wampcore.Error{URI: wampcore.ErrInvalidArgument})
	if _, err = client.Call[int](ctx, s, "com.example.move", point{1, 2, "a"}); err == nil {
		t.Error("a point was taken for a number")
	}
	if n, err := client.Call[int](ctx, s, "wamp.session.count"); err != nil || n != 1 {
		t.Errorf("got %d, %v", n, err)
	}
	_, err = client.Call[int](ctx, s, "com.example.move", make(chan int))
	if err == nil {
		t.Error(fmt.Errorf("a channel was encoded: %w", err))
	}
}
