package httpapi //nolint:testpackage // what is tested is not seen from outside but through a whole request

import (
	"net/http"
	"testing"
	"time"
)

func TestLeastOfTheDeadlinesWins(t *testing.T) {
	a := &api{cfg: Config{CallTimeout: 30 * time.Second, MaxCallTimeout: time.Minute}}
	for _, c := range []struct {
		ms, connect, grpc string
		option, want      time.Duration // 0: refused
	}{
		{"", "", "", 0, 30 * time.Second},
		{"40000", "", "", 0, 40 * time.Second},
		{"40000", "1000", "", 0, time.Second},
		{"40000", "1000", "5m", 0, 5 * time.Millisecond},
		{"40000", "", "1H", 7 * time.Second, 7 * time.Second},
		{"3600000", "", "", 0, time.Minute},
		{"9223372036854775807", "", "99999999H", 0, time.Minute},
		{"0", "", "", 0, 0},
		{"-1", "", "", 0, 0},
		{"1.5", "", "", 0, 0},
		{"", "soon", "", 0, 0},
		{"", "", "5", 0, 0},
		{"", "", "S", 0, 0},
		{"", "", "123456789S", 0, 0},
		{"", "", "0S", 0, 0},
	} {
		r := &http.Request{Header: http.Header{}}
		for name, v := range map[string]string{"Wamp-Timeout-Ms": c.ms, "Connect-Timeout-Ms": c.connect, "Grpc-Timeout": c.grpc} {
			if v != "" {
				r.Header.Set(name, v)
			}
		}
		got, err := a.timeout(r, c.option)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%+v: got %s, %v", c, got, err)
		}
	}
}

// FuzzHeaders: whatever headers say, a deadline is within its bounds, and trace context is passed on as it is or not at all.
func FuzzHeaders(f *testing.F) {
	f.Add("5S", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1,b=2", "k")
	f.Add("99999999H", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", `a="\`, `"k"`)
	a := &api{cfg: Config{CallTimeout: time.Second, MaxCallTimeout: time.Minute}}
	f.Fuzz(func(t *testing.T, timeout, parent, state, key string) {
		r := &http.Request{Header: http.Header{
			"Grpc-Timeout": {timeout}, "Wamp-Timeout-Ms": {timeout}, "Traceparent": {parent}, "Tracestate": {state}, idempotencyKey: {key},
		}}
		if d, err := a.timeout(r, 0); err == nil && (d <= 0 || d > time.Minute) {
			t.Errorf("%q: got %s", timeout, d)
		}
		for i, attribute := range traced(r, nil) {
			var text string
			if err := attribute.Value.Decode(&text); err != nil || text != []string{parent, state}[i] {
				t.Errorf("got %q, %v, want %q", text, err, []string{parent, state}[i])
			}
		}
		p := requesterOf(r).Principal
		if name(p, "/a", key) == name(p, "/a"+key, "") && key != "" {
			t.Errorf("%q: two keys are one", key)
		}
	})
}
