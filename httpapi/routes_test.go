package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// routedTo is a face with routes to procedures that answer with what they get.
func routedTo(tb testing.TB) *face {
	tb.Helper()
	f := newFace(tb, func(cfg *httpapi.Config) {
		cfg.Routes = []httpapi.Route{
			{
				Method: "GET", Path: "/orders/{id}", Procedure: "com.shop.order.get", Safe: true, CacheControl: "max-age=5",
				Params: map[string]httpapi.Param{"id": {Type: httpapi.ParamInteger}, "page": {Type: httpapi.ParamNumber}, "deep": {Type: httpapi.ParamBoolean}, "tag": {List: true}},
			},
			{Method: "GET", Path: "/orders/new", Procedure: "com.shop.order.blank", Safe: true},
			{Method: "GET", Path: "/orders", Procedure: "com.shop.order.list", Params: map[string]httpapi.Param{"q": {Required: true}}},
			{Method: "POST", Path: "/orders", Procedure: "com.shop.order.create", Envelope: true},
			{Method: "PUT", Path: "/orders/{id}", Procedure: "com.shop.order.create", Envelope: true},
			{Method: "PATCH", Path: "/orders/{id}", Procedure: "com.shop.order.create", Body: bridge.AsValue, Envelope: true},
			{Method: "DELETE", Path: "/orders/{id}", Procedure: "com.shop.order.create", Envelope: true},
			{Method: "GET", Path: "/other/x", Procedure: "com.other", Realm: "realm2"},
		}
	})
	kwargs := func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		p := inv.Payload.Transcode(wampcore.JSON)
		return wampcore.Payload{Encoding: wampcore.JSON, Args: []byte("[" + string(p.Kwargs) + "]")}, nil
	}
	f.register(tb, "com.shop.order.get", kwargs)
	f.register(tb, "com.shop.order.blank", func(context.Context, *client.Invocation) (wampcore.Payload, error) {
		return wampcore.NewPayload(wampcore.JSON, []any{"blank"}, nil)
	})
	f.register(tb, "com.shop.order.list", kwargs)
	f.register(tb, "com.shop.order.create", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) { return inv.Payload, nil })
	return f
}

func TestRoutesAreCallsWithKwargsOfPathQueryAndBody(t *testing.T) {
	f := routedTo(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/orders/18446744073709551615?page=1.50&deep=true&x=1&tag=a&tag=b", "", 200, `{"deep":true,"id":18446744073709551615,"page":1.50,"tag":["a","b"],"x":"1"}`},
		{"GET", "/orders/1?tag=a%26b", "", 200, `{"id":1,"tag":["a\u0026b"]}`},
		{"GET", "/orders/x", "", 400, "id has to be of the type integer"},
		{"GET", "/orders/01", "", 400, "id has to be of the type integer"},
		{"GET", "/orders/1?page=NaN", "", 400, "page has to be"},
		{"GET", "/orders/1?deep=1", "", 400, "deep has to be"},
		{"GET", "/orders/1?id=2", "", 400, "the path says already what id is"},
		{"GET", "/orders/1?x=1&x=2", "", 400, "x is there more than once"},
		{"GET", "/orders/1?x=%zz", "", 400, "the query is not encoded"},
		{"GET", "/orders/new", "", 200, `"blank"`},
		{"GET", "/orders", "", 400, "the query has to say what q is"},
		{"GET", "/orders?q=", "", 200, `{"q":""}`},
		{"POST", "/orders?dry=1", `{"name":"x","n":1.0}`, 200, `{"kwargs":{"dry":"1","n":1.0,"name":"x"}}`},
		{"POST", "/orders", ``, 200, `{}`},
		{"POST", "/orders", `[1]`, 400, "not an object"},
		{"PUT", "/orders/a%2Fb", `{"n":1}`, 200, `{"kwargs":{"id":"a/b","n":1}}`},
		{"PUT", "/orders/1", `{"id":1}`, 400, "the URL says already what id is"},
		{"PATCH", "/orders/1", `[{"op":"add"}]`, 200, `{"args":[[{"op":"add"}]],"kwargs":{"id":"1"}}`},
		{"DELETE", "/orders/1", ``, 200, `{"kwargs":{"id":"1"}}`},
		{"POST", "/orders/1", ``, 405, "use GET, HEAD, PUT, PATCH, DELETE"},
		{"GET", "/other/x", "", 404, "com.other"},
	} {
		rec := f.do(t, c.method, c.path, c.body)
		if got := rec.Body.String(); rec.Code != c.status || c.status == 200 && got != c.want || !strings.Contains(got, c.want) {
			t.Errorf("%s %s %s: got %d %s, want %d %s", c.method, c.path, c.body, rec.Code, got, c.status, c.want)
		}
		if cache := rec.Header().Get("Cache-Control"); strings.HasPrefix(c.path, "/orders/new") != (cache == "private, no-cache") && cache != "no-store" && cache != "max-age=5" {
			t.Errorf("%s: Cache-Control is %s", c.path, cache)
		}
	}
	rec := f.do(t, http.MethodPost, "/orders", "\xa1\x61n\x01", "Content-Type", "application/cbor", "Accept", "application/cbor")
	if rec.Code != 200 || rec.Body.String() != "\xa1\x66kwargs\xa1\x61n\x01" {
		t.Errorf("CBOR: got %d %q", rec.Code, rec.Body)
	}
}

