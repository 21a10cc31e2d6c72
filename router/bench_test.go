package router_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

// rawPeer is a joined transport without the deadlines that a test wants and a measurement does not.
func rawPeer(b *testing.B, r *router.Router) wampcore.Transport {
	b.Helper()
	t := r.Dial()
	exchange[*wampcore.Welcome](b, t, &wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}})
	return t
}

func exchange[T wampcore.Message](b *testing.B, t wampcore.Transport, m wampcore.Message) T {
	b.Helper()
	if sent, err := t.Write([]wampcore.Message{m}); err != nil || !sent {
		b.Fatal("write", sent, err)
	}
	got, err := t.Receive()
	if err != nil {
		b.Fatal(err)
	}
	want, ok := got.(T)
	if !ok {
		b.Fatalf("got %T", got)
	}
	return want
}

func BenchmarkCallThroughTwoPipes(b *testing.B) {
	r := newRouter(b)
	callee, caller := rawPeer(b, r), rawPeer(b, r)
	exchange[*wampcore.Registered](b, callee, &wampcore.Register{Request: 1, Procedure: "com.example.p"})
	go func() {
		out := make([]wampcore.Message, 1)
		for {
			m, err := callee.Receive()
			if err != nil {
				return
			}
			if inv, ok := m.(*wampcore.Invocation); ok {
				out[0] = &wampcore.Yield{Request: inv.Request, Payload: inv.Payload}
				_, _ = callee.Write(out)
			}
		}
	}()
	b.ReportAllocs()
	out, payload, id := make([]wampcore.Message, 1), args(`["0123456789abcdef"]`), wampcore.ID(0)
	for b.Loop() {
		id++
		out[0] = &wampcore.Call{Request: id, Procedure: "com.example.p", Payload: payload}
		_, _ = caller.Write(out)
		if _, err := caller.Receive(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPublishAmongManySubscriptions(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			r := newRouter(b)
			sub := wamptest.New(b, r.Dial())
			sub.Send(&wampcore.Hello{Realm: realm1, Details: wampcore.HelloDetails{Roles: allFeatures()}})
			wamptest.Expect[*wampcore.Welcome](sub)
			for i := range n {
				subscribe(sub, wampcore.ID(i+1), wampcore.URI(fmt.Sprintf("com.example.t%d", i)))
			}
			pub := rawPeer(b, r)
			b.ReportAllocs()
			opts := wampcore.PublishOptions{Acknowledge: true}
			id := wampcore.ID(0)
			for b.Loop() {
				id++
				exchange[*wampcore.Published](b, pub, &wampcore.Publish{Request: id, Topic: "com.example.nobody", Options: opts})
			}
		})
	}
}
