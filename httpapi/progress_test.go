package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// counter registers a procedure that answers with 0, 1, … as progressive results, and last with how many. After the first it waits for
// go on, where that is not nil.
func (f *face) counter(tb testing.TB, n int, goOn <-chan struct{}, failure error) chan error {
	tb.Helper()
	ended := make(chan error, 10)
	f.register(tb, "count", func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		for i := range n {
			p, _ := wampcore.NewPayload(wampcore.CBOR, []any{i}, nil)
			if err := inv.Progress(ctx, p); err != nil {
				ended <- err
				return wampcore.Payload{}, err
			}
			if goOn != nil {
				select {
				case <-goOn:
				case <-ctx.Done():
					ended <- context.Cause(ctx)
					return wampcore.Payload{}, ctx.Err()
				}
			}
		}
		ended <- nil
		p, _ := wampcore.NewPayload(wampcore.JSON, []any{n}, nil)
		return p, failure
	})
	return ended
}

// answer is one that may still go on.
type answer struct {
	*bufio.Reader

	status int
	header http.Header
}

// serve serves the face on a real connection and returns what sends a request.
func (f *face) serve(tb testing.TB) func(ctx context.Context, path string, body io.Reader, header ...string) answer {
	tb.Helper()
	srv := httptest.NewServer(f.handler)
	tb.Cleanup(srv.Close)
	return post(tb, srv)
}

// serveHTTP2 is serve by HTTP/2.
func (f *face) serveHTTP2(tb testing.TB) func(ctx context.Context, path string, body io.Reader, header ...string) answer {
	tb.Helper()
	srv := httptest.NewUnstartedServer(f.handler)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	tb.Cleanup(srv.Close)
	return post(tb, srv)
}

func post(tb testing.TB, srv *httptest.Server) func(ctx context.Context, path string, body io.Reader, header ...string) answer {
	tb.Helper()
	return func(ctx context.Context, path string, body io.Reader, header ...string) answer {
		tb.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+path, body)
		if err != nil {
			tb.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = res.Body.Close() })
		return answer{bufio.NewReader(res.Body), res.StatusCode, res.Header}
	}
}

// withoutIDs hides what is random.
func withoutIDs(s string) string {
	for _, prefix := range []string{"fin.", `"request_id":"`} {
		for i := 0; ; {
			n := strings.Index(s[i:], prefix)
			if n < 0 {
				break
			}
			i += n + len(prefix)
			end := i
			for end < len(s) && strings.IndexByte("0123456789abcdef", s[end]) >= 0 {
				end++
			}
			s = s[:i] + s[end:]
		}
	}
	return s
}

func quiet(c *httpapi.Config) { c.Heartbeat = time.Hour }

func TestProgressiveResultsAreAnsweredAsTheyCome(t *testing.T) {
	f := newFace(t, quiet)
	f.counter(t, 2, nil, nil)
	for _, c := range []struct{ query, accept, want string }{
		{"", "text/event-stream", "event: progress\ndata: {\"args\":[0]}\n\nevent: progress\ndata: {\"args\":[1]}\n\nid: fin.\nevent: result\ndata: {\"args\":[2]}\n\n"},
		{"?result=value", "text/event-stream", "event: progress\ndata: 0\n\nevent: progress\ndata: 1\n\nid: fin.\nevent: result\ndata: 2\n\n"},
		{"", "application/jsonl", "{\"progress\":{\"args\":[0]}}\n{\"progress\":{\"args\":[1]}}\n{\"id\":\"fin.\",\"result\":{\"args\":[2]}}\n"},
		{"", "application/json", `{"args":[2]}`},
	} {
		rec := f.do(t, http.MethodPost, "/v1/call/count"+c.query, "", "Accept", c.accept)
		if got := withoutIDs(rec.Body.String()); rec.Code != http.StatusOK || got != c.want || rec.Header().Get("Content-Type") != c.accept {
			t.Errorf("%s %s: got %d %v %s, want %s", c.accept, c.query, rec.Code, rec.Header(), got, c.want)
		}
	}
}

func TestCallThatHasItsAnswerIsNotMadeAgainByAReconnect(t *testing.T) {
	f := newFace(t, quiet)
	n := f.counting(t, "p", "")
	rec := f.do(t, http.MethodPost, "/v1/call/p", "", "Accept", "text/event-stream")
	id, _, _ := strings.Cut(strings.TrimPrefix(rec.Body.String(), "id: "), "\n")
	rec = f.do(t, http.MethodPost, "/v1/call/p", "", "Accept", "text/event-stream", "Last-Event-ID", id)
	if rec.Code != http.StatusNoContent || n.Load() != 1 {
		t.Errorf("%q: got %d, called %d times", id, rec.Code, n.Load())
	}
}