func TestSafeRouteSaysWhetherTheClientHasItAlready(t *testing.T) {
	f := routedTo(t)
	rec := f.do(t, http.MethodGet, "/orders/1", "")
	tag := rec.Header().Get("Etag")
	if rec.Code != 200 || !strings.HasPrefix(tag, `W/"`) || rec.Header().Get("Cache-Control") != "max-age=5" {
		t.Fatalf("got %d %v", rec.Code, rec.Header())
	}
	for _, match := range []string{tag, `"x", ` + tag, strings.TrimPrefix(tag, "W/"), "*"} {
		rec := f.do(t, http.MethodGet, "/orders/1", "", "If-None-Match", match)
		if rec.Code != 304 || rec.Body.Len() > 0 || rec.Header().Get("Etag") != tag {
			t.Errorf("%s: got %d %v %s", match, rec.Code, rec.Header(), rec.Body)
		}
	}
	if rec := f.do(t, http.MethodGet, "/orders/2", "", "If-None-Match", tag); rec.Code != 200 {
		t.Errorf("got %d", rec.Code)
	}
	if rec := f.do(t, http.MethodHead, "/orders/1", ""); rec.Code != 200 || rec.Header().Get("Etag") != tag {
		t.Errorf("HEAD: got %d %v", rec.Code, rec.Header())
	}
	if rec := f.do(t, http.MethodGet, "/orders?q=1", ""); rec.Header().Get("Etag") != "" || rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("what is not safe: got %v", rec.Header())
	}
}

func TestRoutesThatCannotBeAreRefused(t *testing.T) {
	f := newFace(t)
	good := httpapi.Route{Method: "GET", Path: "/a/{b}", Procedure: "p"}
	for want, change := range map[string]func(rt *httpapi.Route){
		"gateway's own":     func(rt *httpapi.Route) { rt.Path = "/v1/orders" },
		"/livez":            func(rt *httpapi.Route) { rt.Path = "/livez" },
		"has to be a name":  func(rt *httpapi.Route) { rt.Path = "/{a}/b" },
		"there twice":       func(rt *httpapi.Route) { rt.Path = "/x/{a}/{a}" },
		"no part of":        func(rt *httpapi.Route) { rt.Path = "/x/*" },
		"begins with /":     func(rt *httpapi.Route) { rt.Path = "x" },
		"no method":         func(rt *httpapi.Route) { rt.Method = "HEAD" },
		"no procedure":      func(rt *httpapi.Route) { rt.Procedure = "" },
		"only GET is safe":  func(rt *httpapi.Route) { rt.Method, rt.Safe = "POST", true },
		"by caches":         func(rt *httpapi.Route) { rt.CacheControl = "public" },
		"it is no list":     func(rt *httpapi.Route) { rt.Params = map[string]httpapi.Param{"b": {List: true}} },
		"the path is taken": func(rt *httpapi.Route) { rt.Path = "/a/{c}" },
	} {
		rt := good
		change(&rt)
		_, err := httpapi.New(httpapi.Config{Bridge: f.bridge, Realm: "realm1", Routes: []httpapi.Route{good, rt}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %s", rt, err, want)
		}
	}
}

func loadDoc(tb testing.TB, text []byte) *openapi3.T {
	tb.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		tb.Fatal(err)
	}
	if err := doc.Validate(tb.Context()); err != nil {
		tb.Errorf("%v\n%s", err, text)
	}
	return doc
}

func TestRoutesAreInTheServedDocument(t *testing.T) {
	f := routedTo(t)
	asJSON := f.do(t, http.MethodGet, "/openapi.json", "").Body.Bytes()
	text := f.do(t, http.MethodGet, "/openapi.yaml", "").Body.Bytes()
	fromYAML, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{asJSON, fromYAML} {
		doc := loadDoc(t, b)
		op := doc.Paths.Find("/orders/{id}").Get
		if op == nil || len(op.Parameters) != 4 || op.Responses.Value("304") == nil || doc.Paths.Find("/v1/call/{procedure}") == nil {
			t.Errorf("got %+v", op)
		}
	}
	plain := newFace(t)
	loadDoc(t, plain.do(t, http.MethodGet, "/openapi.json", "").Body.Bytes())
}

