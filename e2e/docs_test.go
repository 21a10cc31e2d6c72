package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is written for users is run as it stands. Of a page:
//
//   - blocks below a line <!-- file: NAME --> are files, written before anything runs; wampgate.yaml is the gateway's configuration
//   - blocks of sh are run one after another, by one shell, against a gateway of the page's own; localhost:8080 is its address, and
//     localhost:8081 that for operations, of pages that have it
//   - lines of sh that begin with #> are what has to be in the output, in this order
//   - a block below a line <!-- does not end --> starts a gateway; it is run for itself, and ended once the gateway serves
//   - a block below a line <!-- run by: FILE --> is run by that test
var block = regexp.MustCompile("(?m)^(?:<!-- ([a-z ]+)(?:: ([^\n]*))? -->\n+)?```([^\n]*)\n((?s:.*?))^```$")

// page is a page of the guide, taken apart.
type page struct {
	files   map[string]string
	script  strings.Builder
	wanted  []string
	endless []string
	env     []string // of the gateway and of the commands
}

// pages are all that are in the repository, by their names.
func pages(tb testing.TB) map[string]*page {
	tb.Helper()
	all := map[string]*page{}
	for _, pattern := range []string{"../*.md", "../*/*.md", "../*/*/*.md", "../*/*/*/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			tb.Fatal(err)
		}
		for _, name := range names {
			if !strings.Contains(name, "node_modules") {
				all[strings.TrimSuffix(strings.TrimPrefix(name, "../"), ".md")] = readPage(tb, name)
			}
		}
	}
	return all
}

func readPage(tb testing.TB, name string) *page {
	tb.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	p := &page{files: map[string]string{}}
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		switch mark, of, kind, body := m[1], m[2], m[3], m[4]; {
		case mark == "file":
			p.files[of] = body
		case kind == "sh" && mark == "does not end":
			p.endless = append(p.endless, body)
		case kind == "sh" && mark == "run by":
			if _, err := os.Stat(filepath.Join("..", of)); err != nil {
				tb.Errorf("%s: %v", name, err)
			}
		case kind == "sh" && mark == "":
			p.script.WriteString(body)
		case mark != "" || !slices.Contains([]string{"go", "js", "json", "python", "text", "yaml"}, kind):
			tb.Errorf("%s has a block of %q, marked %q, of which it is not known whether it is run", name, kind, mark)
		}
	}
	for line := range strings.Lines(p.script.String()) {
		if want, ok := strings.CutPrefix(line, "#> "); ok {
			p.wanted = append(p.wanted, strings.TrimSpace(want))
		}
	}
	return p
}

func TestCommandsOfTheGuideDoWhatItSays(t *testing.T) {
	need(t, "curl")
	need(t, "node")
	interpreter(t)
	all := pages(t)
	all["README"].env = known(t)
	for name, p := range all {
		if p.script.Len() != 0 {
			t.Run(name, func(t *testing.T) { p.run(t) })
		}
	}
}

// known configures a gateway that lets everybody in, and knows some: $JWT and $KEY are theirs.
func known(tb testing.TB) []string {
	tb.Helper()
	made, err := exec.Command(binary, "keygen", "api-key", "shop-1").Output()
	if err != nil {
		tb.Fatal(err)
	}
	key := regexp.MustCompile(`shop-1\.[A-Z2-7]+`).FindString(string(made))
	hash := regexp.MustCompile(`hash: "([0-9a-f]{64})"`).FindStringSubmatch(string(made))
	if key == "" || hash == nil {
		tb.Fatalf("got %s", made)
	}
	i := newIssuer(tb)
	file := configured(tb, `
http:
  jwt:
    - {issuer: "`+i.URL+`", audiences: [wampgate], algorithms: [EdDSA], jwks_url: "`+i.URL+`/keys", role_claim: role, realms: [realm1]}
realms:
  realm1:
    authentication: {anonymous: , ticket: }
    principals:
      shop: {role: backend, api_keys: {shop-1: {hash: `+hash[1]+`}}}
`)
	return []string{"WAMPGATE_CONFIG=" + file, "KEY=" + key, "JWT=" + i.token("ann", "backend", time.Hour)}
}