func TestErrorBeforeTheStreamIsAProblemAndLaterAnEvent(t *testing.T) {
	f := newFace(t, quiet)
	if rec := f.do(t, http.MethodPost, "/v1/call/count", "", "Accept", "text/event-stream"); rec.Code != http.StatusNotFound ||
		rec.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %v", rec.Code, rec.Header())
	}
	f.counter(t, 1, nil, &wampcore.Error{URI: "com.example.error", Message: "why"})
	const problem = `{"type":"about:blank","title":"The procedure answered with an error","status":422,"detail":"why",` +
		`"wamp":{"error":"com.example.error","args":["why"],"kwargs":{}},"retriable":false,"outcome":"executed","request_id":""}`
	for accept, want := range map[string]string{
		"text/event-stream": "event: progress\ndata: {\"args\":[0]}\n\nid: fin.\nevent: error\ndata: " + problem + "\n\n",
		"application/jsonl": "{\"progress\":{\"args\":[0]}}\n{\"id\":\"fin.\",\"error\":" + problem + "}\n",
	} {
		rec := f.do(t, http.MethodPost, "/v1/call/count", "", "Accept", accept)
		if got := withoutIDs(rec.Body.String()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if rec := f.do(t, http.MethodPost, "/v1/call/count", "", "Accept", "text/event-stream", "Idempotency-Key", "k"); rec.Code != http.StatusBadRequest {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func TestToHangUpOnAStreamCancelsTheCall(t *testing.T) {
	f := newFace(t, quiet)
	ended := f.counter(t, 2, make(chan struct{}), nil)
	t.Run("HTTP/1.1", func(t *testing.T) { hangUps(t, f.serve(t), ended) })
	t.Run("HTTP/2", func(t *testing.T) { hangUps(t, f.serveHTTP2(t), ended) })
}

func hangUps(t *testing.T, send func(ctx context.Context, path string, body io.Reader, header ...string) answer, ended chan error) {
	t.Helper()
	for _, header := range [][]string{{"Accept", "text/event-stream"}, {"Accept", "application/jsonl"}, {"Content-Type", "application/jsonl"}} {
		ctx, hangUp := context.WithCancel(t.Context())
		var body io.Reader
		if header[0] == "Content-Type" {
			in, out := io.Pipe()
			go func() { // Go's client looks at ctx by HTTP/2 only when it has something to send
				_, _ = io.WriteString(out, "{}\n")
				<-ctx.Done()
				_ = out.CloseWithError(ctx.Err())
			}()
			body = in
		}
		res := send(ctx, "/v1/call/count", body, header...)
		if line, err := res.ReadString('\n'); err != nil || !strings.Contains(line, "progress") {
			t.Fatalf("got %q, %v", line, err)
		}
		hangUp()
		if err := <-ended; err == nil {
			t.Errorf("%v: the callee was not interrupted", header)
		}
	}
}

func TestQuietCallSaysThatItIsAlive(t *testing.T) {
	f := newFace(t) // beats every 20 ms
	goOn := make(chan struct{})
	f.register(t, "p", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		return wampcore.Payload{}, &wampcore.Error{URI: "com.example.error"}
	})
	res := f.serve(t)(t.Context(), "/v1/call/p", nil, "Accept", "text/event-stream")
	if line, err := res.ReadString('\n'); err != nil || line != ": \n" {
		t.Errorf("got %q, %v", line, err)
	}
	close(goOn)
	if rest, err := io.ReadAll(res); err != nil || !strings.Contains(string(rest), "event: error\n") {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestDeadlineOfAStreamIsItsError(t *testing.T) {
	f := newFace(t, quiet)
	f.counter(t, 2, make(chan struct{}), nil)
	rec := f.do(t, http.MethodPost, "/v1/call/count", "", "Accept", "text/event-stream", "Wamp-Timeout-Ms", "50")
	if got := rec.Body.String(); !strings.Contains(got, "event: error\n") || !strings.Contains(got, `"status":504`) {
		t.Errorf("got %s", got)
	}
}

func TestStreamOfHTTP2MayBeQuietForLongerThanAWriteMayTake(t *testing.T) {
	f := newFace(t, quiet, func(c *httpapi.Config) { c.WriteTimeout = 50 * time.Millisecond })
	goOn := make(chan struct{})
	f.counter(t, 2, goOn, nil)
	srv := httptest.NewUnstartedServer(f.handler)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	call := post(t, srv)(ctx, "/v1/call/count", nil, "Accept", "application/jsonl")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/v1/subscribe/t", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	events := bufio.NewReader(res.Body)
	for line := ""; !strings.Contains(line, "wamp.ready"); {
		if line, err = events.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	<-time.NewTimer(200 * time.Millisecond).C
	close(goOn)
	if got, err := io.ReadAll(call); err != nil || !strings.Contains(string(got), `"result"`) {
		t.Errorf("got %q, %v", got, err)
	}
	f.do(t, http.MethodPost, "/v1/publish/t", "")
	for line := ""; !strings.Contains(line, "publication"); {
		if line, err = events.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConnectionServesRequestsAfterAStream(t *testing.T) {
	f := newFace(t, quiet, func(c *httpapi.Config) { c.WriteTimeout = 50 * time.Millisecond })
	f.counter(t, 1, nil, nil)
	f.register(t, "slow", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		<-time.NewTimer(100 * time.Millisecond).C // longer than a write may take
		return wampcore.Payload{}, nil
	})
	send := f.serve(t)
	for _, path := range []string{"/v1/call/count", "/v1/call/slow"} {
		accept := map[string]string{"/v1/call/count": "text/event-stream", "/v1/call/slow": "application/json"}[path]
		res := send(t.Context(), path, nil, "Accept", accept)
		if _, err := io.ReadAll(res); err != nil || res.status != http.StatusOK {
			t.Errorf("%s: got %d, %v", path, res.status, err)
		}
	}
}

// summing registers a procedure that takes numbers in parts, answers each with the sum so far, and last with their number.
func (f *face) summing(tb testing.TB) chan error {
	tb.Helper()
	ended := make(chan error, 20)
	f.register(tb, "sum", func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		sum, n := 0, 0
		defer func() { ended <- context.Cause(ctx) }()
		for part := range inv.Parts(ctx) {
			if len(part.Payload.Args) == 0 {
				continue
			}
			var v int
			if err := part.Payload.DecodeArgs(&v); err != nil {
				return wampcore.Payload{}, err
			}
			sum += v
			n++
			p, _ := wampcore.NewPayload(wampcore.JSON, []any{sum}, nil)
			if err := inv.Progress(ctx, p); err != nil && inv.Details.ReceiveProgress {
				return wampcore.Payload{}, err
			}
		}
		return wampcore.NewPayload(wampcore.JSON, []any{n}, nil)
	})
	return ended
}

func TestLinesOfTheBodyAreThePartsOfTheCall(t *testing.T) {
	f := newFace(t, quiet)
	f.summing(t)
	t.Run("HTTP/1.1", func(t *testing.T) { fullDuplex(t, f.serve(t)) })
	t.Run("HTTP/2", func(t *testing.T) { fullDuplex(t, f.serveHTTP2(t)) })
}

func fullDuplex(t *testing.T, send func(ctx context.Context, path string, body io.Reader, header ...string) answer) {
	t.Helper()
	in, out := io.Pipe()
	first := make(chan answer)
	go func() { first <- send(t.Context(), "/v1/call/sum?as=value", in, "Content-Type", "application/jsonl") }()
	var res *answer
	for i, want := range []string{`{"progress":{"args":[1]}}`, `{"progress":{"args":[3]}}`, `{"progress":{"args":[6]}}`} {
		if _, err := fmt.Fprintf(out, "%d\n", i+1); err != nil {
			t.Fatal(err)
		}
		if res == nil {
			began := <-first
			res = &began
		}
		if line, err := res.ReadString('\n'); err != nil || line != want+"\n" { // while the body is not whole
			t.Fatalf("got %q, %v, want %s", line, err, want)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(res); err != nil || withoutIDs(string(rest)) != `{"id":"fin.","result":{"args":[3]}}`+"\n" {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestPartsHaveAnEndOneWayOrTheOther(t *testing.T) {
	f := newFace(t, quiet)
	f.summing(t)
	f.echo(t)
	send := f.serve(t)
	for _, c := range []struct{ path, body, want string }{
		{"sum", "{\"args\":[1]}\n\n{\"args\":[2]}", `{"args":[2]}`},
		{"sum", "{\"args\":[1]}\r\n{\"args\":[2],\"options\":{\"progress\":false}}\nnonsense", `{"args":[2]}`},
		{"sum", "{\"args\":[1],\"options\":{\"progress\":true,\"disclose_me\":true}}\n", `{"args":[1]}`},
		{"com.example.echo", "{\"args\":[1],\"options\":{\"progress\":false}}\n", `{"args":[1]}`},
		{"com.example.echo", "", `{}`},
	} {
		res := send(t.Context(), "/v1/call/"+c.path, strings.NewReader(c.body), "Content-Type", "application/jsonl", "Accept", "application/json")
		if got, err := io.ReadAll(res); err != nil || string(got) != c.want {
			t.Errorf("%s %q: got %d %s, %v, want %s", c.path, c.body, res.status, got, err, c.want)
		}
	}
}

func TestPartThatIsNoneEndsTheCall(t *testing.T) {
	f := newFace(t, quiet)
	f.summing(t)
	send := f.serve(t)
	for body, want := range map[string]int{
		"nonsense\n": 400, "{\"args\":1}\n": 400, "{\"options\":{\"x\":1}}\n": 400, "{\"args\":[\"" + strings.Repeat("x", 2000): 413,
		"{\"args\":[1]}\nnonsense\n": 400, "{\"args\":[1]}\n{\"options\":{\"disclose_me\":true}}\n": 400,
		"{\"args\":[1]}\n{\"args\":[\"" + strings.Repeat("x", 2000): 413,
	} {
		res := send(t.Context(), "/v1/call/sum", strings.NewReader(body), "Content-Type", "application/jsonl", "Accept", "application/json")
		got, err := io.ReadAll(res)
		begun := strings.HasPrefix(body, "{\"args\":[1]}")
		if err != nil || res.status != want || strings.Contains(string(got), `"outcome":"unknown"`) != begun {
			t.Errorf("%.40q: got %d %s, %v, want %d", body, res.status, got, err, want)
		}
	}
}

func TestCalleeIsInterruptedByAPartThatIsNone(t *testing.T) {
	f := newFace(t, quiet)
	ended := f.summing(t)
	send := f.serve(t)
	for _, line := range []string{"nonsense\n", "{\"args\":[\"" + strings.Repeat("x", 4000)} {
		in, out := io.Pipe()
		go func() { _, _ = io.WriteString(out, "{\"args\":[1]}\n") }()
		res := send(t.Context(), "/v1/call/sum", in, "Content-Type", "application/jsonl")
		if line, err := res.ReadString('\n'); err != nil || line != `{"progress":{"args":[1]}}`+"\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		go func() { _, _ = io.WriteString(out, line) }()
		if rest, err := io.ReadAll(res); err != nil || !strings.Contains(string(rest), `"error":{`) || !strings.Contains(string(rest), `"outcome":"unknown"`) {
			t.Errorf("%.20q: got %q, %v", line, rest, err)
		}
		if err := <-ended; err == nil {
			t.Errorf("%.20q: the callee was not interrupted", line)
		}
		_ = out.Close()
	}
}

func TestDeadlineEndsACallWhoseBodyIsStillOpen(t *testing.T) {
	f := newFace(t, quiet)
	ended := f.summing(t)
	in, out := io.Pipe()
	defer func() { _ = out.Close() }()
	go func() { _, _ = io.WriteString(out, "{\"args\":[1]}\n") }()
	res := f.serve(t)(t.Context(), "/v1/call/sum", in, "Content-Type", "application/jsonl", "Wamp-Timeout-Ms", "300")
	got, err := io.ReadAll(res)
	if err != nil || !strings.Contains(string(got), `"error":{`) || !strings.Contains(string(got), `"status":504`) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-ended; err == nil {
		t.Error("the callee was not interrupted")
	}
}

// FuzzLines: whatever the lines are, there is an answer, and no part of it is made up.
func FuzzLines(f *testing.F) {
	face := newFace(f, quiet)
	face.register(f, "p", func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		for range inv.Parts(ctx) {
		}
		return wampcore.Payload{}, ctx.Err()
	})
	for _, s := range []string{"{}\n{}\n", "{\"args\":[1]}\n\n{\"options\":{\"progress\":false}}\n", "[1]\n", "", "\n\r\n{"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/v1/call/p", strings.NewReader(string(body)))
		req.Header.Set("Content-Type", "application/jsonl")
		req.Header.Set("Accept", "application/json")
		rec := httptest.NewRecorder()
		face.handler.ServeHTTP(rec, req)
		if rec.Code != 200 && rec.Code != 400 && rec.Code != 413 {
			t.Errorf("%q: got %d %s", body, rec.Code, rec.Body)
		}
	})
}
