package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// The user's guide is run as it stands. Of a page in docs/:
//
//   - blocks below a line <!-- file: NAME --> are files, written before anything runs; wampgate.yaml is the gateway's configuration
//   - blocks of sh are run one after another, by one shell, against a gateway of the page's own; localhost:8080 is its address
//   - lines of sh that begin with #> are what has to be in the output, in this order
//   - a block below a line <!-- not run: WHY --> is not run
const notRun = "<!-- not run: "

var block = regexp.MustCompile("(?m)^(<!-- (?:file|not run): [^\n]*-->\n+)?```([a-z]*)\n((?s:.*?))^```$")

// page is a page of the guide, taken apart.
type page struct {
	files  map[string]string
	script strings.Builder
	wanted []string
}

func readPage(tb testing.TB, name string) *page {
	tb.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	p := &page{files: map[string]string{}}
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		mark, kind, body := strings.TrimSpace(m[1]), m[2], m[3]
		switch file, isFile := strings.CutPrefix(mark, "<!-- file: "); {
		case isFile:
			p.files[strings.TrimSpace(strings.TrimSuffix(file, "-->"))] = body
		case kind == "sh" && !strings.HasPrefix(mark, notRun):
			p.script.WriteString(body)
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
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("got %q, %v", pages, err)
	}
	for _, name := range pages {
		p := readPage(t, name)
		if p.script.Len() == 0 {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".md"), func(t *testing.T) { p.run(t) })
	}
}

func (p *page) run(t *testing.T) {
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
	var env []string
	for name, text := range p.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "wampgate.yaml" {
			env = append(env, "WAMPGATE_CONFIG="+filepath.Join(dir, name))
		}
	}
	_, base := gateway(t, env...)
	address := strings.TrimPrefix(base, "http://")
	for name := range p.files {
		file := filepath.Join(dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("localhost:8080"), []byte(address)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.check(t, dir, address)
}

// check runs the page's commands and looks for what it says they answer.
func (p *page) check(t *testing.T, dir, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	script := strings.ReplaceAll(p.script.String(), "localhost:8080", address)
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it leaves running ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
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
		want = strings.ReplaceAll(want, "localhost:8080", address)
		i := strings.Index(rest, want)
		if i < 0 {
			t.Errorf("%s", fmt.Sprintf("the output lacks %q, or has it in another place:\n%s", want, out))
			return
		}
		rest = rest[i+len(want):]
	}
}
