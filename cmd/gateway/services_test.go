package main

import (
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
