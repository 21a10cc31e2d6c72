package bridge

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// FuzzAnswer: whatever a service answers is a well-formed result, a fault with a URI, or an answer that was cut.
func FuzzAnswer(f *testing.F) {
	for _, s := range []struct {
		status     int
		kind, body string
	}{
		{200, "application/json", `{"args":[1],"kwargs":{"a":1}}`},
		{200, "text/event-stream", "\xef\xbb\xbfdata: {\"args\":[1]}\r\n\r\nevent: result\ndata: {}\n\n"},
		{200, "text/event-stream", "event: error\ndata: {\"wamp\":{\"error\":\"com.e\"}}\n\n"},
		{200, "application/jsonl", "{\"progress\":{\"args\":[1]}}\n{\"result\":{}}\n"},
		{200, "application/jsonl", "[1]\n{\"error\":5}"},
		{409, "application/problem+json", `{"detail":"d","wamp":{"error":"com.e","args":[1],"kwargs":{"http_status":418}}}`},
		{503, "application/json", `{"wamp":null}`},
	} {
		f.Add(s.status, s.kind, s.body, "")
		f.Add(s.status, s.kind, s.body, "value")
	}
	const most = 1 << 12
	f.Fuzz(func(t *testing.T, status int, kind, body, as string) {
		a := &answerReader{as: As(as), max: most, alive: func() {}, progress: func(p wampcore.Payload) error {
			wellFormed(t, p)
			return nil
		}}
		p, err := a.read(&http.Response{
			StatusCode: status, ProtoMajor: 2, Header: http.Header{"Content-Type": {kind}, "Retry-After": {body}}, Body: io.NopCloser(strings.NewReader(body)),
		})
		if err == nil {
			wellFormed(t, p)
			return
		}
		refused, ok := errors.AsType[*fault](err)
		if !ok {
			t.Fatalf("%T %v", err, err)
		}
		if !refused.err.URI.Valid(false) {
			t.Errorf("%q is no URI", refused.err.URI)
		}
		wellFormed(t, refused.err.Payload)
	})
}

func wellFormed(t *testing.T, p wampcore.Payload) {
	t.Helper()
	for _, b := range [][]byte{p.Args, p.Kwargs} {
		if len(b) > 0 && wampcore.Scan(wampcore.JSON, b) != nil {
			t.Errorf("%q is not well-formed", b)
		}
	}
}

// FuzzHookSpec: whatever a hook is made of, it is refused, or within its bounds.
func FuzzHookSpec(f *testing.F) {
	for _, s := range []string{
		`{"procedure":"com.p","url":"http://localhost:1/x","timeout":"5s","headers":{"X":"y"}}`,
		`{"topic":"com.","match":"prefix","url":"http://127.0.0.1","dead_letter":"d","secrets":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}`,
		`{"hooks":{"a":{"url":"/x","procedure":"p"}}}`, `{"url":1}`, `{"a":1,"a":2}`,
	} {
		f.Add(s)
	}
	e, err := NewEgress(EgressConfig{Loopback: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseDiscovery([]byte(text))
		spec, err := ParseHookSpec([]byte(text))
		if err != nil {
			return
		}
		h, err := spec.check(e)
		if err != nil {
			return
		}
		if h.Timeout <= 0 || h.RetryFor <= 0 || h.Concurrency < 1 || h.Queue < 1 || h.Batch < 1 || h.url.Hostname() == "" || (h.Procedure == "") == (h.Topic == "") {
			t.Errorf("%s: %+v", text, h)
		}
		if h.DeadLetter != "" && h.DeadLetter == h.Topic {
			t.Errorf("%s: it is sent its own dead letters", text)
		}
	})
}

// FuzzHeaders: whatever others call themselves, it is one header, and comes back out of it.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"com.p", "a\r\nEvil: 1", "größe%20\"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h := http.Header{}
		setText(h, "Wamp-Topic", s)
		traceHeaders(h, Trace{s, s})
		for name, values := range h {
			for _, v := range values {
				if strings.ContainsFunc(v, isNoHeaderText) {
					t.Errorf("%s: %q", name, v)
				}
			}
		}
		if got := unescape(h.Get("Wamp-Topic")); got != s {
			t.Errorf("got %q, want %q", got, s)
		}
		if d := retryAfter(http.Header{"Retry-After": {s}}, time.Now()); d < 0 {
			t.Errorf("%q: %s", s, d)
		}
	})
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		hex := strings.ToLower(s[i+1 : i+3])
		b.WriteByte(byte(strings.IndexByte("0123456789abcdef", hex[0])<<4 | strings.IndexByte("0123456789abcdef", hex[1])))
		i += 2
	}
	return b.String()
}

func TestAnswerWithoutLengthThatMayHaveBeenCutIsNoResult(t *testing.T) {
	for body, kind := range map[string]string{
		"": "application/json", `{"args":[1`: "application/json", "data: {}\n\n": "text/event-stream", "{\"args\":[1]}\n": "application/jsonl",
	} {
		a := &answerReader{max: 1000, alive: func() {}, progress: func(wampcore.Payload) error { return nil }}
		_, err := a.read(&http.Response{
			StatusCode: http.StatusOK, ProtoMajor: 1, ContentLength: -1, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)),
		})
		if !errors.Is(err, errCutShort) {
			t.Errorf("%s %q: got %v", kind, body, err)
		}
	}
}
