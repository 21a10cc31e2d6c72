// Package examples runs the examples.
package examples

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
	"github.com/wampgate/wampgate/wampcore/wamptest"
)

const patience = 30 * time.Second

var bin string //nolint:gochecknoglobals // set by TestMain

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		panic(err)
	}
	if out, err := exec.Command("go", "build", "-o", dir+"/", "./...").CombinedOutput(); err != nil {
		panic(string(out))
	}
	bin = dir
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// program is an example that runs.
type program struct {
	tb    testing.TB
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func start(tb testing.TB, env []string, name string, args ...string) *program {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &program{tb, cmd, bufio.NewScanner(out)}
}

// expect returns the next line that has this beginning.
func (p *program) expect(beginning string) string {
	p.tb.Helper()
	for p.lines.Scan() {
		if strings.HasPrefix(p.lines.Text(), beginning) {
			return p.lines.Text()
		}
	}
	p.tb.Fatalf("%s ended without saying %q", p.cmd.Path, beginning)
	return ""
}

// interrupt ends the example as a user does, and waits for that.
func (p *program) interrupt() {
	p.tb.Helper()
	_ = p.cmd.Process.Signal(os.Interrupt)
	_, _ = io.Copy(io.Discard, nothing{p.lines})
	if err := p.cmd.Wait(); err != nil {
		p.tb.Errorf("%s: %v", p.cmd.Path, err)
	}
}

// nothing reads the rest of the lines.
type nothing struct{ lines *bufio.Scanner }

func (n nothing) Read([]byte) (int, error) {
	if n.lines.Scan() {
		return 0, nil
	}
	return 0, io.EOF
}

// served is a router on a port.
func served(tb testing.TB) string {
	tb.Helper()
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1"}}})
	if err != nil {
		tb.Fatal(err)
	}
	l, err := transport.Listen(tb.Context(), "127.0.0.1:0", 0)
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.RawSocket(l, transport.Config{}) }()
	tb.Cleanup(func() {
		_ = l.Close()
		_ = r.Shutdown(context.Background())
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return "tcp://" + l.Addr().String()
}

// address is what an example that listens says.
func (p *program) address() string {
	p.tb.Helper()
	return strings.TrimPrefix(p.expect("listening on "), "listening on ")
}

func TestEachExampleIsUnderFortyLines(t *testing.T) {
	all, err := filepath.Glob("*/main.go")
	if err != nil || len(all) < 9 {
		t.Fatal(all, err)
	}
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte("\n")); n >= 40 && file != "demo-callee/main.go" {
			t.Errorf("%s has %d lines", file, n)
		}
	}
}

func TestSessionIsOpenedAndEnded(t *testing.T) {
	p := start(t, nil, "session", served(t))
	if line := p.expect("session "); !strings.HasSuffix(line, "wampgate as anonymous, role anonymous") {
		t.Error(line)
	}
}

func TestProcedureIsRegisteredAndCalled(t *testing.T) {
	url := served(t)
	callee := start(t, nil, "register", url)
	callee.expect("com.example.greet is registered")
	start(t, nil, "call", url).expect("Hello, Ada")
	callee.interrupt()
}

func TestTopicIsSubscribedAndPublished(t *testing.T) {
	url := served(t)
	subscriber := start(t, nil, "subscribe", url)
	subscriber.expect("com.example is subscribed to")
	start(t, nil, "publish", url).expect("published 3 acknowledged: true")
	for _, want := range []string{"com.example.news: [1]", "com.example.news: [2]", "com.example.news: [3]"} {
		subscriber.expect(want)
	}
}

func TestProcedureComesBackWithTheRouter(t *testing.T) {
	l, err := transport.Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan *transport.Conn, 2)
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if c, err := transport.AcceptRaw(nc, transport.Config{}); err == nil {
				accepted <- c
			}
		}
	}()
	p := start(t, nil, "redial", "tcp://"+l.Addr().String())
	for range 2 {
		peer := wamptest.New(t, <-accepted)
		wamptest.Expect[*wampcore.Hello](peer)
		peer.Send(&wampcore.Welcome{Session: 1})
		reg := wamptest.Expect[*wampcore.Register](peer)
		peer.Send(&wampcore.Registered{Request: reg.Request, Registration: 2})
		p.expect("up: session 1")
		peer.Close()
		p.expect("down: ")
	}
	_ = l.Close()
}

