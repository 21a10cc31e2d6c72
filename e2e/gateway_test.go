// Package e2e runs the real binary against real clients.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait. The binary has the race detector in it, and the machine other things to do.
const patience = 30 * time.Second

var binary string //nolint:gochecknoglobals // set by TestMain

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wampgate")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "gateway")
	build := exec.Command("go", "build", "-race", "-o", binary, "./cmd/gateway")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// process is a program whose lines of output are waited for.
type process struct {
	tb    testing.TB
	name  string
	cmd   *exec.Cmd
	lines chan string
	done  chan error
}

func start(tb testing.TB, env []string, name string, args ...string) *process {
	tb.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	return run(tb, cmd)
}

// startWith starts a program that reads in.
func startWith(tb testing.TB, in *os.File, name string, args ...string) *process {
	tb.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = in
	return run(tb, cmd)
}

func run(tb testing.TB, cmd *exec.Cmd) *process {
	tb.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	p := &process{tb: tb, name: filepath.Base(cmd.Path), cmd: cmd, lines: make(chan string, 10_000), done: make(chan error, 1)}
	go func() {
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			p.lines <- scanner.Text()
		}
		close(p.lines)
		p.done <- cmd.Wait()
	}()
	tb.Cleanup(func() { _ = cmd.Process.Kill() })
	return p
}

// expect waits for a line that contains text.
func (p *process) expect(text string) string {
	p.tb.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	var seen []string
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.tb.Fatalf("%s ended without saying %q, but:\n%s", p.name, text, strings.Join(seen, "\n"))
			}
			if strings.Contains(line, text) {
				return line
			}
			seen = append(seen, line)
		case <-timeout.C:
			p.tb.Fatalf("%s did not say %q, but:\n%s", p.name, text, strings.Join(seen, "\n"))
		}
	}
}

// until yields the lines before one that is text.
func (p *process) until(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		p.tb.Helper()
		timeout := time.NewTimer(patience)
		defer timeout.Stop()
		for {
			select {
			case line, ok := <-p.lines:
				if !ok {
					p.tb.Errorf("%s ended without saying %q", p.name, text)
					return
				}
				if line == text || !yield(line) {
					return
				}
				p.tb.Log(line)
			case <-timeout.C:
				p.tb.Errorf("%s did not say %q", p.name, text)
				return
			}
		}
	}
}

// exit waits for the process's end and returns its status.
func (p *process) exit() int {
	p.tb.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case _, ok := <-p.lines:
			if !ok {
				<-p.done
				return p.cmd.ProcessState.ExitCode()
			}
		case <-timeout.C:
			p.tb.Fatalf("%s does not end", p.name)
		}
	}
}

// gateway runs the binary on a free port and returns its base address.
func gateway(tb testing.TB, env ...string) (*process, string) {
	tb.Helper()
	p := start(tb, append([]string{"WAMPGATE_LISTEN=127.0.0.1:0"}, env...), binary)
	var line struct{ HTTP string }
	if err := json.Unmarshal([]byte(p.expect(`"message":"listening"`)), &line); err != nil {
		tb.Fatal(err)
	}
	return p, line.HTTP
}

func webSocket(base string) string { return "ws" + strings.TrimPrefix(base, "http") + "/ws" }

// need skips where a program is missing, which never happens in CI.
func need(tb testing.TB, program string) string {
	tb.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		tb.Fatalf("%s is missing", program)
	}
	tb.Skipf("%s is not installed", program)
	return ""
}

func node(tb testing.TB, script string, args ...string) *process {
	tb.Helper()
	path := need(tb, "node")
	if _, err := os.Stat("js/node_modules"); err != nil && os.Getenv("CI") == "" {
		tb.Skip("the npm packages are not installed: .ci/clients installs them")
	}
	return start(tb, nil, path, append([]string{filepath.Join("js", script)}, args...)...)
}

func python(tb testing.TB, args ...string) *process {
	tb.Helper()
	return script(tb, "component.py", args...)
}

// script runs a script of Python's.
func script(tb testing.TB, name string, args ...string) *process {
	tb.Helper()
	return start(tb, nil, interpreter(tb), append([]string{name}, args...)...)
}

// interpreter returns the Python that has Autobahn: Debian's.
func interpreter(tb testing.TB) string {
	tb.Helper()
	for _, path := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(path, "-c", "import autobahn").Run() == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		tb.Fatal("python3-autobahn is missing")
	}
	tb.Skip("python3-autobahn is not installed")
	return ""
}

