package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// curlPost runs curl with a POST and returns what it says, the status at its end.
func curlPost(tb testing.TB, url string, args ...string) (string, string) {
	tb.Helper()
	p := start(tb, nil, need(tb, "curl"), append([]string{"-sSN", "-X", "POST", "-w", "\n%{http_code}\n", "--max-time", "30", url}, args...)...)
	var lines []string
	for line := range p.lines {
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		tb.Fatalf("curl %s says nothing", url)
	}
	return strings.TrimRight(strings.Join(lines[:len(lines)-1], "\n"), "\n"), lines[len(lines)-1]
}

func jsonBody(body string) []string {
	return []string{"-H", "Content-Type: application/json", "-d", body}
}

func gzipOf(tb testing.TB, s string) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, s)
	if err := errors.Join(err, z.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// ids are what no test can know beforehand.
var ids = regexp.MustCompile(`fin\.[0-9a-f]+|"request_id":"[0-9a-f]+"`)

// TestCallsOfCurlReachAutobahn calls procedures of Autobahn|Python with curl, in all forms that HTTP has for calls.
func TestCallsOfCurlReachAutobahn(t *testing.T) { //nolint:tparallel // beside each other, but not beside other tests
	for _, e := range []string{"json", "cbor", "msgpack"} {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			_, base := gateway(t)
			callee := script(t, "calls_component.py", webSocket(base), e)
			callee.expect("ready")
			call := base + "/v1/call/com.example."
			progressive(t, call)
			batches(t, base, callee)
			hangingUp(t, call, callee)
		})
	}
}

func progressive(t *testing.T, call string) {
	t.Helper()
	for _, c := range []struct{ procedure, accept, body, want, status string }{
		{"count", "application/json", `[2]`, `{"args":[2]}`, "200"},
		{
			"count", "text/event-stream", `[2]`,
			"event: progress\ndata: {\"args\":[0]}\n\nevent: progress\ndata: {\"args\":[1]}\n\nid: \nevent: result\ndata: {\"args\":[2]}", "200",
		},
		{"count", "application/jsonl", `[2]`, "{\"progress\":{\"args\":[0]}}\n{\"progress\":{\"args\":[1]}}\n{\"id\":\"\",\"result\":{\"args\":[2]}}", "200"},
		{
			"fail", "application/jsonl", `[418]`, "{\"progress\":{\"args\":[418]}}\n" + `{"id":"","error":{"type":"about:blank",` +
				`"title":"The procedure answered with an error","status":418,"detail":"no such thing","wamp":{"error":"com.example.error",` +
				`"args":["no such thing"],"kwargs":{"http_status":418}},"retriable":false,"outcome":"executed",}}`, "200",
		},
	} {
		got, status := curlPost(t, call+c.procedure+"?as=args", append(jsonBody(c.body), "-H", "Accept: "+c.accept)...)
		if got = ids.ReplaceAllString(got, ""); got != c.want || status != c.status {
			t.Errorf("%s in %s: got %s %s, want %s", c.procedure, c.accept, status, got, c.want)
		}
	}
	if got, status := curlPost(t, call+"fail?as=args", jsonBody(`[418]`)...); status != "418" {
		t.Errorf("got %s %s", status, got)
	}
	if got, status := curlPost(t, call+"count", "-H", "Accept: text/event-stream", "-H", "Last-Event-ID: fin.0123"); status != "204" || got != "" {
		t.Errorf("got %s %s", status, got)
	}
}

func batches(t *testing.T, base string, callee *process) {
	t.Helper()
	got, status := curlPost(t, base+"/v1/call", jsonBody(`[{"procedure":"com.example.echo","args":[1]},{"procedure":"com.example.none"},{"procedure":"com.example.echo","kwargs":{"a":2}}]`)...)
	var all []map[string]any
	if err := json.Unmarshal([]byte(got), &all); err != nil || status != "200" || len(all) != 3 || all[1]["status"] != 404.0 {
		t.Errorf("got %s %s, %v", status, got, err)
	}
	got, status = curlPost(t, base+"/v1/publish", jsonBody(`[{"topic":"com.example.t","args":[1]},{"topic":"com..t"}]`)...)
	if status != "400" || !strings.Contains(got, "nothing was published: element 1") {
		t.Errorf("got %s %s", status, got)
	}
	for range 2 {
		got, status = curlPost(t, base+"/v1/call/com.example.echo?as=args", append(jsonBody(`["once"]`), "-H", "Idempotency-Key: 1")...)
		if status != "200" || got != `{"args":["once"]}` {
			t.Errorf("got %s %s", status, got)
		}
	}
	if got, status = curlPost(t, base+"/v1/call/com.example.echo?as=args", append(jsonBody(`["other"]`), "-H", "Idempotency-Key: 1")...); status != "422" {
		t.Errorf("got %s %s", status, got)
	}
	if got, status = curlPost(t, base+"/v1/call/com.example.echo"); status != "200" {
		t.Errorf("got %s %s", status, got)
	}
	if line := callee.expect("called 4"); line != "called 4" { // two of the batch, one with the key
		t.Errorf("got %q", line)
	}
}

