package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag

// written returns the name of a new file with this text.
func written(tb testing.TB, text string) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "wampgate.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

func TestMistakesInTheFileAreTaughtWithTheirLines(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, err := readFile(name, nil)
			if err == nil {
				t.Fatal("no error")
			}
			got, golden := err.Error()+"\n", strings.TrimSuffix(name, ".yaml")+".txt"
			if *update {
				_ = os.WriteFile(golden, []byte(got), 0o600)
			}
			want, err := os.ReadFile(golden)
			if diff := cmp.Diff(string(want), got); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a secret is told")
			}
		})
	}
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	name := written(t, "settings:\n  log_level: debug\n  listen: ['127.0.0.1:1', '127.0.0.1:2']\n  max_body: 2KiB\n  strict: true\n  queue_messages: 7\n")
	got, err := loadConfig([]string{"WAMPGATE_CONFIG=" + name, "WAMPGATE_MAX_BODY=3KiB"})
	if err != nil {
		t.Fatal(err)
	}
	if got.MaxBody != 3<<10 || got.LogLevel != 0 || !got.Strict || got.QueueMessages != 7 || !slices.Equal(got.Listen, []string{"127.0.0.1:1", "127.0.0.1:2"}) {
		t.Errorf("got %+v", got)
	}
}

func TestRealmsSayWhatIsDifferentFromTheSettings(t *testing.T) {
	name := written(t, `
settings: {disclosure: never, history_events: 9, operators: [ops]}
realms:
  com.b:
  com.a:
    disclosure: always
    strict: true
    operators: []
    trust_levels: {backend: 5}
    history: {age: 5m, bytes: 4096}
`)
	cfg, err := loadConfig([]string{"WAMPGATE_CONFIG=" + name, "WAMPGATE_REALM=com.b"})
	if err != nil {
		t.Fatal(err)
	}
	want := []router.RealmConfig{
		{
			Name: "com.a", Strict: true, Disclosure: router.DiscloseAlways, TrustLevels: map[string]int64{"backend": 5}, Operators: []string{},
			History: router.HistoryConfig{Events: 9, Bytes: 4096, Age: 5 * time.Minute},
		},
		{
			Name: "com.b", Disclosure: router.DiscloseNever, Operators: []string{"ops"},
			History: router.HistoryConfig{Events: 9, Bytes: 64 << 20, Age: time.Hour},
		},
	}
	if diff := cmp.Diff(want, cfg.realms()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTheRealmThatIsMeantWhereNoneIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"realms: {a: {}}":                              "a",
		"realms: {a: {}, realm1: {}}":                  "realm1",
		"realms: {a: {}, b: {}}":                       "",
		"realms: {a: {}, b: {}}\nsettings: {realm: b}": "b",
		"realms: {a: {}}\nsettings: {realm: c}":        "",
		"{}":                                           "realm1",
	} {
		cfg, err := loadConfig([]string{"WAMPGATE_CONFIG=" + written(t, text)})
		if (err != nil) != (want == "") || string(cfg.Realm) != want {
			t.Errorf("%q: got %q, %v", text, cfg.Realm, err)
		}
	}
}

func TestTheFileThatIsNotThereIsNamed(t *testing.T) {
	_, err := loadConfig([]string{"WAMPGATE_CONFIG=/nowhere/wampgate.yaml"})
	if err == nil || !strings.HasPrefix(err.Error(), "WAMPGATE_CONFIG: open /nowhere/wampgate.yaml") {
		t.Errorf("got %v", err)
	}
}

// properties returns what the schema has for a type.
func properties(tb testing.TB, name string) []string {
	tb.Helper()
	at := fileSchema().at("#" + name)
	all, ok := at["properties"].(map[string]any)
	if !ok || at["additionalProperties"] != false {
		tb.Fatalf("%s has no properties in the schema, or lets others through", name)
	}
	return slices.Sorted(maps.Keys(all))
}