// curl returns the body and the status of a request.
func curl(tb testing.TB, args ...string) (string, string) {
	tb.Helper()
	cmd := exec.Command(need(tb, "curl"), append([]string{"-sS", "-m", "30", "-w", "\n%{http_code}"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("curl %q: %v", args, err)
	}
	end := bytes.LastIndexByte(out, '\n')
	return string(out[:end]), string(out[end+1:])
}

func post(tb testing.TB, url, body string) (string, string) {
	tb.Helper()
	return curl(tb, url, "-d", body, "-H", "Content-Type: application/json")
}

func TestNativeClientsAndPlainHTTPMeetInOneRealm(t *testing.T) {
	clients := map[string]func(testing.TB, ...string) *process{
		"autobahn-js": func(tb testing.TB, args ...string) *process {
			tb.Helper()
			return node(tb, "autobahn.js", args...)
		},
		"wampy": func(tb testing.TB, args ...string) *process {
			tb.Helper()
			return node(tb, "wampy.js", args...)
		},
		"autobahn-py": python,
		"autobahn-py by RawSocket": func(tb testing.TB, args ...string) *process {
			tb.Helper()
			address := strings.TrimSuffix(strings.TrimPrefix(args[0], "ws://"), "/ws")
			return python(tb, append([]string{"rs://" + address}, args[1:]...)...)
		},
	}
	for name, client := range clients {
		for _, encoding := range []string{"json", "msgpack", "cbor"} {
			t.Run(name+" "+encoding, func(t *testing.T) {
				_, base := gateway(t)
				stream := start(t, nil, need(t, "curl"), "-sN", base+"/v1/subscribe/com.example.echo")
				stream.expect("wamp.ready")
				stream.expect("data:")
				client(t, webSocket(base), encoding).expect("ready")
				if body, status := post(t, base+"/v1/call/com.example.add", `{"args":[2,3]}`); body != `{"args":[5]}` || status != "200" {
					t.Errorf("call: %s %s", status, body)
				}
				if body, status := post(t, base+"/v1/publish/com.example.news", `{"args":["hello",7]}`); status != "200" {
					t.Errorf("publish: %s %s", status, body)
				}
				if line := stream.expect("data:"); !strings.Contains(line, `"args":["hello",7]`) || !strings.Contains(line, `"topic":"com.example.echo"`) {
					t.Errorf("event: %s", line)
				}
				if body, _ := curl(t, "-X", "POST", base+"/v1/call/wamp.session.count"); body != `{"args":[3]}` {
					t.Errorf("sessions: %s, want the client's, the stream's and the one of HTTP's calls", body)
				}
			})
		}
	}
}

func TestEventSourceSeesEventsAndTheGatewaysEnd(t *testing.T) {
	gw, base := gateway(t)
	source := node(t, "eventsource.mjs", base+"/v1/subscribe?topic=com.example.a&topic=com.example.b")
	source.expect("ready")
	for _, topic := range []string{"com.example.a", "com.example.b"} {
		post(t, base+"/v1/publish/"+topic, `{"kwargs":{"n":9007199254740993}}`)
		if line := source.expect("kwargs"); !strings.Contains(line, topic) || !strings.Contains(line, "9007199254740993") {
			t.Errorf("event: %s", line)
		}
	}
	_ = gw.cmd.Process.Signal(syscall.SIGTERM)
	source.expect("bye")
	if status := gw.exit(); status != 0 {
		t.Errorf("the gateway's exit status is %d", status)
	}
}

func TestCallFailsAtOnceWhenItsCalleeIsKilled(t *testing.T) {
	_, base := gateway(t)
	callee := node(t, "autobahn.js", webSocket(base), "json")
	callee.expect("ready")
	if body, status := post(t, base+"/v1/call/com.example.fail", ""); status != "422" || !strings.Contains(body, `"com.example.bad"`) {
		t.Errorf("an application's error: %s %s", status, body)
	}
	type answer struct{ body, status string }
	got := make(chan answer, 1)
	go func() {
		res, err := http.Post(base+"/v1/call/com.example.never", "", nil)
		if err != nil {
			got <- answer{err.Error(), ""}
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		got <- answer{string(body), res.Status}
	}()
	waitFor(t, func() bool { return inFlight(t, base) })
	_ = callee.cmd.Process.Kill()
	select {
	case a := <-got:
		if !strings.HasPrefix(a.status, "502") || !strings.Contains(a.body, "wamp.error.canceled") {
			t.Errorf("got %s %s", a.status, a.body)
		}
	case <-time.After(patience): //nolint:forbidigo // the bound of a test
		t.Fatal("no answer")
	}
}

// inFlight reports whether the HTTP face's session for calls is there, which it is once the first call was made.
func inFlight(tb testing.TB, base string) bool {
	tb.Helper()
	body, _ := curl(tb, "-X", "POST", base+"/v1/call/wamp.session.count")
	return body == `{"args":[2]}`
}

func waitFor(tb testing.TB, condition func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatal("the condition did not come true")
		}
	}
}

func TestBadRequestsGetTheirExactAnswer(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_MAX_BODY=64KiB")
	call := base + "/v1/call/com.example.add"
	for name, c := range map[string]struct {
		args   []string
		status string
		detail string
	}{
		"unknown member":  {[]string{call, "-d", `{"name":1}`, "-H", "Content-Type: application/json"}, "400", `unknown member \"name\"; wrap it in \"kwargs\" or add ?as=kwargs`},
		"duplicate key":   {[]string{call, "-d", `{"args":[],"args":[1]}`, "-H", "Content-Type: application/json"}, "400", "twice"},
		"not a number":    {[]string{call, "-d", `{"args":[NaN]}`, "-H", "Content-Type: application/json"}, "400", "not one JSON value"},
		"depth 10,000":    {[]string{call, "-d", strings.Repeat("[", 10_000), "-H", "Content-Type: application/json"}, "400", "nested deeper"},
		"trailing bytes":  {[]string{call, "-d", `{} {}`, "-H", "Content-Type: application/json"}, "400", "not one JSON value"},
		"a form":          {[]string{call, "-d", `a=b`}, "415", "application/json"},
		"too large":       {[]string{call, "-d", `{"args":["` + strings.Repeat("x", 70_000) + `"]}`, "-H", "Content-Type: application/json"}, "413", "larger"},
		"wrong method":    {[]string{call}, "405", "use POST"},
		"Accept":          {[]string{"-X", "POST", call, "-H", "Accept: text/html"}, "406", "application/json"},
		"no deadline":     {[]string{"-X", "POST", call, "-H", "Wamp-Timeout-Ms: 0"}, "400", "Wamp-Timeout-Ms"},
		"no procedure":    {[]string{"-X", "POST", call}, "404", "wamp.error.no_such_procedure"},
		"no realm":        {[]string{"-X", "POST", base + "/v1/realms/nowhere/call/p"}, "404", "wamp.error.no_such_realm"},
		"no URI":          {[]string{"-X", "POST", base + "/v1/call/a..b"}, "400", "wamp.error.invalid_uri"},
		"no path":         {[]string{base + "/v2"}, "404", "/v2"},
		"a foreign host":  {[]string{base + "/livez", "-H", "Host: evil.example"}, "421", "evil.example"},
		"a foreign page":  {[]string{"-X", "POST", call, "-H", "Origin: https://evil.example"}, "403", "origin"},
		"its WebSocket":   {[]string{base + "/ws", "-H", "Origin: https://evil.example", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket"}, "403", "WAMPGATE_ORIGINS"},
		"reserved topic":  {[]string{"-X", "POST", base + "/v1/publish/wamp.session.on_join"}, "400", "wamp.error.invalid_uri"},
		"unknown option":  {[]string{call, "-d", `{"options":{"x":1}}`, "-H", "Content-Type: application/json"}, "400", "known are"},
		"option's type":   {[]string{call, "-d", `{"options":{"disclose_me":1}}`, "-H", "Content-Type: application/json"}, "400", "is not a boolean"},
		"no subprotocol":  {[]string{base + "/ws", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, "400", "wamp.2.json"},
		"not a WebSocket": {[]string{base + "/ws"}, "426", "WebSocket"},
	} {
		body, status := curl(t, c.args...)
		if status != c.status || !strings.Contains(body, c.detail) {
			t.Errorf("%s: got %s %s, want %s and %q", name, status, body, c.status, c.detail)
		}
	}
}

func TestCommandLine(t *testing.T) {
	_, base := gateway(t)
	busy := strings.TrimPrefix(base, "http://")
	for name, c := range map[string]struct {
		env    []string
		args   []string
		status int
		says   string
	}{
		"version":          {nil, []string{"-version"}, 0, "wampgate"},
		"help":             {nil, []string{"-help"}, 0, "WAMPGATE_LISTEN"},
		"unknown flag":     {nil, []string{"-x"}, 1, "usage"},
		"unknown variable": {[]string{"WAMPGATE_LISTN=x"}, nil, 1, "did you mean WAMPGATE_LISTEN"},
		"bad address":      {[]string{"WAMPGATE_LISTEN=x"}, nil, 1, "WAMPGATE_LISTEN"},
		"port in use":      {[]string{"WAMPGATE_LISTEN=" + busy}, nil, 1, "address already in use"},
		"open to all":      {[]string{"WAMPGATE_LISTEN=0.0.0.0:0"}, nil, 1, "WAMPGATE_ALLOW_ANONYMOUS_REMOTE"},
	} {
		cmd := exec.Command(binary, c.args...)
		cmd.Env = append(os.Environ(), c.env...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run()
		if cmd.ProcessState.ExitCode() != c.status || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: exit status %d, want %d and %q in\n%s", name, cmd.ProcessState.ExitCode(), c.status, c.says, out.String())
		}
	}
}