// hangingUp ends curl while a call is open: the callee is told, whatever the form of the answer.
func hangingUp(t *testing.T, call string, callee *process) {
	t.Helper()
	for _, accept := range []string{"application/json", "text/event-stream", "application/jsonl"} {
		curl := start(t, nil, need(t, "curl"), "-sSN", "-X", "POST", "-H", "Accept: "+accept, call+"hold")
		callee.expect("held")
		if accept != "application/json" {
			curl.expect("holding")
		}
		_ = curl.cmd.Process.Kill()
		callee.expect("cancelled")
	}
}

// TestBodiesOfEveryEncodingReachNativeClients calls with curl in all encodings, in which a callee of another one gets the same.
func TestBodiesOfEveryEncodingReachNativeClients(t *testing.T) {
	_, base := gateway(t)
	const value = `[18446744073709551615,-9007199254740993,1.5,"\u0000AQID",{"a":null}]`
	types := map[wampcore.Encoding]string{wampcore.JSON: "application/json", wampcore.MessagePack: "application/msgpack", wampcore.CBOR: "application/cbor"}
	for _, of := range encodings {
		procedure := "com.example.echo_" + of.String()
		echo(t, base, of, wampcore.URI(procedure))
		for in, inType := range types {
			for out, outType := range types {
				sent, got := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
				if err := os.WriteFile(sent, transcode(wampcore.JSON, []byte(value), in), 0o600); err != nil {
					t.Fatal(err)
				}
				_, status := curlPost(t, base+"/v1/call/"+procedure+"?as=value&result=value", "--compressed", "-o", got,
					"-H", "Content-Type: "+inType, "-H", "Accept: "+outType, "--data-binary", "@"+sent)
				b, err := os.ReadFile(got)
				if err != nil {
					t.Fatal(err)
				}
				if s := string(transcode(out, b, wampcore.JSON)); status != "200" || s != value {
					t.Errorf("%s to %s by %s: got %s %s", inType, outType, of, status, s)
				}
			}
		}
	}
}

func transcode(from wampcore.Encoding, b []byte, to wampcore.Encoding) []byte {
	if wampcore.Scan(from, b) != nil {
		return nil
	}
	return wampcore.Payload{Encoding: from, Args: b}.Transcode(to).Args
}

// native opens a session of the client library by WebSocket.
func native(tb testing.TB, base string, e wampcore.Encoding) *client.Session {
	tb.Helper()
	tr, err := transport.Dial(tb.Context(), webSocket(base), transport.Config{Encodings: []wampcore.Encoding{e}})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := client.Join(tb.Context(), tr, client.Config{Realm: "realm1"})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func echo(tb testing.TB, base string, e wampcore.Encoding, procedure wampcore.URI) {
	tb.Helper()
	_, err := native(tb, base, e).Register(tb.Context(), procedure, func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		return inv.Payload, nil
	}, wampcore.RegisterOptions{})
	if err != nil {
		tb.Fatal(err)
	}
}

