package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// mediaTypes are the names of the encodings.
var mediaTypes = map[wampcore.Encoding]string{ //nolint:gochecknoglobals // a constant table
	wampcore.JSON: "application/json", wampcore.MessagePack: "application/msgpack", wampcore.CBOR: "application/cbor",
}

// decodeBodies has the OpenAPI document's validator understand all encodings.
func decodeBodies() {
	for e, name := range mediaTypes {
		if e == wampcore.JSON {
			continue
		}
		openapi3filter.RegisterBodyDecoder(name, func(
			body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn,
		) (any, error) {
			b, err := io.ReadAll(body)
			if err != nil {
				return nil, err
			}
			var v any
			err = json.Unmarshal(toJSON(e, b), &v)
			return v, err
		})
	}
}

func decodeLines() {
	openapi3filter.RegisterBodyDecoder("application/jsonl", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.FileBodyDecoder)
}

func toJSON(e wampcore.Encoding, b []byte) []byte {
	return bridge.Transcode(wampcore.Raw{Encoding: e, Bytes: b}, wampcore.JSON)
}

func fromJSON(e wampcore.Encoding, s string) string {
	return string(bridge.Transcode(wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte(s)}, e))
}

func (f *face) echo(tb testing.TB) {
	tb.Helper()
	f.register(tb, "com.example.echo", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		return inv.Payload, nil
	})
}

func TestEveryEncodingIsTakenAndAnswered(t *testing.T) {
	f := newFace(t)
	f.echo(t)
	const value = `[18446744073709551615,-9223372036854775808,"\u0000AQID",1.5,{"a":null}]`
	for in, inType := range mediaTypes {
		for out, outType := range mediaTypes {
			for query, c := range map[string]struct{ body, want string }{
				"":                       {`{"args":` + value + `,"kwargs":{"b":1}}`, `{"args":` + value + `,"kwargs":{"b":1}}`},
				"?as=args":               {value, `{"args":` + value + `}`},
				"?as=kwargs":             {`{"v":` + value + `}`, `{"kwargs":{"v":` + value + `}}`},
				"?as=value&result=value": {value, value},
				"?result=value":          {`{}`, `null`},
			} {
				rec := f.do(t, http.MethodPost, "/v1/call/com.example.echo"+query, fromJSON(in, c.body), "Content-Type", inType, "Accept", outType)
				got := toJSON(out, rec.Body.Bytes())
				if rec.Code != http.StatusOK || string(got) != c.want || rec.Header().Get("Content-Type") != outType {
					t.Errorf("%s to %s%s: got %d %v %s, want %s", in, out, query, rec.Code, rec.Header(), got, c.want)
				}
				if rec.Header().Get("Vary") != "Accept, Accept-Encoding" || rec.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("got %v", rec.Header())
				}
			}
			rec := f.do(t, http.MethodPost, "/v1/publish/t", fromJSON(in, `{"args":[1],"options":{"exclude_me":false}}`), "Content-Type", inType, "Accept", outType)
			if got := string(toJSON(out, rec.Body.Bytes())); rec.Code != http.StatusOK || !strings.HasPrefix(got, `{"publication":`) {
				t.Errorf("%s to %s: got %d %s", in, out, rec.Code, got)
			}
		}
	}
}

func TestAnswerWithoutAcceptIsInTheEncodingOfTheBody(t *testing.T) {
	f := newFace(t)
	f.echo(t)
	rec := f.do(t, http.MethodPost, "/v1/call/com.example.echo?as=value", fromJSON(wampcore.CBOR, `1`), "Content-Type", "application/cbor")
	if got := rec.Body.String(); got != "\xa1\x64args\x81\x01" {
		t.Errorf("got %q", got)
	}
}

func TestProblemsAreJSONUnlessTheClientTakesNone(t *testing.T) {
	f := newFace(t)
	for accept, want := range map[string]string{
		"": "application/problem+json", "*/*": "application/problem+json", "application/problem+json, application/cbor": "application/problem+json",
		"application/json": "application/problem+json", "application/cbor, application/json;q=0.1": "application/problem+json",
		"application/cbor": "application/cbor", "application/msgpack": "application/msgpack", "text/html": "application/problem+json",
	} {
		header := []string{"Accept", accept}
		if accept == "" {
			header = nil
		}
		rec := f.do(t, http.MethodPost, "/v1/call/nothing", "", header...)
		body := rec.Body.Bytes()
		switch want {
		case "application/cbor":
			body = toJSON(wampcore.CBOR, body)
		case "application/msgpack":
			body = toJSON(wampcore.MessagePack, body)
		}
		if rec.Header().Get("Content-Type") != want || !strings.Contains(string(body), `"retriable":`) {
			t.Errorf("%q: got %s %s, want %s", accept, rec.Header().Get("Content-Type"), body, want)
		}
	}
}

