package router_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// outsider is a peer from another machine, or what address says.
func outsider(t *testing.T, r *router.Router, address string) *wamptest.Peer {
	t.Helper()
	near, far := wampcore.Pipe()
	go func() { _ = r.Attach(far, router.Peer{Transport: "test", Address: address}) }()
	p := wamptest.New(t, near)
	p.Join(realm1, allFeatures())
	return p
}

func local(p router.Peer) bool { return p.Address == "here" }

func expectGoodbye(t *testing.T, p *wamptest.Peer) {
	t.Helper()
	if g := wamptest.Expect[*wampcore.Goodbye](p); g.Reason != wampcore.CloseSystemShutdown {
		t.Errorf("reason %s", g.Reason)
	}
	p.ExpectClosed()
}

func TestDrainEndsSessionsOverTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		const n, window = 40, 10 * time.Second
		ended := make(chan time.Duration, n)
		begun := time.Now()
		for range n {
			p := outsider(t, r, "there")
			go func() {
				expectGoodbye(t, p)
				ended <- time.Since(begun)
			}()
		}
		if err := r.Drain(t.Context(), window, nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > window {
			t.Errorf("it took %s", took)
		}
		var quarters [4]int
		for range n {
			quarters[min(3, int(4*<-ended/window))]++
		}
		for i, got := range quarters {
			if got == 0 || got > n/2 {
				t.Errorf("%d of %d sessions ended in quarter %d", got, n, i+1)
			}
		}
	})
}

func TestDrainKeepsThoseWhoStayAndRefusesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		here, inside, there := outsider(t, r, "here"), peer(t, r), outsider(t, r, "there")
		if err := r.Drain(t.Context(), 0, local); err != nil {
			t.Error(err)
		}
		expectGoodbye(t, there)
		register(here, 1, "com.example.p")
		inside.Send(&wampcore.Call{Request: 1, Procedure: "com.example.p"})
		here.Send(&wampcore.Yield{Request: wamptest.Expect[*wampcore.Invocation](here).Request})
		wamptest.Expect[*wampcore.Result](inside)
		peer(t, r)
		near, far := wampcore.Pipe()
		go func() { _ = r.Attach(far, router.Peer{Transport: "test", Address: "there"}) }()
		late := wamptest.New(t, near)
		late.Send(&wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}})
		expectAbort(t, late, wampcore.CloseSystemShutdown)
	})
}

func TestDrainLetsCallsBeAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		callee, caller := outsider(t, r, "there"), outsider(t, r, "there")
		register(callee, 1, "com.example.p")
		caller.Send(&wampcore.Call{Request: 1, Procedure: "com.example.p"})
		inv := wamptest.Expect[*wampcore.Invocation](callee)
		done := make(chan error, 1)
		go func() { done <- r.Drain(t.Context(), 0, nil) }()
		synctest.Wait()
		caller.Send(&wampcore.Call{Request: 2, Procedure: "com.example.q"})
		expectError(t, caller, wampcore.TypeCall, 2, wampcore.ErrUnavailable)
		callee.Send(&wampcore.Register{Request: 2, Procedure: "com.example.q"})
		expectError(t, callee, wampcore.TypeRegister, 2, wampcore.ErrUnavailable)
		caller.Send(&wampcore.Call{Request: 3, Procedure: "wamp.session.count"})
		wamptest.Expect[*wampcore.Result](caller)
		callee.Send(&wampcore.Yield{Request: inv.Request, Payload: args("[5]")})
		if res := wamptest.Expect[*wampcore.Result](caller); string(res.Payload.Args) != "[5]" {
			t.Errorf("got %s", res.Payload.Args)
		}
		expectGoodbye(t, caller)
		expectGoodbye(t, callee)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		callee, caller := outsider(t, r, "there"), outsider(t, r, "there")
		register(callee, 1, "com.example.p")
		caller.Send(&wampcore.Call{Request: 1, Procedure: "com.example.p"})
		wamptest.Expect[*wampcore.Invocation](callee)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if err := r.Drain(ctx, 0, nil); err == nil || time.Since(begun) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(begun))
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Finish(ctx); err == nil {
			t.Error("the call was cut")
		}
		callee.Send(&wampcore.Yield{Request: 1})
		wamptest.Expect[*wampcore.Result](caller)
		expectGoodbye(t, caller)
		expectGoodbye(t, callee)
	})
}

func TestFinishLosesNoAcknowledgedPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		publisher, subscriber := peer(t, r), peer(t, r)
		subscribe(subscriber, 1, "com.example.t")
		callee := peer(t, r)
		register(callee, 1, "com.example.p")
		publisher.Send(&wampcore.Call{Request: 1, Procedure: "com.example.p"})
		inv := wamptest.Expect[*wampcore.Invocation](callee) // it keeps the publisher there
		go func() { _ = r.Finish(t.Context()) }()
		for i := wampcore.ID(2); i < 100; i++ {
			publisher.Send(&wampcore.Publish{Request: i, Topic: "com.example.t", Options: wampcore.PublishOptions{Acknowledge: true}})
		}
		callee.Send(&wampcore.Yield{Request: inv.Request})
		acknowledged, received := 0, 0
		for m, err := publisher.Receive(); err == nil; m, err = publisher.Receive() {
			switch m := m.(type) {
			case *wampcore.Published:
				acknowledged++
			case *wampcore.ErrorMsg:
				if m.URI != wampcore.ErrUnavailable {
					t.Errorf("got %s", m.URI)
				}
			}
		}
		for m, err := subscriber.Receive(); err == nil; m, err = subscriber.Receive() {
			if _, ok := m.(*wampcore.Event); ok {
				received++
			}
		}
		if received != acknowledged {
			t.Errorf("%d publications were acknowledged, %d received", acknowledged, received)
		}
	})
}

func TestDrainThatComesTooLateOpensNoDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		callee, caller := outsider(t, r, "there"), outsider(t, r, "there")
		register(callee, 1, "com.example.p")
		caller.Send(&wampcore.Call{Request: 1, Procedure: "com.example.p"})
		inv := wamptest.Expect[*wampcore.Invocation](callee)
		drained, finished := make(chan error, 1), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { drained <- r.Drain(ctx, time.Hour, nil) }()
		synctest.Wait()
		go func() { finished <- r.Finish(t.Context()) }()
		synctest.Wait()
		if err := r.Drain(t.Context(), 0, local); err == nil {
			t.Error("a router that ends was drained")
		}
		caller.Send(&wampcore.Publish{Request: 2, Topic: "com.example.t", Options: wampcore.PublishOptions{Acknowledge: true}})
		expectError(t, caller, wampcore.TypePublish, 2, wampcore.ErrUnavailable)
		callee.Send(&wampcore.Yield{Request: inv.Request})
		wamptest.Expect[*wampcore.Result](caller)
		expectGoodbye(t, caller)
		expectGoodbye(t, callee)
		if err := <-finished; err != nil {
			t.Error(err)
		}
		cancel()
		<-drained
	})
}
