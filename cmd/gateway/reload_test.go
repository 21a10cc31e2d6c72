package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

func TestChangesOfFilesAreSeenByTheirContent(t *testing.T) {
	name := written(t, "a")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	s := newSights([]string{link, "/nowhere"})
	past := time.Now().Add(-time.Hour)
	steps := []struct {
		name   string
		change func() error
		want   bool
	}{
		{"nothing", func() error { return nil }, false},
		{"another text of the same size", func() error { return os.WriteFile(name, []byte("b"), 0o600) }, true},
		{"another time", func() error { return os.Chtimes(name, past, past) }, false},
		{"it is gone", func() error { return os.Remove(name) }, true},
		{"it is back", func() error { return os.WriteFile(name, []byte("b"), 0o600) }, true},
		{"a link that leads elsewhere", func() error { // as Kubernetes does it
			next := filepath.Join(filepath.Dir(link), "next")
			if err := os.Symlink(written(t, "c"), next); err != nil {
				return err
			}
			return os.Rename(next, link)
		}, true},
	}
	for _, step := range steps {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		if got := s.look(); got != step.want {
			t.Errorf("%s: got %t, want %t", step.name, got, step.want)
		}
	}
}

// logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running returns a gateway without listeners, which has a configuration file.
func running(tb testing.TB, text string) (g *gateway, file string, log *logBuffer) {
	tb.Helper()
	file, log = written(tb, text), new(logBuffer)
	cfg, err := loadConfig([]string{"WAMPGATE_CONFIG=" + file})
	if err != nil {
		tb.Fatal(err)
	}
	if g, err = newGateway(cfg, nil, zerolog.New(log)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = g.shutdown(context.Background()) })
	return g, file, log
}

func rewrite(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

const mayCall = "realms: {realm1: {roles: {anonymous: {permissions: [{uri: '', match: prefix, allow: [call, register, subscribe]}]}}}}\n"

func TestABrokenFileLeavesTheOldRules(t *testing.T) {
	g, file, log := running(t, mayCall)
	s, err := client.Join(t.Context(), g.router.Dial(), client.Config{Realm: "realm1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"realms: {realm1: {rolls: {}}}\n", "realms: [\n", "settings: {max_body: x}\n"} {
		rewrite(t, file, text)
		g.reload()
	}
	if _, err := s.Call(t.Context(), "wamp.session.count", wampcore.Payload{}, wampcore.CallOptions{}); err != nil {
		t.Error(err)
	}
	if got := strings.Count(log.String(), "the old one stays"); got != 3 || !strings.Contains(log.String(), `did you mean \"roles\"`) {
		t.Errorf("got %s", log)
	}
	rewrite(t, file, "realms: {realm1: {roles: {anonymous: }}}\n")
	g.reload()
	if _, err := s.Call(t.Context(), "wamp.session.count", wampcore.Payload{}, wampcore.CallOptions{}); !errors.Is(err, &wampcore.Error{URI: wampcore.ErrNotAuthorized}) {
		t.Errorf("got %v", err)
	}
}

func TestWhatWaitsForARestartIsTold(t *testing.T) {
	g, file, log := running(t, "settings: {listen: ['127.0.0.1:0'], strict: false}\n")
	rewrite(t, file, "settings: {listen: ['127.0.0.1:1'], strict: true, max_body: 2KiB}\n")
	g.reload()
	if !strings.Contains(log.String(), `"after_restart":["listen","max_body"]`) {
		t.Errorf("got %s", log)
	}
}

func TestReloadUnderLoadLosesNothing(t *testing.T) {
	g, file, _ := running(t, mayCall)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			s, err := client.Join(t.Context(), g.router.Dial(), client.Config{Realm: "realm1"})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close(t.Context())
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Call(t.Context(), "wamp.session.count", wampcore.Payload{}, wampcore.CallOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 50 {
		rewrite(t, file, strings.Replace(mayCall, "subscribe", []string{"subscribe", "publish"}[i%2], 1))
		g.reload()
	}
	close(stop)
	load.Wait()
	if diff := cmp.Diff([]string{file}, g.reload()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