func TestBodyOfAnotherTypeIsToldWhatItMayBe(t *testing.T) {
	f := newFace(t)
	for _, header := range [][]string{{"Content-Type", "text/plain"}, {"Content-Type", ""}, {"Content-Encoding", "br"}} {
		rec := f.do(t, http.MethodPost, "/v1/call/p", `{}`, header...)
		if rec.Code != http.StatusUnsupportedMediaType || !strings.Contains(rec.Header().Get("Accept-Post"), "application/cbor") {
			t.Errorf("%v: got %d %v", header, rec.Code, rec.Header())
		}
	}
}

func TestLargeAnswersAreCompressedForThoseWhoAsk(t *testing.T) {
	f := newFace(t)
	text := strings.Repeat("abc", 1000)
	f.register(t, "large", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		return wampcore.NewPayload(wampcore.JSON, []any{text}, nil)
	})
	for accept, want := range map[string]string{
		"": "", "gzip": "gzip", "br, gzip;q=0.5": "gzip", "*": "gzip", "gzip;q=0": "", "*, gzip;q=0": "", "br": "",
	} {
		rec := f.do(t, http.MethodPost, "/v1/call/large", "", "Accept-Encoding", accept)
		if got := rec.Header().Get("Content-Encoding"); got != want {
			t.Errorf("%q: got %q, want %q", accept, got, want)
			continue
		}
		body := rec.Body.Bytes()
		if want == "gzip" {
			body = gunzip(t, body)
		}
		if string(body) != `{"args":["`+text+`"]}` {
			t.Errorf("%q: got %.40s…", accept, body)
		}
	}
	if rec := f.do(t, http.MethodGet, "/v1/sessions", "", "Accept-Encoding", "gzip"); rec.Header().Get("Content-Encoding") != "" {
		t.Error("a small answer is compressed")
	}
}

func gunzip(tb testing.TB, b []byte) []byte {
	tb.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		tb.Fatal(err)
	}
	b, err = io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func gzipped(tb testing.TB, s string) string {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, s); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestCompressedBodyIsBoundedAfterInflation(t *testing.T) {
	f := newFace(t) // takes bodies of 1 KiB
	f.echo(t)
	for body, want := range map[string]int{
		gzipped(t, `{"args":[1]}`):                                  200,
		gzipped(t, `{"args":["`+strings.Repeat("a", 100_000)+`"]}`): 413,
		`{"args":[1]}`:                  400,
		gzipped(t, `{"args":[1]}`)[:20]: 400,
	} {
		if rec := f.do(t, http.MethodPost, "/v1/call/com.example.echo", body, "Content-Encoding", "gzip"); rec.Code != want {
			t.Errorf("%.12q: got %d %s, want %d", body, rec.Code, rec.Body, want)
		}
	}
}

func TestTraceContextReachesTheCalleeAndTheSubscriber(t *testing.T) {
	f := newFace(t)
	const parent, state = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", `congo=t61rcWkgMzE,rojo=00f0"x`
	got := make(chan wampcore.Attributes, 1)
	s := f.register(t, "p", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		got <- inv.Details.Custom
		return wampcore.Payload{}, nil
	})
	_, err := s.Subscribe(t.Context(), "t", func(_ context.Context, e *wampcore.Event) { got <- e.Details.Custom }, wampcore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		body          string
		header        []string
		parent, state string
	}{
		{``, nil, "", ""},
		{``, []string{"Traceparent", parent}, parent, ""},
		{``, []string{"Traceparent", parent, "Tracestate", state}, parent, state},
		{``, []string{"Traceparent", parent, "Tracestate", "no state"}, parent, ""},
		{``, []string{"Traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "Tracestate", state}, "", ""},
		{``, []string{"Traceparent", strings.ToUpper(parent)}, "", ""},
		{``, []string{"Traceparent", parent + "-x"}, "", ""},
		{``, []string{"Traceparent", "01" + parent[2:] + "-x"}, "01" + parent[2:] + "-x", ""},
		{``, []string{"Traceparent", "ff" + parent[2:]}, "", ""},
		{`{"options":{"_traceparent":"mine"}}`, []string{"Traceparent", parent}, "mine", ""},
	} {
		for _, path := range []string{"/v1/call/p", "/v1/publish/t"} {
			if rec := f.do(t, http.MethodPost, path, c.body, c.header...); rec.Code != http.StatusOK {
				t.Fatalf("got %d %s", rec.Code, rec.Body)
			}
			said := map[string]string{}
			for _, a := range <-got {
				var v string
				if err := a.Value.Decode(&v); err != nil {
					t.Error(err)
				}
				said[a.Key] = v
			}
			if said["_traceparent"] != c.parent || said["_tracestate"] != c.state {
				t.Errorf("%s %v: got %v", path, c.header, said)
			}
		}
	}
}

func TestTimeoutOfTheBodyCountsLikeThoseOfTheHeaders(t *testing.T) {
	f := newFace(t)
	f.register(t, "p", func(ctx context.Context, _ *client.Invocation) (wampcore.Payload, error) {
		<-ctx.Done()
		return wampcore.Payload{}, ctx.Err()
	})
	rec := f.do(t, http.MethodPost, "/v1/call/p", `{"options":{"timeout":20}}`)
	if rec.Code != http.StatusGatewayTimeout || !strings.Contains(rec.Body.String(), `"outcome":"unknown"`) {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}
