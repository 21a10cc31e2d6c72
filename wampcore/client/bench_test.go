package client_test

import (
	"testing"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

func BenchmarkCallThroughSession(b *testing.B) {
	r := newRouter(b)
	callee, caller := join(b, r.Dial(), client.Config{}), join(b, r.Dial(), client.Config{})
	if _, err := callee.Register(b.Context(), "com.example.p", echo, wampcore.RegisterOptions{}); err != nil {
		b.Fatal(err)
	}
	payload := args(`["0123456789abcdef"]`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := caller.Call(b.Context(), "com.example.p", payload, wampcore.CallOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
