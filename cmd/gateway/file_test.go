package main

import (
	"flag"
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
			_, err := readFile(name)
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
		"":                                             "realm1",
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
	switch of.Kind() { //nolint:exhaustive // others hold nothing
	case reflect.Pointer:
		sameKeys(t, of.Elem(), at)
	case reflect.Slice:
		if schema["items"] != nil {
			sameKeys(t, of.Elem(), at+"/items")
		}
	case reflect.Map:
		if of.Elem().Kind() != reflect.Interface {
			sameKeys(t, of.Elem(), at+"/additionalProperties")
		}
	case reflect.Struct:
		var want []string
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
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
		if file, err := parseFile("f.yaml", text); (file == nil) != (err != nil) && err == nil {
			t.Error("neither a file nor an error")
		}
	})
}