// TestGatewayStartsAsTheGuideSays runs the commands that start one.
func TestGatewayStartsAsTheGuideSays(t *testing.T) {
	started := map[string]bool{}
	for name, p := range pages(t) {
		for _, script := range p.endless {
			if !started[script] {
				started[script] = true
				t.Run(name, func(t *testing.T) { begin(t, script) })
			}
		}
	}
	if !started["go run ./cmd/gateway\n"] {
		t.Errorf("got %v", started)
	}
}

// begin runs commands in the repository until the gateway that they start serves, and ends it. Its addresses, and a router elsewhere, are of
// this machine.
func begin(t *testing.T, script string) {
	t.Helper()
	script = strings.NewReplacer("127.0.0.1:8080", "127.0.0.1:0", "/run/", directory(t)+"/", "wss://router.example.com", "ws://"+freeAddress(t)).Replace(script)
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "WAMPGATE_LISTEN=127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // signals are for all, as those of a terminal are
	end := func(s syscall.Signal) { _ = syscall.Kill(-cmd.Process.Pid, s) }
	p := run(t, cmd)
	t.Cleanup(func() { end(syscall.SIGKILL) })
	var line struct{ HTTP string }
	if err := json.Unmarshal([]byte(p.expect(`"message":"listening"`)), &line); err != nil {
		t.Fatal(err)
	}
	path := "/readyz"
	if strings.Contains(script, "UPSTREAM") {
		path = "/livez"
	}
	waitFor(t, func() bool { return status(t, line.HTTP+path) == 200 })
	end(syscall.SIGTERM)
	p.expect("shutting down")
	p.exit()
}

// TestTargetsThatPagesNameAreThere looks at what is said of make.
func TestTargetsThatPagesNameAreThere(t *testing.T) {
	named := regexp.MustCompile("`make ([a-z0-9-]+)")
	for _, name := range []string{"../CONTRIBUTING.md", "../docs/operations.md", "../docs/performance.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		targets := named.FindAllStringSubmatch(string(text), -1)
		if len(targets) == 0 {
			t.Errorf("%s names none", name)
		}
		for _, m := range targets {
			if out, err := exec.Command(need(t, "make"), "-C", "..", "-n", m[1]).CombinedOutput(); err != nil {
				t.Errorf("%s: %s", name, out)
			}
		}
	}
}

func (p *page) run(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	python, err := exec.LookPath(interpreter(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"examples": "../examples", "node_modules": "js/node_modules", "python3": python, "gateway": binary} {
		if target, err = filepath.Abs(target); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	env := p.env
	for name, text := range p.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "wampgate.yaml" {
			env = append(env, "WAMPGATE_CONFIG="+filepath.Join(dir, name))
		}
	}
	operations := strings.Contains(p.script.String(), "localhost:8081")
	if operations {
		env = append(env, "WAMPGATE_OPS_ADDR=127.0.0.1:0")
	}
	process, base := gateway(t, env...)
	addresses := []string{"localhost:8080", strings.TrimPrefix(base, "http://")}
	if operations {
		var line struct{ HTTP string }
		if err := json.Unmarshal([]byte(process.expect("listening for operations")), &line); err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, "localhost:8081", strings.TrimPrefix(line.HTTP, "http://"))
	}
	replacer := strings.NewReplacer(addresses...)
	for name := range p.files {
		file := filepath.Join(dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(replacer.Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.check(t, dir, replacer)
}

// check runs the page's commands and looks for what it says they answer.
func (p *page) check(t *testing.T, dir string, addresses *strings.Replacer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	script := addresses.Replace(p.script.String())
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it leaves running ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = append(os.Environ(), append(p.env, "PATH="+dir+":"+os.Getenv("PATH"))...)
	log, err := os.Create(filepath.Join(dir, "out")) // no pipe, which what runs in the background would hold open
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Run()
	_ = cmd.Cancel()
	out, _ := os.ReadFile(log.Name())
	if err != nil {
		t.Fatalf("%v\n%s\nof\n%s", err, out, script)
	}
	rest := string(out)
	for _, want := range p.wanted {
		want = addresses.Replace(want)
		i := strings.Index(rest, want)
		if i < 0 {
			t.Errorf("%s", fmt.Sprintf("the output lacks %q, or has it in another place:\n%s", want, out))
			return
		}
		rest = rest[i+len(want):]
	}
}