func TestTheSchemaHasEverySetting(t *testing.T) {
	var want []string
	for _, s := range settings() {
		if name := strings.ToLower(strings.TrimPrefix(s.name, prefix)); name != "config" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, properties(t, "/$defs/settings")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTheSchemaAndTheProgramKnowTheSameKeys walks through both.
func TestTheSchemaAndTheProgramKnowTheSameKeys(t *testing.T) {
	sameKeys(t, reflect.TypeFor[file](), "")
}

func sameKeys(t *testing.T, of reflect.Type, at string) {
	t.Helper()
	schema := fileSchema().at("#" + at)
	if ref, ok := schema["$ref"].(string); ok {
		at = strings.TrimPrefix(ref, "#")
		schema = fileSchema().at(ref)
	}
	if of == reflect.TypeFor[secret]() {
		return // a text, as a rule
	}
	switch of.Kind() { //nolint:exhaustive // others hold nothing
	case reflect.Pointer:
		sameKeys(t, of.Elem(), at)
	case reflect.Slice:
		if schema["items"] != nil {
			sameKeys(t, of.Elem(), at+"/items")
		}
	case reflect.Map:
		if names, ok := schema["properties"].(map[string]any); ok {
			for name := range names {
				sameKeys(t, of.Elem(), at+"/properties/"+name)
			}
		} else if of.Elem().Kind() != reflect.Interface {
			sameKeys(t, of.Elem(), at+"/additionalProperties")
		}
	case reflect.Struct:
		var want []string
		for _, f := range reflect.VisibleFields(of) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" || slices.Contains(want, name) { // what is embedded comes first
				continue
			}
			want = append(want, name)
			if properties, ok := schema["properties"].(map[string]any); ok && properties[name] != nil {
				sameKeys(t, f.Type, at+"/properties/"+name)
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, properties(t, at)); diff != "" {
			t.Errorf("%s (-program +schema)\n%s", at, diff)
		}
	}
}

func TestRolesAreWhatTheRouterIsTold(t *testing.T) {
	name := written(t, `
realms:
  realm1:
    roles:
      anonymous:
      backend:
        disclosure: never
        trust_level: 3
        limits: {message_bytes: 64KiB, rate: 0.5, burst: 3, calls: 4}
        principal_limits: {sessions: 2, queue_bytes: 1MiB}
        permissions:
          - {uri: com.example., match: prefix, allow: [call, publish], disclose: [caller], cache: true}
          - {uri: com..get, match: wildcard, allow: []}
          - {uri: com.example.x, allow: [register, subscribe], disclose: [publisher]}
`)
	cfg, err := loadConfig([]string{"WAMPGATE_CONFIG=" + name})
	if err != nil {
		t.Fatal(err)
	}
	never, three := router.DiscloseNever, int64(3)
	want := map[string]router.Role{
		"anonymous": {},
		"backend": {
			Disclosure: &never, TrustLevel: &three,
			Limits:    router.Limits{MessageBytes: 64 << 10, Rate: 0.5, Burst: 3, Calls: 4},
			Principal: router.Limits{Sessions: 2, QueueBytes: 1 << 20},
			Permissions: []router.Permission{
				{URI: "com.example.", Match: wampcore.MatchPrefix, Allow: router.ActionCall | router.ActionPublish, DiscloseCaller: true, Cache: true},
				{URI: "com..get", Match: wampcore.MatchWildcard},
				{URI: "com.example.x", Allow: router.ActionRegister | router.ActionSubscribe, DisclosePublisher: true},
			},
		},
	}
	if diff := cmp.Diff(want, cfg.realms()[0].Roles); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSecretsAreReadFromVariablesAndFiles(t *testing.T) {
	ticket := written(t, "from a file\n")
	name := written(t, `
realms:
  realm1:
    authentication: {ticket: , wampcra: }
    principals:
      a: {role: x, ticket: plain}
      b: {role: x, ticket: "${B_TICKET}"}
      d: {role: x, ticket: "a ${B_TICKET} $${B_TICKET} $1"}
      c: {role: x, ticket: {file: `+ticket+`}, wampcra: {secret: "${B_TICKET}", salt: s, iterations: 1000, keylen: 32}}
`)
	cfg, err := loadConfig([]string{"WAMPGATE_CONFIG=" + name, "B_TICKET=from the environment"})
	if err != nil {
		t.Fatal(err)
	}
	ps := cfg.File.Realms["realm1"].Principals
	for name, want := range map[string]string{"a": "plain", "b": "from the environment", "d": "a from the environment ${B_TICKET} $1", "c": "from a file"} {
		if p, _ := ps.Principal(t.Context(), "realm1", name); p == nil || p.Ticket != want || p.AuthRole != "x" {
			t.Errorf("%s: got %+v", name, p)
		}
	}
	if salt := ps.craSalt(); salt.Iterations != 1000 || salt.KeyLen != 32 || salt.Salt != "" {
		t.Errorf("unknown names would be salted as %+v", salt)
	}
	if shown := fmt.Sprintf("%v %+v %#v", *ps["a"].Ticket, *ps["a"].Ticket, *ps["a"].Ticket); strings.Contains(shown, "plain") {
		t.Errorf("a secret is shown: %s", shown)
	}
}

func TestWhoIsLetInByOtherMachinesHasToBeSaid(t *testing.T) {
	for text, fine := range map[string]bool{
		"realms: {realm1: }": false,
		"realms: {realm1: , a: {authentication: {ticket: }}}\nsettings: {realm: a}":                                                        false,
		"realms: {realm1: {authentication: {ticket: }}}":                                                                                   true,
		"realms: {realm1: {authentication: {ticket: , anonymous: }}}":                                                                      false,
		"realms: {realm1: {roles: {anonymous: }}}":                                                                                         true,
		"realms: {realm1: {roles: {anonymous: {permissions: [{uri: '', match: prefix, allow: [call, register, publish, subscribe]}]}}}}":   false,
		"realms: {realm1: {roles: {anonymous: {permissions: [{uri: 'a.', match: prefix, allow: [call, register, publish, subscribe]}]}}}}": true,
		"realms: {realm1: }\nsettings: {allow_anonymous_remote: true}":                                                                     true,
	} {
		_, err := loadConfig([]string{"WAMPGATE_CONFIG=" + written(t, text), "WAMPGATE_LISTEN=0.0.0.0:80"})
		if (err == nil) != fine || err != nil && !strings.Contains(err.Error(), "ALLOW_ANONYMOUS_REMOTE") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func FuzzFile(f *testing.F) {
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b, *b]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if file, err := parseFile("f.yaml", text, nil); (file == nil) != (err != nil) && err == nil {
			t.Error("neither a file nor an error")
		}
	})
}

func TestListenersOfTheFileSayWhatIsDifferentFromTheSettings(t *testing.T) {
	name := written(t, `
settings: {max_connections: 7, tls_cert: cert, tls_key: key}
realms: {realm1: {authentication: {ticket: }}}
listeners:
  - address: 127.0.0.1:1
  - address: :2
    tls: {client_auth: optional, client_ca: ca}
    transports: [rawsocket]
    max_connections: 5
    max_connections_per_address: 3
`)
	cfg, err := loadConfig([]string{"WAMPGATE_CONFIG=" + name})
	if err != nil {
		t.Fatal(err)
	}
	optional := clientAuthOptional
	want := []entrance{
		{address: "127.0.0.1:1", transports: cfg.Transports, maxConnections: 7},
		{
			address: ":2", transports: transports{"rawsocket"}, maxConnections: 5, maxConnectionsPerAddress: 3,
			secure: &tlsSection{Cert: "cert", Key: "key", ClientAuth: &optional, ClientCA: "ca"},
		},
	}
	if diff := cmp.Diff(want, cfg.entrances(), cmp.AllowUnexported(entrance{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestListenersAreInOnePlace(t *testing.T) {
	for text, want := range map[string]string{
		"listeners: [{address: '127.0.0.1:1'}]\nsettings: {listen: ['127.0.0.1:2']}": "WAMPGATE_LISTEN: the file has listeners",
		"listeners: [{address: '0.0.0.0:1'}]":                                        "everybody is let in without authentication",
		"realms: {realm1: }\nsettings: {upstream_url: 'ws://127.0.0.1/ws'}":          "WAMPGATE_UPSTREAM_URL: the file's realms",
		"listeners: [{address: '127.0.0.1:1', tls: {}}]":                             "listeners.0.tls: want cert and key",
	} {
		if _, err := loadConfig([]string{"WAMPGATE_CONFIG=" + written(t, text)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
