package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// says runs the command line and returns its status and what it says.
func says(tb testing.TB, environ []string, input string, args ...string) (status int, stdout, stderr string) {
	tb.Helper()
	dir := tb.TempDir()
	in := filepath.Join(dir, "in")
	if err := os.WriteFile(in, []byte(input), 0o600); err != nil {
		tb.Fatal(err)
	}
	files := [3]*os.File{}
	for i, name := range []string{in, filepath.Join(dir, "out"), filepath.Join(dir, "err")} {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			tb.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	status = command(&invocation{args, environ, files[0], files[1], files[2]})
	out, _ := os.ReadFile(files[1].Name())
	errs, _ := os.ReadFile(files[2].Name())
	return status, string(out), string(errs)
}

func TestCheckConfigTellsAllMistakesByItsStatus(t *testing.T) {
	good, bad := written(t, "realms: {realm1: {}}\n"), written(t, "realms: {realm1: {strickt: 1, disclosure: 2}}\n")
	for _, c := range []struct {
		environ, args []string
		status        int
		says          []string
	}{
		{nil, nil, 0, []string{"the configuration is good"}},
		{nil, []string{good}, 0, []string{"the configuration is good"}},
		{[]string{"WAMPGATE_CONFIG=" + bad}, []string{good}, 0, []string{"the configuration is good"}},
		{nil, []string{bad}, 1, []string{`did you mean "strict"?`, "realms.realm1.disclosure"}},
		{[]string{"WAMPGATE_CONFIG=" + bad, "WAMPGATE_STRICT=x"}, nil, 1, []string{`"strict"?`, "realms.realm1.disclosure", "WAMPGATE_STRICT: "}},
		{nil, []string{good, bad}, 1, []string{"gateway: usage: gateway check-config [file]"}},
	} {
		status, out, errs := says(t, c.environ, "", append([]string{"check-config"}, c.args...)...)
		for _, want := range c.says {
			if status != c.status || !strings.Contains(out+errs, want) {
				t.Errorf("%v %v: got %d %s%s, want %d and %q", c.environ, c.args, status, out, errs, c.status, want)
			}
		}
	}
}

func TestHashMakesWhatLogsIn(t *testing.T) {
	_, out, _ := says(t, nil, "open sesame\r\n", "hash", "wampcra")
	var cra struct {
		WAMPCRA struct {
			Secret, Salt       string
			Iterations, KeyLen int
		} `yaml:"wampcra"`
	}
	if err := yaml.Unmarshal([]byte(out), &cra); err != nil {
		t.Fatal(err)
	}
	c := cra.WAMPCRA
	if key, err := (auth.CRASalt{Salt: c.Salt, Iterations: c.Iterations, KeyLen: c.KeyLen}).Key("open sesame"); err != nil || key != c.Secret {
		t.Errorf("got %+v, %v, want %s", c, err, key)
	}
	_, out, _ = says(t, nil, "open sesame", "hash", "scram")
	var scram struct {
		SCRAM struct {
			KDF, Salt          string
			Iterations, Memory int
			StoredKey          string `yaml:"stored_key"`
		} `yaml:"scram"`
	}
	if err := yaml.Unmarshal([]byte(out), &scram); err != nil {
		t.Fatal(err)
	}
	s := scram.SCRAM
	salt, _ := base64.StdEncoding.DecodeString(s.Salt)
	want, err := auth.NewSCRAMCredential("open sesame", auth.SCRAMParams{KDF: s.KDF, Salt: salt, Iterations: s.Iterations, Memory: s.Memory})
	if err != nil || base64.StdEncoding.EncodeToString(want.StoredKey) != s.StoredKey {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestHashTakesNoPasswordFromItsArguments(t *testing.T) {
	for _, args := range [][]string{{"hash"}, {"hash", "wampcra", "open sesame"}, {"hash", "md5"}} {
		if status, out, errs := says(t, nil, "x", args...); status != 1 || out != "" || !strings.Contains(errs, "usage: gateway hash") {
			t.Errorf("%v: got %d %s%s", args, status, out, errs)
		}
	}
	for _, password := range []string{"", "\n", strings.Repeat("x", 5000)} {
		if status, out, _ := says(t, nil, password, "hash", "wampcra"); status != 1 || out != "" {
			t.Errorf("%d octets: got %d %s", len(password), status, out)
		}
	}
}

func TestKeygenMakesAPair(t *testing.T) {
	_, out, _ := says(t, nil, "", "keygen", "cryptosign")
	var keys []ed25519.PublicKey
	for line := range strings.Lines(out) {
		b, err := hex.DecodeString(line[strings.LastIndex(line, " ")+1 : len(line)-1])
		if err != nil || len(b) != 32 {
			t.Fatalf("%q: %v", line, err)
		}
		keys = append(keys, b)
	}
	if len(keys) != 2 || !keys[0].Equal(ed25519.NewKeyFromSeed(keys[1]).Public()) {
		t.Errorf("got %s", out)
	}
}

func TestUnknownSubcommandIsTaught(t *testing.T) {
	if status, _, errs := says(t, nil, "", "chekc-config"); status != 1 || !strings.Contains(errs, `did you mean "check-config"?`) {
		t.Errorf("got %d %s", status, errs)
	}
}

func TestReadmeAndHelpListTheSubcommands(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, help, _ := says(t, nil, "", "-help")
	for _, s := range subcommands() {
		usage := strings.TrimSpace("gateway " + s.name + " " + s.usage)
		if row := fmt.Sprintf("| `%s` | %s |\n", strings.ReplaceAll(usage, "|", `\|`), s.help); !strings.Contains(string(readme), row) {
			t.Errorf("README.md does not have the row %s", row)
		}
		if !strings.Contains(help, usage) || !strings.Contains(help, s.help) {
			t.Errorf("help does not tell of %s", s.name)
		}
	}
}

func TestKeygenMakesAnAPIKeyOfWhichTheFileHasTheHash(t *testing.T) {
	_, out, _ := says(t, nil, "", "keygen", "api-key", "shop")
	var made struct {
		Keys map[string]struct{ Hash string } `yaml:"api_keys"`
	}
	if err := yaml.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(out[strings.LastIndex(out, " "):])
	if !strings.HasPrefix(key, "shop.") || made.Keys["shop"].Hash != httpapi.HashAPIKey(key) {
		t.Errorf("got %s", out)
	}
	for _, args := range [][]string{{"keygen"}, {"keygen", "api-key"}, {"keygen", "api-key", "a", "b"}, {"keygen", "rsa"}} {
		if status, _, errs := says(t, nil, "", args...); status != 1 || !strings.Contains(errs, "usage: gateway keygen") {
			t.Errorf("%v: got %d %s", args, status, errs)
		}
	}
}

func TestKeygenSaysWhatIsWrongWithTheIDOfAKey(t *testing.T) {
	for id, wrong := range map[string]string{"my.id": `'.'`, "my id": `' '`, "my\nid": `'\n'`, "läden": `'ä'`, "": "empty"} {
		status, out, errs := says(t, nil, "", "keygen", "api-key", id)
		if status != 1 || out != "" || !strings.Contains(errs, strconv.Quote(id)) || !strings.Contains(errs, wrong) || !strings.Contains(errs, "such as shop-1") {
			t.Errorf("%q: got %d %s %s", id, status, out, errs)
		}
	}
	for _, id := range []string{"shop-1", "a:b", "null", "7", `"`, "{#}"} { // whatever YAML makes of it
		_, out, errs := says(t, nil, "", "keygen", "api-key", id)
		var made struct {
			Keys map[string]struct{ Hash string } `yaml:"api_keys"`
		}
		if err := yaml.Unmarshal([]byte(out), &made); err != nil || len(made.Keys) != 1 || made.Keys[id].Hash == "" {
			t.Errorf("%s: got %s %s, %v", id, out, errs, err)
		}
	}
}
