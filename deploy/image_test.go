package deploy_test

import (
	"bytes"
	"context"
	"debug/elf"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// stages parses the Dockerfile as docker build does.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func find[T any](s *instructions.Stage) []T {
	var found []T
	for _, c := range s.Commands {
		if c, ok := c.(T); ok {
			found = append(found, c)
		}
	}
	return found
}

func TestImageIsFromScratchAndRunsAsNobody(t *testing.T) {
	all := stages(t)
	last := &all[len(all)-1]
	if last.Name != "gateway" || last.BaseName != "scratch" {
		t.Errorf("the image is %s from %s", last.Name, last.BaseName)
	}
	if user := find[*instructions.UserCommand](last); len(user) != 1 || user[0].User != "65532:65532" {
		t.Errorf("got user %v", user)
	}
	if entry := find[*instructions.EntrypointCommand](last); len(entry) != 1 || !slices.Equal(entry[0].CmdLine, []string{"/gateway"}) {
		t.Errorf("got entrypoint %v", entry)
	}
	for _, c := range find[*instructions.CopyCommand](last) {
		if i := slices.IndexFunc(all, func(s instructions.Stage) bool { return s.Name == c.From }); i < 0 {
			t.Errorf("%v copies from no stage", c)
		}
	}
}

// built runs what the Dockerfile builds the programs with, and returns the folder that they are in.
func built(t *testing.T) string {
	t.Helper()
	all := stages(t)
	out := t.TempDir()
	for _, run := range find[*instructions.RunCommand](&all[0]) {
		line := strings.Join(run.CmdLine, " ")
		if !strings.Contains(line, "go build") {
			continue
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(line, "/out/", out+"/"))
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "VERSION=1.2.3")
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, said)
		}
		return out
	}
	t.Fatal("the Dockerfile builds nothing")
	return ""
}

const maxImage = 30 << 20

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestStaticProgramRunsInAnEmptyRoot(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI has to be root: only root changes its root")
		}
		t.Skip("only root changes its root")
	}
	root := built(t)
	if err := os.Remove(filepath.Join(root, "demo-callee")); err != nil {
		t.Fatal(err)
	}
	for dir := root; dir != "/"; dir = filepath.Dir(dir) { // nobody has to get in
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, info.Mode().Perm()|0o055); err != nil {
			t.Fatal(err)
		}
	}
	program, err := elf.Open(filepath.Join(root, "gateway"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Close() }()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it is linked dynamically")
		}
	}
	if info, err := os.Stat(filepath.Join(root, "gateway")); err != nil || info.Size() > maxImage {
		t.Errorf("got %d bytes, %v", info.Size(), err)
	}
	address := freeAddress(t)
	inside := func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "/gateway", args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		cmd.Dir = "/"
		cmd.Env = []string{"WAMPGATE_LISTEN=" + address}
		return cmd
	}
	if version, err := inside(t.Context(), "-version").Output(); err != nil || strings.TrimSpace(string(version)) != "wampgate 1.2.3" {
		t.Fatalf("got %q, %v", version, err)
	}
	gateway := inside(t.Context())
	var log bytes.Buffer
	gateway.Stderr = &log
	gateway.Cancel = func() error { return gateway.Process.Signal(syscall.SIGTERM) }
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	healthy := false
	for deadline := time.Now().Add(20 * time.Second); !healthy && time.Now().Before(deadline); {
		healthy = inside(t.Context(), "healthcheck").Run() == nil
	}
	if !healthy {
		t.Error("it does not become healthy")
	}
	_ = gateway.Process.Signal(syscall.SIGTERM)
	if err := gateway.Wait(); err != nil || !healthy {
		t.Errorf("%v\n%s", err, log.Bytes())
	}
}

func TestComposeFileBuildsWhatTheDockerfileHas(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yml"}, cli.WithProfiles([]string{"*"}), cli.WithName("wampgate"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"": true}
	for _, s := range stages(t) {
		names[s.Name] = true
	}
	for _, name := range []string{"gateway", "demo-callee", "prometheus", "grafana"} {
		if _, err := project.GetService(name); err != nil {
			t.Error(err)
		}
	}
	for _, s := range project.Services {
		if s.Build != nil && !names[s.Build.Target] {
			t.Errorf("%s: the Dockerfile has no stage %s", s.Name, s.Build.Target)
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is reached by other machines", s.Name, p.Published)
			}
		}
		if s.Build != nil && (!s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"})) {
			t.Errorf("%s has privileges that it does not need", s.Name)
		}
	}
}