// TestLinesOfCurlArePartsOfACall sends lines with curl, of which each is answered before the next one is sent.
func TestLinesOfCurlArePartsOfACall(t *testing.T) {
	_, base := gateway(t)
	_, err := native(t, base, wampcore.CBOR).Register(t.Context(), "com.example.parts", func(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		n := 0
		for part := range inv.Parts(ctx) {
			if part.Final {
				break
			}
			n++
			if err := inv.Progress(ctx, part.Payload); err != nil {
				return wampcore.Payload{}, err
			}
		}
		return wampcore.NewPayload(wampcore.CBOR, []any{n}, nil)
	}, wampcore.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	curl := startWith(t, in, need(t, "curl"), "-sSN", "-X", "POST", "-T", ".", "-H", "Expect:", "-H", "Content-Type: application/jsonl", base+"/v1/call/com.example.parts?as=value")
	for i := range 3 {
		if _, err := fmt.Fprintf(out, "%d\n", i); err != nil {
			t.Fatal(err)
		}
		curl.expect(fmt.Sprintf(`{"progress":{"args":[%d]}}`, i))
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	curl.expect(`"result":{"args":[3]}}`)
	if status := curl.exit(); status != 0 {
		t.Errorf("curl ended with %d", status)
	}
}

// TestTraceContextGoesThroughTheGateway looks at what a native callee and a native subscriber get of a request's headers.
func TestTraceContextGoesThroughTheGateway(t *testing.T) {
	_, base := gateway(t)
	s := native(t, base, wampcore.MessagePack)
	got := make(chan wampcore.Attributes, 2)
	_, err := s.Register(t.Context(), "com.example.p", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		got <- inv.Details.Custom
		return wampcore.Payload{}, nil
	}, wampcore.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Subscribe(t.Context(), "com.example.t", func(_ context.Context, e *wampcore.Event) { got <- e.Details.Custom }, wampcore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, path := range []string{"/v1/call/com.example.p", "/v1/publish/com.example.t"} {
		if got, status := curlPost(t, base+path, "-H", "traceparent: "+parent, "-H", "tracestate: a=1,b=2"); status != "200" {
			t.Fatalf("%s: got %s %s", path, status, got)
		}
		custom := <-got
		for key, want := range map[string]string{"_traceparent": parent[3:35], "_tracestate": "a=1,b=2"} {
			i := slices.IndexFunc(custom, func(a wampcore.Attribute) bool { return a.Key == key })
			var text string
			if i >= 0 {
				_ = custom[i].Value.Decode(&text)
			}
			if !strings.Contains(text, want) {
				t.Errorf("%s: %s is %q, want %s in it", path, key, text, want)
			}
		}
	}
}

// TestBrokenRequestsHurtNobody sends what real clients do not: cut bodies, bombs, and lines without an end.
func TestBrokenRequestsHurtNobody(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_MAX_BODY=64KiB")
	echo(t, base, wampcore.JSON, "com.example.echo")
	for _, c := range []struct {
		path, kind, encoding string
		body                 []byte
		want                 int
	}{
		{"/v1/call/com.example.echo", "application/json", "gzip", gzipOf(t, `{"args":["`+strings.Repeat("a", 50<<20)+`"]}`), 413},
		{"/v1/call/com.example.echo", "application/json", "gzip", []byte("no gzip"), 400},
		{"/v1/call/com.example.echo", "application/cbor", "", []byte("\x9f\x9f\x9f"), 400},
		{"/v1/call/com.example.echo", "application/msgpack", "", []byte("\xdf\xff\xff\xff\xff"), 400},
		{"/v1/call/com.example.echo", "application/jsonl", "", []byte(strings.Repeat(" ", 1<<20)), 413},
		{"/v1/call/com.example.echo", "application/jsonl", "", []byte("{}\n{}\n{\n"), 400},
		{"/v1/call", "application/json", "", []byte(`[` + strings.Repeat(`{"procedure":"x"},`, 200) + `{"procedure":"x"}]`), 400},
		{"/v1/publish", "application/json", "", []byte(`[` + strings.Repeat(`{"topic":"x"},`, 1001) + `{"topic":"x"}]`), 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+c.path, bytes.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", c.kind)
		req.Header.Set("Accept", "application/json")
		if c.encoding != "" {
			req.Header.Set("Content-Encoding", c.encoding)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s %s: %v", c.path, c.kind, err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != c.want || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: got %d %.300s, want %d", c.path, c.kind, res.StatusCode, b, c.want)
		}
	}
	if got, status := curlPost(t, base+"/v1/call/com.example.echo", jsonBody(`{"args":[1]}`)...); status != "200" || got != `{"args":[1]}` {
		t.Errorf("got %s %s", status, got)
	}
}

// TestBatchAsksTheRouterElsewhere: what another router would refuse is found out before anything is published there.
func TestBatchAsksTheRouterElsewhere(t *testing.T) {
	name := filepath.Join(t.TempDir(), "wampgate.yaml")
	if err := os.WriteFile(name, []byte(`
realms:
  realm1:
    roles:
      anonymous:
        permissions:
          - {uri: com.example., match: prefix, allow: [publish, subscribe]}
          - {uri: com.example.secret, allow: []}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, elsewhere := gateway(t, "WAMPGATE_CONFIG="+name)
	_, base := gateway(t, "WAMPGATE_UPSTREAM_URL="+webSocket(elsewhere))
	got := make(chan string, 10)
	_, err := native(t, elsewhere, wampcore.JSON).Subscribe(t.Context(), "com.example.news", func(_ context.Context, e *wampcore.Event) {
		got <- string(e.Payload.Args)
	}, wampcore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`[{"topic":"com.example.news","args":[1]},{"topic":"com.example.secret"}]`:               "403",
		`[{"topic":"com.example.news","args":[2]},{"topic":"com.example.news","args":["last"]}]`: "200",
	} {
		if answer, status := curlPost(t, base+"/v1/publish", jsonBody(body)...); status != want {
			t.Errorf("%s: got %s %s, want %s", body, status, answer, want)
		}
	}
	for _, want := range []string{"[2]", `["last"]`} {
		if have := <-got; have != want {
			t.Errorf("got %s, want %s", have, want)
		}
	}
}

// TestErrorsHaveTheStatusOfTheConfigurationFile calls what fails with an error of its own.
func TestErrorsHaveTheStatusOfTheConfigurationFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "wampgate.yaml")
	if err := os.WriteFile(name, []byte("calls:\n  errors:\n    - {uri: com.example.error., match: prefix, status: 409}\n    - {uri: com.example.error.gone, status: 410}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, base := gateway(t, "WAMPGATE_CONFIG="+name)
	_, err := native(t, base, wampcore.CBOR).Register(t.Context(), "com.example.fail", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		var uri wampcore.URI
		err := inv.Payload.DecodeArgs(&uri)
		return wampcore.Payload{}, errors.Join(&wampcore.Error{URI: uri}, err)
	}, wampcore.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{"com.example.error.gone": "410", "com.example.error.other": "409", "com.example.other": "422"} {
		if got, status := curlPost(t, base+"/v1/call/com.example.fail?as=value", jsonBody(`"`+uri+`"`)...); status != want {
			t.Errorf("%s: got %s %s, want %s", uri, status, got, want)
		}
	}
}
