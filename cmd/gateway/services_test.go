package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
)

func TestWebhooksOfTheFileArePublishedInTheirRolesName(t *testing.T) {
	cfg, err := loadConfig([]string{"WAMPGATE_REALM=realm1", "A=s1", "WAMPGATE_CONFIG=" + written(t, `
inbound:
  a: {provider: github, secrets: ["${A}", s2], topic: com.a, role: hooks, tolerance: 1m}
  b: {provider: slack, secrets: [s], topic: com.b, realm: realm2}
`)})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]httpapi.Inbound{
		"a": {
			Provider: "github", Secrets: []string{"s1", "s2"}, Topic: "com.a", Tolerance: time.Minute,
			Principal: bridge.Principal{Realm: "realm1", AuthID: "inbound.a", AuthRole: "hooks", Method: "static", Provider: "configuration"},
		},
		"b": {Provider: "slack", Secrets: []string{"s"}, Topic: "com.b", Principal: bridge.Principal{Realm: "realm2"}},
	}
	if diff := cmp.Diff(want, cfg.inbound()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEndpointsOfCrossbarsBridge(t *testing.T) {
	cfg, err := loadConfig([]string{"WAMPGATE_CROSSBAR_PATH=/x/"})
	if err != nil {
		t.Fatal(err)
	}
	plain := httpapi.Crossbar{Principal: bridge.Principal{Realm: "realm1"}, TimestampDelta: 5 * time.Minute, SuccessResponse: "OK", ErrorResponse: "NOT OK"}
	publisher, caller := plain, plain
	publisher.Kind, caller.Kind = httpapi.CrossbarPublisher, httpapi.CrossbarCaller
	if diff := cmp.Diff(map[string]httpapi.Crossbar{"/x/publish": publisher, "/x/call": caller}, cfg.crossbars(), cmp.Comparer(samePrefix)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	cfg, err = loadConfig([]string{"S=s", "WAMPGATE_CONFIG=" + written(t, `
settings: {crossbar_path: /}
crossbar:
  a/b: {type: caller, role: backend, options: {key: k, secret: "${S}", timestamp_delta_limit: 0, require_ip: [10.0.0.0/8, 192.0.2.1], require_tls: true, post_body_limit: 9}}
  hook: {type: webhook, options: {topic: t, success_response: "", github_secret: g}}
`)})
	if err != nil {
		t.Fatal(err)
	}
	hook := plain
	hook.Kind, hook.Topic, hook.SuccessResponse, hook.GitHubSecret = httpapi.CrossbarWebhook, "t", "", "g"
	caller = httpapi.Crossbar{
		Kind: httpapi.CrossbarCaller, Key: "k", Secret: "s", RequireTLS: true, BodyLimit: 9, SuccessResponse: "OK", ErrorResponse: "NOT OK",
		RequireIP: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")},
		Principal: bridge.Principal{Realm: "realm1", AuthID: "crossbar.a/b", AuthRole: "backend", Method: "static", Provider: "configuration"},
	}
	if diff := cmp.Diff(map[string]httpapi.Crossbar{"/a/b": caller, "/hook": hook}, cfg.crossbars(), cmp.Comparer(samePrefix)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRoutesOfTheFileAreCalls(t *testing.T) {
	cfg, err := loadConfig([]string{"WAMPGATE_CONFIG=" + written(t, `
routes:
  GET /orders/{id}: {procedure: com.shop.order.get, safe: true, cache_control: max-age=5, params: {id: {type: integer}, tag: {list: true}}}
  PUT /orders/{id}: {procedure: com.shop.order.set, body: value, result: envelope, realm: realm2, summary: Sets an order}
`)})
	if err != nil {
		t.Fatal(err)
	}
	want := []httpapi.Route{
		{
			Method: "GET", Path: "/orders/{id}", Procedure: "com.shop.order.get", Safe: true, CacheControl: "max-age=5",
			Params: map[string]httpapi.Param{"id": {Type: httpapi.ParamInteger}, "tag": {List: true}},
		},
		{
			Method: "PUT", Path: "/orders/{id}", Procedure: "com.shop.order.set", Body: bridge.AsValue, Envelope: true, Realm: "realm2",
			Summary: "Sets an order",
		},
	}
	if diff := cmp.Diff(want, cfg.routes()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func samePrefix(a, b netip.Prefix) bool { return a == b }
