package httpapi_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

var crossbarAnybody = bridge.Principal{Realm: "realm1"} //nolint:gochecknoglobals // a constant

// crossbarred is a face with an endpoint of each kind.
func crossbarred(tb testing.TB, change ...func(path string, c *httpapi.Crossbar)) *face {
	tb.Helper()
	all := map[string]httpapi.Crossbar{
		"/publish":        {Kind: httpapi.CrossbarPublisher},
		"/call":           {Kind: httpapi.CrossbarCaller},
		"/hook":           {Kind: httpapi.CrossbarWebhook, Topic: "com.hook", SuccessResponse: "OK", ErrorResponse: "NOT OK"},
		"/github":         {Kind: httpapi.CrossbarWebhook, Topic: "com.hook", GitHubSecret: "s", SuccessResponse: "OK"},
		"/broken":         {Kind: httpapi.CrossbarWebhook, Topic: "wamp.hook", ErrorResponse: "NOT OK"},
		"/signed/publish": {Kind: httpapi.CrossbarPublisher, Key: "bazapp", Secret: "foobar"},
		"/fresh/call":     {Kind: httpapi.CrossbarCaller, Key: "k", Secret: "s", TimestampDelta: 300 * time.Second},
		"/here/call":      {Kind: httpapi.CrossbarCaller, RequireIP: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		"/elsewhere/call": {Kind: httpapi.CrossbarCaller, RequireIP: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"/tls/call":       {Kind: httpapi.CrossbarCaller, RequireTLS: true},
		"/small/publish":  {Kind: httpapi.CrossbarPublisher, BodyLimit: 20},
	}
	for path, c := range all {
		c.Principal = crossbarAnybody
		for _, f := range change {
			f(path, &c)
		}
		all[path] = c
	}
	return newFace(tb, func(cfg *httpapi.Config) {
		cfg.Crossbar, cfg.Origins = all, []string{"https://app.example"}
	})
}

func rejection(text string) string { return `{"error":"` + text + `","args":[],"kwargs":{}}` }

const sorry = `{"error": "wamp.error.runtime_error", "args": ["Sorry, Crossbar.io has encountered a problem."], "kwargs": {}}`

// TestCrossbarsChecksAreInItsOrderAndWords has the rows of Crossbar's table. Those about several Content-Length headers are net/http's.
func TestCrossbarsChecksAreInItsOrderAndWords(t *testing.T) {
	f := crossbarred(t)
	now := url.QueryEscape(time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	const invalid = "REST bridge signature was invalid ("
	for _, c := range []struct {
		row          string
		method, path string
		body         string
		header       []string
		status       int
		text         string
	}{
		{"1", "GET", "/publish", "", nil, 405, "Method not accepted by the REST bridge. (b'GET' not allowed, only POST, PUT)"},
		{"1", "DELETE", "/hook", "", nil, 405, "Method not accepted by the REST bridge. (b'DELETE' not allowed, only POST, PUT)"},
		{"2", "POST", "/publish", "{}", []string{"Content-Type", "Text/Plain; charset=x"}, 400, "Non-accepted content type. (must be one of '[b'application/json']', not 'b'text/plain'')"},
		{"3", "POST", "/publish", "{}", []string{"Content-Type", "application/json; charset=latin-1"}, 400, "Non-accepted request encoding, must be UTF-8."},
		{"3", "POST", "/hook", "{}", []string{"Content-Type", "text/plain; charset=utf8; charset=utf8"}, 400, "Non-accepted request encoding, must be UTF-8."},
		{"3", "POST", "/hook", "{}", []string{"Content-Type", "text/plain; charset=utf8=x"}, 400, "Non-accepted request encoding, must be UTF-8."},
		{"6", "POST", "/small/publish", `{"topic":"com.x.long"}`, nil, 413, "Request too long. (22 is longer than accepted 20)"},
		{"7", "POST", "/github", "x", nil, 400, "Malformed request to the REST bridge."},
		{"7", "POST", "/github", "x", []string{"X-Hub-Signature", "sha1=00"}, 400, "Malformed request to the REST bridge."},
		{"8", "POST", "/signed/publish?timestamp=x", "", nil, 400, invalid + "missing mandatory field - 'key' field missing)."},
		{"9", "POST", "/publish?timestamp=2014-06-03T16:51:41Z", "{}", nil, 400, invalid + "invalid timestamp '2014-06-03T16:51:41Z' (must be UTC/ISO-8601, e.g. '2011-10-14T16:59:51.123Z'))."},
		{"9", "POST", "/publish?timestamp=2014-13-03T16:51:41.1Z", "{}", nil, 400, invalid + "invalid timestamp '2014-13-03T16:51:41.1Z' (must be UTC/ISO-8601, e.g. '2011-10-14T16:59:51.123Z'))."},
		{"10", "POST", "/fresh/call?key=k&timestamp=2014-06-03T16:51:41.123Z", "{}", nil, 400, "Request expired, too old timestamp."},
		{"11", "POST", "/signed/publish?key=k", "{}", nil, 400, invalid + "missing mandatory field - signed request required, but mandatory 'timestamp' field missing)."},
		{"12", "POST", "/publish?seq=x", "{}", nil, 400, invalid + "invalid sequence number 'x' (must be an integer))."},
		{"13", "POST", "/signed/publish?key=k&timestamp=" + now, "{}", nil, 400, invalid + "missing mandatory field - 'seq' field missing)."},
		{"14", "POST", "/publish?seq=1&nonce=1.5", "{}", nil, 400, invalid + "invalid nonce '1.5' (must be an integer))."},
		{"15", "POST", "/signed/publish?key=k&seq=1&timestamp=" + now, "{}", nil, 400, invalid + "missing mandatory field - 'nonce' field missing)."},
		{"16", "POST", "/signed/publish?key=k&seq=1&nonce=2&timestamp=" + now, "{}", nil, 400, invalid + "missing mandatory field - 'signature' field missing)."},
		{"17", "POST", "/signed/publish?key=k&seq=1&nonce=2&signature=x&timestamp=" + now, "{}", nil, 401, "REST bridge signature key not valid."},
		{"18", "POST", "/signed/publish?key=bazapp&seq=1&nonce=2&signature=x&timestamp=" + now, "{}", nil, 401, "REST bridge signature secret not valid."},
		{"19", "POST", "/elsewhere/call", "\xff", nil, 400, "Request denied based on IP address."},
		{"20", "POST", "/tls/call", "\xff", nil, 400, "Malformed request to the REST bridge."},
		{"21", "POST", "/publish", "\xff", nil, 400, "Non-decodable request body, was not UTF-8."},
		{"21", "POST", "/hook", "\xff", nil, 400, "Non-decodable request body, was not UTF-8."},
		{"22", "POST", "/publish", "", nil, 400, "Request body was invalid JSON."},
		{"22", "PUT", "/call", "{", nil, 400, "Request body was invalid JSON."},
		{"23", "POST", "/call", "[]", nil, 400, "Request body was valid JSON, but not well formed (must be a dict)."},
		{"23", "POST", "/call", "null", nil, 400, "Request body was valid JSON, but not well formed (must be a dict)."},
		{"24", "POST", "/publish", "{}", nil, 400, "Request body was valid JSON, but not well formed (missing key 'topic')."},
		{"24", "POST", "/call", `{"topic":1}`, nil, 400, "Request body was valid JSON, but not well formed (missing key 'procedure')."},
		{"25", "POST", "/publish", `{"topic":1}`, nil, 500, "Unhandled exception in Crossbar."},
		{"25", "POST", "/publish", `{"topic":"t","kwargs":[1]}`, nil, 500, "Unhandled exception in Crossbar."},
		{"25", "POST", "/publish", `{"topic":"t","kwargs":{"topic":1}}`, nil, 500, "Unhandled exception in Crossbar."},
		{"25", "POST", "/publish", `{"topic":"t","args":1}`, nil, 500, "Unhandled exception in Crossbar."},
		{"25", "POST", "/publish", `{"topic":"t","options":{"exclude_me":1}}`, nil, 500, "Unhandled exception in Crossbar."},
	} {
		rec := f.do(t, c.method, c.path, c.body, c.header...)
		if rec.Code != c.status || rec.Body.String() != rejection(c.text) {
			t.Errorf("row %s, %s %s %s: got %d %s, want %d %s", c.row, c.method, c.path, c.body, rec.Code, rec.Body, c.status, rejection(c.text))
		}
		if rec.Header().Get("Content-Type") != "application/json; charset=UTF-8" || rec.Header().Get("Access-Control-Allow-Origin") != "*" ||
			rec.Header().Get("Cache-Control") != "no-store,no-cache,must-revalidate,max-age=0" || rec.Header().Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("row %s: got %v", c.row, rec.Header())
		}
	}
	if rec := f.do(t, http.MethodPost, "/here/call", `{"procedure":"wamp.session.count"}`); rec.Code != 200 {
		t.Errorf("from the right place: got %d %s", rec.Code, rec.Body)
	}
	if rec := f.do(t, http.MethodPut, "/small/publish", `{"topic":"com.x.ok"}`); rec.Code != 200 {
		t.Errorf("of just the right length: got %d %s", rec.Code, rec.Body)
	}
}

func TestCrossbarLetsPagesOfTrustedOriginsInAlone(t *testing.T) {
	f := crossbarred(t)
	rec := f.do(t, http.MethodOptions, "/publish", "", "Origin", "https://app.example", "Access-Control-Request-Headers", "X-A, X-B")
	h := rec.Header()
	if rec.Code != 200 || rec.Body.Len() > 0 || h.Get("Allow") != "POST,PUT,OPTIONS" || h.Get("Access-Control-Allow-Methods") != "POST,PUT,OPTIONS" ||
		h.Get("Access-Control-Allow-Origin") != "https://app.example" || h.Get("Access-Control-Allow-Headers") != "X-A, X-B" {
		t.Errorf("got %d %v", rec.Code, h)
	}
	rec = f.do(t, http.MethodOptions, "/publish", "", "Origin", "https://evil.example", "Access-Control-Request-Headers", "X-A")
	if h := rec.Header(); h.Get("Access-Control-Allow-Origin")+h.Get("Access-Control-Allow-Credentials")+h.Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("got %v", h)
	}
	if rec := f.do(t, http.MethodPost, "/publish", `{"topic":"t"}`, "Origin", "https://evil.example"); rec.Code != 403 {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func TestCrossbarsPublisherPublishesWhatItWouldPublish(t *testing.T) {
	f := crossbarred(t)
	s := f.join(t)
	events := make(chan string, 10)
	_, err := s.Subscribe(t.Context(), "t", func(_ context.Context, e *wampcore.Event) {
		p := e.Payload.Transcode(wampcore.JSON)
		events <- string(p.Args) + string(p.Kwargs)
	}, wampcore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`{"topic":"t","args":[1, 2],"kwargs":{"a":18446744073709551615}}`: `[1, 2]{"a":18446744073709551615}`,
		`{"topic":"t","args":"ab"}`:                                       `["a","b"]`,
		`{"topic":"t","args":{"x":1,"y":2}}`:                              `["x","y"]`,
		`{"topic":"t","args":0,"kwargs":[],"options":""}`:                 ``,
		`{"topic":"t","kwargs":{"options":{"acknowledge":1},"b":2}}`:      `{"b":2}`,
		`{"topic":"t","args":[3],"options":{"acknowledge":false,"disclose_me":7,"exclude":1,"eligible_authrole":["anonymous"]}}`: `[3]`,
	} {
		rec := f.do(t, http.MethodPost, "/publish", body)
		if rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), `{"id":`) {
			t.Errorf("%s: got %d %s", body, rec.Code, rec.Body)
		}
		if got := published(t, events); got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
	if rec := f.do(t, http.MethodPost, "/publish", `{"topic":"a..b"}`); rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), `{"error": "wamp.error.invalid_uri", "args": ["`) {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func TestCrossbarsCallerAnswersInItsForm(t *testing.T) {
	f := crossbarred(t)
	f.register(t, "answer", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) { return inv.Payload, nil })
	f.register(t, "fail", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		return wampcore.Payload{}, &wampcore.Error{URI: "com.myapp.error.invalid_length", Payload: inv.Payload}
	})
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"procedure":"answer","args":[ 5 ]}`, 200, `{"args":[5]}`},
		{`{"procedure":"answer","args":[null]}`, 200, `{"args":[null]}`},
		{`{"procedure":"answer","args":[1, 2],"kwargs":{"a": 3}}`, 200, `{"args":[1,2],"kwargs":{"a":3}}`},
		{`{"procedure":"answer","kwargs":{"x":1}}`, 200, `{"kwargs":{"x":1}}`},
		{`{"procedure":"answer","options":{"timeout":"nonsense"}}`, 200, `{}`},
		{`{"procedure":"answer","args":["\u2603\n\u0001"]}`, 200, "{\"args\":[\"☃\\n\\u0001\"]}"},
		{`{"procedure":"fail","args":["☃😀"],"kwargs":{"min":3}}`, 200, `{"error": "com.myapp.error.invalid_length", "args": ["\u2603\ud83d\ude00"], "kwargs": {"min": 3}}`},
		{`{"procedure":"t.nosuch"}`, 200, `{"error": "wamp.error.no_such_procedure", "args": ["no callee registered for procedure <t.nosuch>"], "kwargs": {}}`},
		{`{"procedure":1}`, 500, sorry},
		{`{"procedure":"answer","kwargs":{"procedure":1}}`, 500, sorry},
		{`{"procedure":"answer","kwargs":{"options":{"a":1}}}`, 500, sorry},
		{`{"procedure":"answer","kwargs":{"options":null,"a":1}}`, 200, `{"kwargs":{"a":1}}`},
	} {
		if rec := f.do(t, http.MethodPost, "/call", c.body); rec.Code != c.status || rec.Body.String() != c.want {
			t.Errorf("%s: got %d %s, want %d %s", c.body, rec.Code, rec.Body, c.status, c.want)
		}
	}
	if got := f.handler.Stats().Crossbar; got.Requests != 12 || got.Denied != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestCrossbarsWebhookPublishesTheBodyAndNoSecrets(t *testing.T) {
	f := crossbarred(t)
	s := f.join(t)
	events := make(chan string, 10)
	_, err := s.Subscribe(t.Context(), "com.hook", func(_ context.Context, e *wampcore.Event) {
		events <- string(e.Payload.Transcode(wampcore.JSON).Args)
	}, wampcore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rec := f.do(t, http.MethodPost, "/hook", "a text ☃", "Content-Type", "text/plain", "Cookie", "hunter2", "Authorization", "Basic hunter2", "X-A", "1")
	if rec.Code != 202 || rec.Body.String() != "OK" || rec.Header().Get("Content-Type") != "application/json; charset=UTF-8" {
		t.Errorf("got %d %s %v", rec.Code, rec.Body, rec.Header())
	}
	got := published(t, events)
	if !strings.Contains(got, `"body":"a text ☃"`) || !strings.Contains(got, `"Content-Type":["text/plain"]`) || !strings.Contains(got, `"X-A":["1"]`) || strings.Contains(got, "hunter2") {
		t.Errorf("got %s", got)
	}
	h := hmac.New(sha1.New, []byte("s"))
	_, _ = io.WriteString(h, "x")
	if rec := f.do(t, http.MethodPost, "/github", "x", "X-Hub-Signature", "SHA1="+strings.ToUpper(hex.EncodeToString(h.Sum(nil)))); rec.Code != 202 {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	published(t, events)
	if rec := f.do(t, http.MethodPost, "/broken", "x"); rec.Code != 500 || rec.Body.String() != "NOT OK" {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func signedQuery(key, secret, stamp, seq, nonce, body string) string {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(h, key+stamp+seq+nonce+body)
	return url.Values{
		"key": {key}, "timestamp": {stamp}, "seq": {seq}, "nonce": {nonce}, "signature": {base64.URLEncoding.EncodeToString(h.Sum(nil))},
	}.Encode()
}

func TestSignedRequestIsDoneOnce(t *testing.T) {
	f := crossbarred(t)
	const body = `{"topic": "com.test.messages", "args": [1]}`
	const vector = "/signed/publish?key=bazapp&timestamp=2014-06-03T16%3A51%3A41.123Z&seq=1&nonce=4711&signature=3AEuiaW6f6oRJB1y9hrb4GYEmgWBVr4Zf_PXaKZUNVY%3D"
	if rec := f.do(t, http.MethodPost, vector, body); rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), `{"id":`) {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if rec := f.do(t, http.MethodPost, vector, body); rec.Code != 401 || rec.Body.String() != rejection("REST bridge signature was used before.") {
		t.Errorf("again: got %d %s", rec.Code, rec.Body)
	}
	stamp := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	ask := func(seq, nonce string) *httptest.ResponseRecorder {
		return f.do(t, http.MethodPost, "/fresh/call?"+signedQuery("k", "s", stamp, seq, nonce, `{"procedure":"wamp.session.count"}`), `{"procedure":"wamp.session.count"}`)
	}
	if rec := ask("1", "23"); rec.Code != 200 {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if rec := ask("12", "3"); rec.Code != 401 { // it is the same text that is signed
		t.Errorf("the same with its fields cut elsewhere: got %d %s", rec.Code, rec.Body)
	}
	if rec := ask("2", "23"); rec.Code != 200 {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if got := f.handler.Stats().Crossbar; got.Replayed != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestCrossbarsPathsDoNotHideTheGatewaysOwn(t *testing.T) {
	f := newFace(t)
	for _, path := range []string{"/v1/sessions", "/livez", "/v1/call/x"} {
		_, err := httpapi.New(httpapi.Config{Bridge: f.bridge, Realm: "realm1", Crossbar: map[string]httpapi.Crossbar{path: {}}})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func FuzzCrossbar(f *testing.F) {
	f.Add("/publish", "seq=1", "application/json", `{"topic":"t","args":"ab","kwargs":{"a":"\ud800"},"options":{"exclude":[1]}}`)
	f.Add("/call", "timestamp=2014-06-03T16:51:41.123Z", "", `{"procedure":"wamp.session.list","args":{"a":[]}}`)
	f.Add("/signed/publish", signedQuery("bazapp", "foobar", "2014-06-03T16:51:41.123Z", "1", "2", "{}"), "", "{}")
	f.Add("/hook", "", "text/plain;charset=utf8", "x")
	face := crossbarred(f)
	f.Fuzz(func(t *testing.T, path, query, kind, body string) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/publish", strings.NewReader(body))
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/v1") {
			return
		}
		req.Host, req.URL.Path, req.URL.RawQuery = "localhost", path, query
		req.Header.Set("Content-Type", kind)
		rec := httptest.NewRecorder()
		face.handler.ServeHTTP(rec, req)
		if rec.Code == 500 && !strings.Contains(rec.Body.String(), "Crossbar") && rec.Body.String() != "NOT OK" {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
	})
}
