package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// operated is a gateway with a unix socket for operators.
type operated struct {
	*process

	env    []string
	base   string
	socket string
}

// operate runs the binary with n listeners. The first is the plain one.
func operate(tb testing.TB, n int, env ...string) (*operated, []listener) {
	tb.Helper()
	socket := filepath.Join(directory(tb), "ops")
	env = append([]string{"WAMPGATE_OPS_ADDR=unix:" + socket}, env...)
	p, all := serve(tb, n, env...)
	p.expect("listening for operations")
	return &operated{p, env, all[0].HTTP, socket}, all
}

// ask sends a request to the operators' listener.
func (o *operated) ask(method, path, body string) (string, string) {
	o.tb.Helper()
	return curl(o.tb, "--unix-socket", o.socket, "-X", method, "http://localhost"+path, "-d", body)
}

// run runs a subcommand with the gateway's settings.
func (o *operated) run(args ...string) (string, int) {
	o.tb.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), append([]string{soon}, o.env...)...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// metric returns the value of a metric with these labels, as they stand.
func (o *operated) metric(name string) float64 {
	o.tb.Helper()
	cmd := exec.Command(need(o.tb, "curl"), "-sS", "--unix-socket", o.socket, "http://localhost/metrics")
	out, err := cmd.Output()
	if err != nil {
		o.tb.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				o.tb.Fatal(err)
			}
			return n
		}
	}
	o.tb.Fatalf("there is no %s in\n%s", name, out)
	return 0
}

// elsewhere returns an address of this machine that is not loopback: who connects by it is from elsewhere for the gateway.
func elsewhere(tb testing.TB) string {
	tb.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		tb.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() && !ip.IP.IsLinkLocalUnicast() {
			return ip.IP.String()
		}
	}
	tb.Skip("this machine has loopback alone")
	return ""
}

// events is an event stream, line by line.
type events struct {
	lines chan string // closed at its end
	retry atomic.Int64
}

// stream opens an event stream. Its lines are read until it ends.
func stream(tb testing.TB, url string) *events {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	res, err := streams.Do(req) //nolint:bodyclose // when the test has ended
	if err != nil {
		tb.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		tb.Fatalf("%s: %s", url, res.Status)
	}
	e := &events{lines: make(chan string, 100_000)}
	go func() {
		defer close(e.lines)
		defer res.Body.Close()
		scanner := bufio.NewScanner(res.Body)
		for scanner.Scan() {
			if ms, ok := strings.CutPrefix(scanner.Text(), "retry: "); ok {
				n, _ := strconv.ParseInt(ms, 10, 64)
				e.retry.Store(n)
			}
			e.lines <- scanner.Text()
		}
	}()
	return e
}

// streams is a client that may have as many connections as it likes.
var streams = &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0}} //nolint:gochecknoglobals // a constant

// expect waits for a line that contains text.
func (e *events) expect(tb testing.TB, text string) {
	tb.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	var seen []string
	for {
		select {
		case line, ok := <-e.lines:
			if !ok {
				tb.Fatalf("the stream ended without %q, but with\n%s", text, strings.Join(seen, "\n"))
			}
			if seen = append(seen, line); strings.Contains(line, text) {
				return
			}
		case <-timeout.C:
			tb.Fatalf("%q did not come, but\n%s", text, strings.Join(seen, "\n"))
		}
	}
}