func TestEmbeddedRouterServesItsOwnProcedureInAllWays(t *testing.T) {
	address := start(t, nil, "router").address()
	for _, url := range []string{"ws://" + address + "/ws", "tcp://" + address} {
		start(t, nil, "call", url).expect("Hello, Ada")
	}
}

func TestEmbeddedRouterTellsOfSessionsAndRegistrations(t *testing.T) {
	p := start(t, nil, "watch")
	callee := start(t, nil, "register", "tcp://"+p.address())
	p.expect("wamp.session.on_join ")
	p.expect("wamp.registration.on_create ")
	callee.expect("com.example.greet is registered")
	callee.interrupt()
	p.expect("wamp.session.on_leave ")
}

func TestOwnAuthenticatorAndRestrictedListener(t *testing.T) {
	address := start(t, []string{"TICKET=open sesame"}, "authenticator").address()
	login := func(authID, ticket string) wampcore.Message {
		t.Helper()
		c, err := transport.Dial(t.Context(), "tcp://"+address, transport.Config{Encodings: []wampcore.Encoding{wampcore.MessagePack}})
		if err != nil {
			t.Fatal(err)
		}
		peer := wamptest.New(t, c)
		defer peer.Close()
		peer.Send(&wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{
			Roles: wampcore.NewRoles(wampcore.RoleCaller), AuthMethods: []string{"ticket"}, AuthID: authID,
		}})
		wamptest.Expect[*wampcore.Challenge](peer)
		peer.Send(&wampcore.Authenticate{Signature: ticket})
		m, err := peer.Receive()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if w, ok := login("joe", "open sesame").(*wampcore.Welcome); !ok || w.Details.AuthID != "joe" || w.Details.AuthRole != "backend" {
		t.Errorf("got %+v", w)
	}
	for authID, ticket := range map[string]string{"joe": "wrong", "nobody": ""} {
		if a, ok := login(authID, ticket).(*wampcore.Abort); !ok || a.Reason != wampcore.ErrAuthenticationDenied {
			t.Errorf("%s: got %+v", authID, a)
		}
	}
	if _, err := transport.Dial(t.Context(), "tcp://"+address, transport.Config{}); err == nil { // JSON
		t.Error("the listener takes JSON")
	}
	if _, err := transport.Dial(t.Context(), "ws://"+address+"/ws", transport.Config{}); err == nil {
		t.Error("the listener takes WebSocket")
	}
}

func TestPermissionsOfTheExampleHold(t *testing.T) {
	address := start(t, []string{"TICKET=open sesame"}, "permissions").address()
	join := func(authID string, methods ...auth.Method) *client.Session {
		t.Helper()
		c, err := transport.Dial(t.Context(), "tcp://"+address, transport.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := client.Join(t.Context(), c, client.Config{Realm: "realm1", AuthID: authID, Auth: methods})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close(context.Background()) })
		return s
	}
	joe, anybody := join("joe", auth.Ticket("open sesame")), join("")
	echo := func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) { return inv.Payload, nil }
	denied := &wampcore.Error{URI: wampcore.ErrNotAuthorized}
	if _, err := anybody.Register(t.Context(), "com.example.echo", echo, wampcore.RegisterOptions{}); !errors.Is(err, denied) {
		t.Errorf("anybody registers: got %v", err)
	}
	if _, err := joe.Register(t.Context(), "com.example.echo", echo, wampcore.RegisterOptions{}); err != nil {
		t.Error(err)
	}
	if got, err := client.Call[int](t.Context(), anybody, "com.example.echo", 7); err != nil || got != 7 {
		t.Errorf("got %d, %v", got, err)
	}
	ignore := func(context.Context, *wampcore.Event) {}
	if _, err := joe.Subscribe(t.Context(), "user.joe.inbox", ignore, wampcore.SubscribeOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := joe.Subscribe(t.Context(), "user.ann.inbox", ignore, wampcore.SubscribeOptions{}); !errors.Is(err, denied) {
		t.Errorf("joe subscribes to what is ann's: got %v", err)
	}
}
