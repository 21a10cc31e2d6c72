package bridge_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// benchmarked returns a session beside a hook to a service in the same process.
func benchmarked(b *testing.B, spec bridge.HookSpec, service http.HandlerFunc) *client.Session {
	b.Helper()
	n := connect(b, false)
	srv := httptest.NewServer(service)
	b.Cleanup(srv.Close)
	egress, err := bridge.NewEgress(bridge.EgressConfig{Loopback: true})
	if err != nil {
		b.Fatal(err)
	}
	hooks := bridge.NewHooks(bridge.HooksConfig{Dial: n.dial, Egress: egress})
	b.Cleanup(func() { _ = hooks.Close(context.Background()) })
	spec.URL = srv.URL
	if _, err := hooks.Put(b.Context(), anybody, "h", spec); err != nil {
		b.Fatal(err)
	}
	s, err := client.Join(b.Context(), n.router.Dial(), client.Config{Realm: realm1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func BenchmarkCallThroughHook(b *testing.B) {
	answer := text(http.StatusOK, jsonKind, `{"args":[5]}`)
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := benchmarked(b, bridge.HookSpec{Procedure: "com.p", Concurrency: 16, Queue: 64}, answer)
			b.SetParallelism(callers)
			b.ReportAllocs()
			call := func() {
				if _, err := s.Call(b.Context(), "com.p", payload("[2,3]", ""), wampcore.CallOptions{}); err != nil {
					b.Error(err)
				}
			}
			if callers == 1 {
				for b.Loop() {
					call()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call()
				}
			})
		})
	}
}

func BenchmarkDeliveryToHook(b *testing.B) {
	for _, format := range []bridge.Format{bridge.FormatWAMP, bridge.FormatBatch} {
		b.Run(string(format), func(b *testing.B) {
			last := make(chan struct{}, 1)
			count := 0
			s := benchmarked(b, bridge.HookSpec{Topic: "com.t", Format: format}, func(_ http.ResponseWriter, r *http.Request) {
				var n int
				if _, err := fmt.Sscanf(r.Header.Get("Webhook-Id"), "%d-%d-%d", new(int), new(int), &n); err != nil {
					n = 1
				}
				if count += n; count >= b.N {
					select {
					case last <- struct{}{}:
					default:
					}
				}
			})
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := s.Publish(b.Context(), "com.t", payload("[2,3]", ""), wampcore.PublishOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			<-last
		})
	}
}