func TestDrainAndThenTheEnd(t *testing.T) {
	outside := elsewhere(t)
	o, at := operate(t, 2, "WAMPGATE_LISTEN=127.0.0.1:0,"+outside+":0", "WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true", "WAMPGATE_DRAIN_WINDOW=1s")
	there := at[1].HTTP
	application := session(t, o.base, wampcore.CBOR)
	registerDouble(t, application)
	callee, caller := join(t, there, wampcore.JSON), join(t, there, wampcore.MessagePack)
	callee.register(1, "com.example.slow")
	caller.send(&wampcore.Call{Request: 1, Procedure: "com.example.slow"})
	request := expect[*wampcore.Invocation](callee).Request
	events := stream(t, there+"/v1/subscribe/com.example.news")
	events.expect(t, "wamp.ready")
	for probe, status := range map[string]int{"livez": 0, "readyz": 0, "startupz": 0} {
		if out, got := o.run("healthcheck", probe); got != status || out != "ok\n" {
			t.Errorf("before: %s is %d, %s", probe, got, out)
		}
	}

	type result struct {
		says   string
		status int
	}
	drained := make(chan result, 1)
	go func() {
		says, status := o.run("drain")
		drained <- result{says, status}
	}()
	o.expect(`"message":"draining"`)
	for probe, status := range map[string]int{"livez": 0, "readyz": 1, "startupz": 0} {
		if out, got := o.run("healthcheck", probe); got != status || strings.Contains(out, "not ready: it is draining") != (status == 1) {
			t.Errorf("while it drains: %s is %d, %s", probe, got, out)
		}
	}
	answer, _ := curl(t, "-i", there+"/v1/call/com.example.double", "-d", `{"args":[2]}`, "-H", "Content-Type: application/json")
	for _, want := range []string{"HTTP/1.1 503", "Connection: close", "Retry-After: ", "wamp.close.system_shutdown"} {
		if !strings.Contains(answer, want) {
			t.Errorf("from elsewhere: want %q in\n%s", want, answer)
		}
	}
	if body, status := post(t, o.base+"/v1/call/com.example.double", `{"args":[2]}`); status != "200" || body != `{"args":[4]}` {
		t.Errorf("from here: got %s %s", status, body)
	}
	events.expect(t, "wamp.bye")
	if ms := events.retry.Load(); ms < 1000 || ms > 5000 {
		t.Errorf("retry after %d ms", ms)
	}
	select {
	case r := <-drained:
		t.Errorf("drained, although a call is open: %v", r)
	default:
	}
	callee.send(&wampcore.Yield{Request: request})
	expect[*wampcore.Result](caller)
	for _, p := range []*peer{caller, callee} {
		if g := expect[*wampcore.Goodbye](p); g.Reason != wampcore.CloseSystemShutdown {
			t.Errorf("reason %s", g.Reason)
		}
	}
	if r := <-drained; r.status != 0 || r.says != "drained\n" {
		t.Errorf("gateway drain: %v", r)
	}
	if got := o.metric(`wampgate_phase{phase="draining"}`); got != 1 {
		t.Errorf("the phase is not draining: %v", got)
	}
	if says, status := o.run("drain"); status != 0 || says != "drained\n" {
		t.Errorf("once more: %d %s", status, says)
	}
	if err := double(t.Context(), application, 5); err != nil {
		t.Errorf("the application beside it: %v", err)
	}

	_ = o.cmd.Process.Signal(syscall.SIGTERM)
	waitFor(t, func() bool { return application.Err() != nil })
	if status := o.exit(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if says, status := o.run("healthcheck"); status != 1 {
		t.Errorf("a gateway that is gone: %d %s", status, says)
	}
}

func TestDrainIsCutShortBySIGTERM(t *testing.T) {
	outside := elsewhere(t)
	o, at := operate(t, 1, "WAMPGATE_LISTEN="+outside+":0", "WAMPGATE_ALLOW_ANONYMOUS_REMOTE=true", "WAMPGATE_DRAIN_WINDOW=10m")
	p := join(t, at[0].HTTP, wampcore.JSON)
	var drain sync.WaitGroup
	drain.Go(func() { o.run("drain") })
	o.expect(`"message":"draining"`)
	_ = o.cmd.Process.Signal(syscall.SIGTERM)
	expect[*wampcore.Goodbye](p)
	if status := o.exit(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	drain.Wait()
}

// acknowledged are publications that the gateway said it has taken.
type acknowledged struct {
	mu  sync.Mutex
	all map[string]bool
}

func (a *acknowledged) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[id] = true
}

func TestSIGTERMUnderLoadLosesNothing(t *testing.T) {
	const streamsOpen = 1000
	p, at := serve(t, 1, "WAMPGATE_STREAM_QUEUE_EVENTS=100000", "WAMPGATE_STREAM_QUEUE_BYTES=64MiB")
	base := at[0].HTTP
	callee := session(t, base, wampcore.CBOR)
	registerDouble(t, callee)
	readers := make([]*events, streamsOpen)
	var opening sync.WaitGroup
	for part := range 10 {
		opening.Go(func() {
			for i := range streamsOpen / 10 {
				topic := "com.example.load"
				if i > 0 { // most are idle
					topic = "com.example.quiet"
				}
				readers[part*100+i] = stream(t, base+"/v1/subscribe/"+topic)
			}
		})
	}
	opening.Wait()
	subscriber := join(t, base, wampcore.JSON)
	subscriber.subscribe(1, "com.example.load")
	native := make(chan string, 100_000)
	go func() {
		defer close(native)
		for {
			m, err := subscriber.t.Receive()
			if err != nil {
				return
			}
			if e, ok := m.(*wampcore.Event); ok {
				native <- string(e.Payload.Args)
			}
		}
	}()

	taken := &acknowledged{all: map[string]bool{}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var load sync.WaitGroup
	var begun, answered, refused atomic.Int64
	for worker := range 4 {
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := strconv.Itoa(worker*1_000_000 + n)
				begun.Add(1)
				body, status, err := send(ctx, base+"/v1/publish/com.example.load", `{"args":[`+id+`]}`)
				if err == nil && status == http.StatusOK {
					taken.add("[" + id + "]")
				} else if gone(t, body, status, err) {
					return
				}
				body, status, err = send(ctx, base+"/v1/call/com.example.double", `{"args":[`+id+`]}`)
				switch want := fmt.Sprintf(`{"args":[%d]}`, 2*(worker*1_000_000+n)); {
				case err == nil && status == http.StatusOK:
					if answered.Add(1); body != want {
						t.Errorf("double(%s) is %s", id, body)
					}
				case gone(t, body, status, err):
					refused.Add(1)
					return
				}
			}
		})
	}
	publisher := session(t, base, wampcore.MessagePack)
	load.Go(func() {
		for n := 9_000_000; ctx.Err() == nil; n++ {
			in, _ := wampcore.NewPayload(wampcore.JSON, []any{n}, nil)
			if _, err := publisher.Publish(ctx, "com.example.load", in, wampcore.PublishOptions{Acknowledge: true}); err != nil {
				return
			}
			taken.add("[" + strconv.Itoa(n) + "]")
		}
	})
	waitFor(t, func() bool { return answered.Load() > 100 })
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	load.Wait()
	if status := p.exit(); status != 0 {
		t.Errorf("exit status %d", status)
	}

	got := map[string]bool{}
	for args := range native {
		got[args] = true
	}
	missing(t, "the native subscriber", taken.all, got)
	retries := map[int64]int{}
	for i, r := range readers {
		got, bye := map[string]bool{}, false
		for line := range r.lines {
			if _, rest, ok := strings.Cut(line, `"args":`); ok {
				args, _, _ := strings.Cut(rest, "]")
				got[args+"]"] = true
			}
			bye = bye || line == "event: wamp.bye"
		}
		if !bye {
			t.Errorf("stream %d ended without a word", i)
		}
		if i%100 == 0 {
			missing(t, fmt.Sprintf("stream %d", i), taken.all, got)
		}
		retries[r.retry.Load()/500]++
	}
	for half := int64(2); half < 10; half++ { // 1 to 5 seconds
		if n := retries[half]; n < streamsOpen/8/3 || n > streamsOpen/8*3 {
			t.Errorf("%d of %d readers come back in half second %d", n, streamsOpen, half)
		}
	}
	t.Logf("%d publications acknowledged, %d calls answered", len(taken.all), answered.Load())
}

