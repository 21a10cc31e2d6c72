package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wampgate/wampgate/bridge"
)

func TestHooksOfTheFileHaveTheirSecretsAndRights(t *testing.T) {
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	name := written(t, `
hooks:
  add:
    procedure: com.add
    url: https://app.example/add
    realm: com.a
    role: backend
    timeout: 1m30s
    secrets: ["${KEY}"]
    headers: {Authorization: "${TOKEN}"}
  mail: {topic: com.mail, url: "http://localhost:9000/mail"}
`)
	cfg, err := loadConfig([]string{"WAMPGATE_CONFIG=" + name, "WAMPGATE_HOOK_HOSTS=app.example", "KEY=" + key, "TOKEN=Bearer hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	want := []bridge.ConfiguredHook{
		{
			Principal: bridge.Principal{Realm: "com.a", AuthID: "add", AuthRole: "backend", Method: "hook", Provider: "configuration"}, Name: "add",
			Spec: bridge.HookSpec{
				URL: "https://app.example/add", Procedure: "com.add", Timeout: bridge.Duration(90 * time.Second),
				Secrets: []string{key}, Headers: map[string]string{"Authorization": "Bearer hunter2"},
			},
		},
		{Principal: bridge.Principal{Realm: "realm1"}, Name: "mail", Spec: bridge.HookSpec{URL: "http://localhost:9000/mail", Topic: "com.mail"}},
	}
	if diff := cmp.Diff(want, cfg.hooks()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestHooksThatCannotBeAreFoundBeforeTheStart(t *testing.T) {
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"hooks: {a: {procedure: p, url: 'http://elsewhere.example/'}}":             "hooks.a: url: ",
		"hooks: {a: {procedure: p, url: 'http://169.254.169.254/'}}":               "hooks.a: url: ",
		"hooks: {a: {url: 'http://localhost/'}}":                                   "hooks.a: it has neither",
		"hooks: {a b: {procedure: p, url: 'http://localhost/'}}":                   "the name of a hook",
		"hooks: {a: {procedure: p, url: 'http://localhost/', secrets: [hunter2]}}": "whsec_",
		"hooks: {a: {procedure: p, url: 'http://localhost/', realm: 'a b'}}":       "no URI",
		"settings: {hook_hosts: 'http://x/'}":                                      "WAMPGATE_HOOK_HOSTS",
		"settings: {app_url: 'x'}":                                                 "WAMPGATE_APP_URL",
		"settings: {app_role: 'x'}":                                                "WAMPGATE_APP_URL",
		"settings: {app_url: 'http://user:hunter2@localhost/'}":                    "WAMPGATE_APP_URL",
	} {
		_, err := loadConfig([]string{"WAMPGATE_CONFIG=" + written(t, text)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestOthersReachThisMachineByHooksOnlyWhereTheyAreOnIt(t *testing.T) {
	for listen, local := range map[string]bool{"127.0.0.1:1": true, "127.0.0.1:1,unix:/run/x.sock,[::1]:1": true, "127.0.0.1:1,0.0.0.0:1": false, ":1": false} {
		cfg, err := loadConfig([]string{"WAMPGATE_LISTEN=" + listen, "WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true", "WAMPGATE_HOOK_HOSTS=127.0.0.1:9000"})
		if err != nil {
			t.Fatal(err)
		}
		configured, made, err := cfg.egress()
		if err != nil {
			t.Fatal(err)
		}
		for url, want := range map[string]bool{"http://127.0.0.1:9000": true, "http://localhost:8000": local, "http://[::1]:7": local} {
			if _, err := made.Check(url); (err == nil) != want {
				t.Errorf("%s: %s by REST: %v", listen, url, err)
			}
			if _, err := configured.Check(url); err != nil {
				t.Errorf("%s: %s by the configuration: %v", listen, url, err)
			}
		}
	}
}

func TestGatewayWithANameOrAProxyIsReachedByOthers(t *testing.T) {
	for _, c := range []struct {
		environ []string
		text    string
		want    bool
	}{
		{nil, "{}", true},
		{[]string{"WAMPGATE_HOSTS=gateway.example.com"}, "{}", false},
		{nil, "http: {trusted_proxies: [127.0.0.1]}", false},
		{[]string{"WAMPGATE_LISTEN=0.0.0.0:80", "WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true"}, "{}", false},
	} {
		cfg, err := loadConfig(append(c.environ, "WAMPGATE_CONFIG="+written(t, c.text)))
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.isLocalOnly(); got != c.want {
			t.Errorf("%q, %q: got %t", c.environ, c.text, got)
		}
	}
}
