package router_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

func TestCallsAreTimedFromTheCallToTheLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t)
		callee, _ := join(t, r, realm1, allFeatures())
		caller, _ := join(t, r, realm1, allFeatures())
		register(callee, 1, "p")
		took := func(d time.Duration, id wampcore.ID, answer func(inv wampcore.ID)) {
			caller.Send(&wampcore.Call{Request: id, Procedure: "p", Options: wampcore.CallOptions{ReceiveProgress: true}})
			inv := wamptest.Expect[*wampcore.Invocation](callee)
			time.Sleep(d) //nolint:forbidigo // of the bubble's time
			answer(inv.Request)
		}
		took(30*time.Microsecond, 1, func(inv wampcore.ID) { callee.Send(&wampcore.Yield{Request: inv}) })
		took(2*time.Millisecond, 2, func(inv wampcore.ID) {
			callee.Send(&wampcore.ErrorMsg{RequestType: wampcore.TypeInvocation, Request: inv, URI: "com.error"})
		})
		took(time.Second, 3, func(inv wampcore.ID) {
			callee.Send(&wampcore.Yield{Request: inv, Options: wampcore.YieldOptions{Progress: true}})
			wamptest.Expect[*wampcore.Result](caller)
			time.Sleep(time.Second) //nolint:forbidigo // of the bubble's time
			callee.Send(&wampcore.Yield{Request: inv})
		})
		took(time.Minute, 4, func(wampcore.ID) { caller.Send(&wampcore.Cancel{Request: 4}) })
		caller.Send(&wampcore.Call{Request: 5, Procedure: "nobody.has.it"})
		synctest.Wait()
		got := r.Stats().CallDurations
		if got.Count != 4 || got.Sum != time.Minute+2*time.Second+2*time.Millisecond+30*time.Microsecond {
			t.Errorf("got %d calls in %s", got.Count, got.Sum)
		}
		for bound, want := range map[time.Duration]uint64{50 * time.Microsecond: 1, time.Millisecond: 1, 2500 * time.Microsecond: 2, time.Second: 2, 2500 * time.Millisecond: 3, 30 * time.Second: 3} {
			if got.UpTo[bound] != want {
				t.Errorf("%d took %s at the most, want %d", got.UpTo[bound], bound, want)
			}
		}
	})
}