// send posts a body.
func send(ctx context.Context, url, body string) (string, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), res.StatusCode, err
}

// gone reports whether a request failed as it has to when the gateway ends: it is refused, or nobody listens.
func gone(tb testing.TB, body string, status int, err error) bool {
	tb.Helper()
	if err == nil && status != http.StatusServiceUnavailable {
		tb.Errorf("got %d %s", status, body)
	}
	return true
}

func missing(tb testing.TB, who string, want, got map[string]bool) {
	tb.Helper()
	n := 0
	for id := range want {
		if !got[id] {
			n++
		}
	}
	if n > 0 {
		tb.Errorf("%s misses %d of %d publications that were acknowledged", who, n, len(want))
	}
}

func TestNativeClientsComeBackAfterAKill(t *testing.T) {
	address := freeAddress(t)
	env := []string{"WAMPGATE_LISTEN=" + address}
	p, at := serve(t, 1, env...)
	clients := make([]*client.Redialer, 0, 20)
	ups := make(chan struct{}, 1000)
	for i := range 20 {
		r := client.Redial(client.RedialConfig{
			Dial: func(ctx context.Context) (wampcore.Transport, error) {
				return transport.Dial(ctx, at[0].WebSocket, transport.Config{})
			},
			Session: client.Config{Realm: "realm1"},
			OnUp:    func(*client.Session) { ups <- struct{}{} },
		})
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = r.Close(ctx)
		})
		if _, err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		procedure := wampcore.URI("com.example.p" + strconv.Itoa(i))
		if _, err := r.Register(t.Context(), procedure, func(context.Context, *client.Invocation) (wampcore.Payload, error) {
			return wampcore.NewPayload(wampcore.JSON, []any{i}, nil)
		}, wampcore.RegisterOptions{}); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, r)
	}
	for range 3 {
		for len(ups) > 0 {
			<-ups
		}
		_ = p.cmd.Process.Kill()
		p.exit()
		p, _ = serve(t, 1, env...)
		timeout := time.NewTimer(patience)
		for range clients {
			select {
			case <-ups:
			case <-timeout.C:
				t.Fatal("not all clients came back")
			}
		}
		timeout.Stop()
		for i := range clients {
			if got, err := client.Call[int](t.Context(), clients[(i+1)%len(clients)], wampcore.URI("com.example.p"+strconv.Itoa(i))); err != nil || got != i {
				t.Errorf("call after the kill: got %d, %v", got, err)
			}
		}
	}
}

