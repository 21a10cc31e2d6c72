package wampcore

import "testing"

// BenchmarkDecodeKwargs is what a procedure of the router does to its call's arguments.
func BenchmarkDecodeKwargs(b *testing.B) {
	p := Payload{Encoding: JSON, Kwargs: []byte(`{"limit":256,"after_publication":123456}`)}
	b.ReportAllocs()
	for b.Loop() {
		var k struct {
			Limit int64 `codec:"limit"`
			After ID    `codec:"after_publication"`
		}
		if err := p.DecodeKwargs(&k); err != nil || k.Limit != 256 || k.After != 123456 {
			b.Fatal(k, err)
		}
	}
}

// BenchmarkNewPayload is what it does to its result.
func BenchmarkNewPayload(b *testing.B) {
	args, kwargs := []any{"a", 1, true}, map[string]any{"more": false}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewPayload(JSON, args, kwargs); err != nil {
			b.Fatal(err)
		}
	}
}