func TestLiveDocumentHasTheProceduresOfARealmWithTheirSchemas(t *testing.T) {
	f := routedTo(t)
	s := f.join(t)
	define := func(uri string, dict map[string]any) {
		if _, err := client.Call[any](t.Context(), s, "wamp.reflect.define", uri, dict); err != nil {
			t.Fatal(err)
		}
	}
	define("com.shop.order.get", map[string]any{
		"type": "procedure", "summary": "An order", "args": []any{map[string]any{"type": "integer"}},
		"kwargs": map[string]any{"type": "object", "required": []string{"id"}}, "result": map[string]any{"type": "string"},
	})
	define("com.shop.order.list", map[string]any{"type": "procedure", "summary": 7, "args": "nonsense", "kwargs": 1, "result": []any{}})
	for _, reg := range []struct {
		uri   wampcore.URI
		match wampcore.Match
	}{{"com.pre.", wampcore.MatchPrefix}, {"com..w", wampcore.MatchWildcard}, {"com.a{b}/c", wampcore.MatchExact}} {
		_, err := s.Register(t.Context(), reg.uri, func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) { return inv.Payload, nil },
			wampcore.RegisterOptions{Match: reg.match})
		if err != nil {
			t.Fatal(err)
		}
	}
	rec := f.do(t, http.MethodGet, "/openapi.json?realm=realm1", "")
	if rec.Code != 200 {
		t.Fatalf("got %d %s", rec.Code, rec.Body)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Summary     string
			RequestBody struct {
				Content map[string]struct {
					Schema struct{ Properties map[string]json.RawMessage }
				}
			}
		}
	}
	text := gunzipped(t, rec)
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/call/com.shop.order.list", "/v1/call/com.pre.{part3}", "/v1/call/com.{part2}.w", "/v1/call/com.a%7Bb%7D%2Fc", "/orders/{id}"} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is not in %s", path, text)
		}
	}
	get := doc.Paths["/v1/call/com.shop.order.get"]["post"]
	props := get.RequestBody.Content["application/json"].Schema.Properties
	if get.Summary != "An order" || string(props["args"]) != `{"prefixItems":[{"type":"integer"}],"type":"array"}` || !strings.Contains(string(props["kwargs"]), `"required":["id"]`) {
		t.Errorf("got %+v", get)
	}
	if len(doc.Paths["/other/x"]) > 0 || doc.Paths["/v1/call/{procedure}"] != nil {
		t.Errorf("it has what is not of this realm: %s", text)
	}
	rec = f.do(t, http.MethodGet, "/openapi.json?realm=realm2", "")
	if got := string(gunzipped(t, rec)); rec.Code != 200 || !strings.Contains(got, `"/other/x"`) || strings.Contains(got, "com.shop") {
		t.Errorf("got %d %s", rec.Code, got)
	}
	if rec := f.do(t, http.MethodGet, "/openapi.json?realm=nowhere", ""); rec.Code != 404 {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func gunzipped(tb testing.TB, rec *httptest.ResponseRecorder) []byte {
	tb.Helper()
	if rec.Header().Get("Content-Encoding") == "gzip" {
		return gunzip(tb, rec.Body.Bytes())
	}
	return rec.Body.Bytes()
}

func FuzzRoute(f *testing.F) {
	f.Add("/a/{b}", "/a/1", "x=1&tag=2", `{"n":1}`)
	f.Add("/a/{b}/c", "/a/%2F/c", "b=1", ``)
	base := newFace(f)
	f.Fuzz(func(t *testing.T, pattern, path, query, body string) {
		handler, err := httpapi.New(httpapi.Config{Bridge: base.bridge, Realm: "realm1", Routes: []httpapi.Route{{
			Method: "POST", Path: pattern, Procedure: "no.such", Params: map[string]httpapi.Param{"x": {Type: httpapi.ParamNumber}, "tag": {List: true, Type: httpapi.ParamInteger}},
		}}})
		if err != nil {
			return
		}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		req.Host, req.URL.Path, req.URL.RawQuery = "localhost", path, query
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		if rec.Code == 500 || strings.HasPrefix(path, "/v1") && strings.Contains(rec.Body.String(), "no.such") {
			t.Errorf("%s for %s?%s: got %d %s", pattern, path, query, rec.Code, rec.Body)
		}
	})
}