func TestLogLevelChangesWhileItRuns(t *testing.T) {
	o, _ := operate(t, 1)
	silent := func() {
		if out, _ := o.ask(http.MethodGet, "/loglevel", ""); out != "info\n" {
			t.Errorf("got %s", out)
		}
	}
	silent()
	_ = o.cmd.Process.Signal(syscall.SIGUSR1)
	if line := o.expect(`"to":"debug"`); !regexp.MustCompile(`"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)"`).MatchString(line) {
		t.Errorf("got %s, want a time in milliseconds", line)
	}
	curl(t, o.base+"/livez?token=hunter2")
	if line := o.expect(`"message":"request"`); !strings.Contains(line, `"path":"/livez"`) || strings.Contains(line, "hunter2") {
		t.Errorf("got %s", line)
	}
	if out, status := o.ask(http.MethodPut, "/loglevel", "info"); out != "info\n" || status != "200" {
		t.Errorf("got %s %s", status, out)
	}
	o.expect(`"to":"info"`)
	silent()
}

func TestShutdownThatCutsCallsSaysWhichSettingToLookAt(t *testing.T) {
	p, at := serve(t, 1, "WAMPGATE_SHUTDOWN_TIMEOUT=1s")
	callee, caller := join(t, at[0].HTTP, wampcore.JSON), join(t, at[0].HTTP, wampcore.JSON)
	callee.register(1, "com.example.never")
	caller.send(&wampcore.Call{Request: 1, Procedure: "com.example.never"})
	expect[*wampcore.Invocation](callee)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	line := p.expect(`"message":"gateway stopped"`)
	if !strings.Contains(line, `"error":"calls were cut: they did not end within WAMPGATE_SHUTDOWN_TIMEOUT, which is 1s"`) {
		t.Errorf("got %s", line)
	}
	if status := p.exit(); status != 1 {
		t.Errorf("exit status %d", status)
	}
}

func TestGatewayOutlivesWhoReadsItsLog(t *testing.T) {
	log, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), "WAMPGATE_LISTEN="+address, "WAMPGATE_ACCESS_LOG=true")
	cmd.Stderr = end
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	_ = end.Close()
	for lines := bufio.NewScanner(log); !strings.Contains(lines.Text(), `"message":"listening"`); {
		if !lines.Scan() {
			t.Fatalf("it does not listen: %v", lines.Err())
		}
	}
	_ = log.Close()
	for range 3 { // each is a line
		if _, status := curl(t, "http://"+address+"/livez"); status != "200" {
			t.Errorf("got %s", status)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends by %v", err)
	}
}

// waitUntilServed waits for the operations address: it is listened on after the others.
func waitUntilServed(t *testing.T, address string) {
	t.Helper()
	waitFor(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
}

func TestThoseWhoDoNotReadTheMetricsAreCut(t *testing.T) {
	address := freeAddress(t)
	serve(t, 1, "WAMPGATE_OPS_ADDR="+address)
	waitUntilServed(t, address)
	const stalled = 8
	cut := make(chan error, stalled)
	for range stalled {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		_ = c.SetDeadline(time.Now().Add(patience))
		go func() { // more than buffers take
			_, err := io.Copy(c, strings.NewReader(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 200_000)))
			cut <- err
		}()
	}
	for range 5 {
		if _, status := curl(t, "http://"+address+"/metrics"); status != "200" {
			t.Errorf("got %s", status)
		}
	}
	for range stalled {
		if err := <-cut; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it was not cut: %v", err)
		}
	}
}

func TestOneAddressDoesNotTakeAllConnectionsOfTheOperators(t *testing.T) {
	address := freeAddress(t)
	serve(t, 1, "WAMPGATE_OPS_ADDR="+address, "WAMPGATE_HELLO_TIMEOUT=10m")
	waitUntilServed(t, address)
	all := make([]net.Conn, 0, 150)
	for range 150 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	for i, c := range all[100:] {
		_ = c.SetDeadline(time.Now().Add(patience / 2))
		if _, err := c.Write([]byte("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			continue
		}
		answer, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(answer), "200 OK") {
			t.Errorf("connection %d: got %s, %v", 100+i, answer, err)
		}
	}
	for _, c := range all {
		_ = c.Close()
	}
	waitFor(t, func() bool {
		res, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func TestMetricsTellWhatWasDone(t *testing.T) {
	o, _ := operate(t, 1, "WAMPGATE_METRICS_PROCEDURES=com.example.double")
	callee := session(t, o.base, wampcore.CBOR)
	registerDouble(t, callee)
	for range 3 {
		post(t, o.base+"/v1/call/com.example.double", `{"args":[1]}`)
	}
	post(t, o.base+"/v1/call/com.example.nobody", ``)
	post(t, o.base+"/v1/publish/com.example.news", ``)
	curl(t, o.base+"/metrics")
	reader := stream(t, o.base+"/v1/subscribe/com.example.streamed")
	reader.expect(t, "wamp.ready")
	post(t, o.base+"/v1/publish/com.example.streamed", `{"args":[1]}`)
	reader.expect(t, `"args":[1]`)
	slow := join(t, o.base, wampcore.JSON)
	slow.subscribe(1, "com.example.news")
	for name, want := range map[string]float64{
		`wampgate_sessions{serializer="cbor",transport="websocket"}`:                              1,
		`wampgate_sessions{serializer="json",transport="websocket"}`:                              1,
		`wampgate_sessions{serializer="",transport="pipe"}`:                                       1,
		`wampgate_sessions_joined_total`:                                                          4,
		`wampgate_registrations`:                                                                  1,
		`wampgate_subscriptions`:                                                                  2,
		`wampgate_calls_total{result="ok"}`:                                                       3,
		`wampgate_calls_total{result="no_such_procedure"}`:                                        1,
		`wampgate_call_duration_seconds_count`:                                                    3,
		`wampgate_publications_total`:                                                             2,
		`wampgate_queue_bytes`:                                                                    0,
		`wampgate_http_requests_total{code="200",method="POST",route="/v1/call/{procedure}"}`:     3,
		`wampgate_http_requests_total{code="404",method="POST",route="/v1/call/{procedure}"}`:     1,
		`wampgate_http_requests_total{code="404",method="GET",route=""}`:                          1,
		`wampgate_http_request_duration_seconds_count{method="POST",route="/v1/publish/{topic}"}`: 2,
		`wampgate_operation_duration_seconds_count{action="call",result="ok"}`:                    3,
		`wampgate_operation_duration_seconds_count{action="call",result="no_such_procedure"}`:     1,
		`wampgate_operation_duration_seconds_count{action="publish",result="ok"}`:                 2,
		`wampgate_procedure_call_duration_seconds_count{procedure="com.example.double"}`:          3,
		`wampgate_phase{phase="serving"}`:                                                         1,
		`wampgate_http_requests_in_flight`:                                                        0,
	} {
		if got := o.metric(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// exported are the spans that a collector was sent, by their names.
type exported struct {
	*httptest.Server

	mu    sync.Mutex
	spans map[string]*tracepb.Span
}

func newExported(tb testing.TB) *exported {
	tb.Helper()
	e := &exported{spans: map[string]*tracepb.Span{}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		data := new(tracepb.TracesData)
		if err := proto.Unmarshal(b, data); err != nil || r.URL.Path != "/v1/traces" {
			tb.Errorf("%s: %v", r.URL, err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, of := range data.ResourceSpans {
			for _, s := range of.ScopeSpans {
				for _, span := range s.Spans {
					e.spans[span.Name] = span
				}
			}
		}
	}))
	tb.Cleanup(e.Close)
	return e
}

func TestTracesGoFromTheRequestToTheCalleeAndTheHook(t *testing.T) {
	collector := newExported(t)
	var mu sync.Mutex
	var atHook string
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		atHook = r.Header.Get("Traceparent")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"args":[1]}`))
	}))
	defer service.Close()
	p, at := serve(t, 1, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	base := at[0].HTTP
	callee := join(t, base, wampcore.JSON)
	callee.register(1, "com.example.native")
	if body, status := curl(t, "-X", "PUT", base+"/v1/hooks/h", "-d", `{"url":"`+service.URL+`","procedure":"com.example.hook"}`, "-H", "Content-Type: application/json"); status != "201" {
		t.Fatalf("hook: %s %s", status, body)
	}
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	call := func(procedure string) (string, string) {
		return curl(t, base+"/v1/call/"+procedure, "-X", "POST", "-H", "traceparent: 00-"+trace+"-"+parent+"-01")
	}
	var open sync.WaitGroup
	open.Go(func() {
		if body, status := call("com.example.native"); status != "200" {
			t.Errorf("call: %s %s", status, body)
		}
	})
	inv := expect[*wampcore.Invocation](callee)
	var atCallee string
	for _, a := range inv.Details.Custom {
		if a.Key == "_traceparent" {
			_ = a.Value.Decode(&atCallee)
		}
	}
	callee.send(&wampcore.Yield{Request: inv.Request})
	open.Wait()
	if body, status := call("com.example.hook"); status != "200" {
		t.Errorf("hook: %s %s", status, body)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // sends what is left
	p.exit()

	collector.mu.Lock()
	defer collector.mu.Unlock()
	request := collector.spans["POST /v1/call/{procedure}"]
	native, toHook, hook := collector.spans["call com.example.native"], collector.spans["call com.example.hook"], collector.spans["invoke com.example.hook"]
	if request == nil || native == nil || toHook == nil || hook == nil {
		t.Fatalf("got %v", collector.spans)
	}
	if got := hex.EncodeToString(request.TraceId) + hex.EncodeToString(request.ParentSpanId); got != trace+parent {
		t.Errorf("the request's span is of %s", got)
	}
	if want := "00-" + trace + "-" + hex.EncodeToString(native.SpanId) + "-01"; atCallee != want {
		t.Errorf("the callee got %s, want %s", atCallee, want)
	}
	if !bytes.Equal(toHook.ParentSpanId, request.SpanId) { // the later of two requests
		t.Errorf("the call's span is not of the request's")
	}
	if !bytes.Equal(hook.ParentSpanId, toHook.SpanId) || hook.Kind != tracepb.Span_SPAN_KIND_CLIENT {
		t.Errorf("the hook's span: %v", hook)
	}
	if want := "00-" + trace + "-" + hex.EncodeToString(hook.SpanId) + "-01"; atHook != want {
		t.Errorf("the hook's service got %s, want %s", atHook, want)
	}
}

func TestMemoryLimitIsHeeded(t *testing.T) {
	p := start(t, []string{soon, "WAMPGATE_LISTEN=127.0.0.1:0", "GOMEMLIMIT=100MiB"}, binary)
	if line := p.expect(`"message":"memory limit"`); !strings.Contains(line, `"bytes":104857600`) {
		t.Errorf("got %s", line)
	}
}

func TestProfilesComeFromTheOperatorsListenerAlone(t *testing.T) {
	o, _ := operate(t, 1, "WAMPGATE_PROFILING=true")
	if _, status := o.ask(http.MethodGet, "/debug/pprof/goroutine?debug=1", ""); status != "200" {
		t.Errorf("operators: %s", status)
	}
	for _, path := range []string{"/debug/pprof/", "/loglevel", "/drain"} {
		if _, status := curl(t, o.base+path); status != "404" {
			t.Errorf("%s is on the main listener: %s", path, status)
		}
	}
}
