package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is Chromium with event streams in tabs.
type browser struct {
	*process

	in io.Writer
}

func openBrowser(tb testing.TB, base string) *browser {
	tb.Helper()
	program, chromium := need(tb, "node"), need(tb, "chromium")
	if _, err := os.Stat("js/node_modules/playwright-core"); err != nil && os.Getenv("CI") == "" {
		tb.Skip("playwright-core is not installed: .ci/clients installs it")
	}
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	b := &browser{startWith(tb, r, program, "js/browser.mjs", base, chromium), w}
	tb.Cleanup(func() {
		_ = w.Close() // which ends it, and Chromium with it
		b.exit()
	})
	b.expect("browser")
	return b
}

func (b *browser) say(format string, args ...any) {
	b.tb.Helper()
	if _, err := fmt.Fprintf(b.in, format+"\n", args...); err != nil {
		b.tb.Fatal(err)
	}
}

func TestEventSourceInABrowserComesBackAndStopsWhenItIsToldTo(t *testing.T) {
	g, base := gateway(t)
	b := openBrowser(t, base)
	b.say("open a /v1/subscribe/com.example.a")
	b.expect("a: ready live")
	post(t, base+"/v1/publish/com.example.a", `{"args":["one"]}`)
	b.expect("a: event one")
	if err := g.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	b.expect("a: bye")
	g.exit()
	address, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	gateway(t, "WAMPGATE_LISTEN="+address.Host)
	b.expect("a: ready gap") // what was before the restart is gone, and that is said
	b.expect("a: gap")
	post(t, base+"/v1/publish/com.example.a", `{"args":["two"]}`)
	b.expect("a: event two")
	b.say("open over /v1/subscribe/com.example.a?cursor=fin.1") // 204
	b.expect("over: closed")
}

func TestSeventhTabOfABrowserWaitsForAConnection(t *testing.T) {
	_, base := gateway(t)
	b := openBrowser(t, base)
	const most = 6 // connections of HTTP/1.1 that a browser has for one host
	for i := range most {
		b.say("open tab%d /v1/subscribe/com.example.a", i)
		b.expect(fmt.Sprintf("tab%d: ready live", i))
	}
	b.say("open seventh /v1/subscribe/com.example.a")
	b.expect("seventh: open")
	post(t, base+"/v1/publish/com.example.a", `{"args":["one"]}`)
	for range most {
		if line := b.expect(": event one"); strings.HasPrefix(line, "seventh") {
			t.Fatalf("the seventh has a connection: %s", line)
		}
	}
	if body, _ := curl(t, "-X", "POST", base+"/v1/call/wamp.session.count"); body != fmt.Sprintf(`{"args":[%d]}`, most+1) {
		t.Errorf("there are other sessions than those of %d streams and of this call: %s", most, body)
	}
	b.say("close tab0")
	b.expect("seventh: ready live")
	post(t, base+"/v1/publish/com.example.a", `{"args":["two"]}`)
	for range most {
		b.expect(": event two")
	}
}

// nginx runs nginx in front of base, configured as it is by default but for these settings of its server, and returns its address.
func nginx(tb testing.TB, base, settings string) string {
	tb.Helper()
	program := need(tb, "nginx")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	dir := tb.TempDir()
	conf := fmt.Sprintf(`
		daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr notice;
		events {}
		http {
			access_log off;
			client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
			server { listen %[2]s; %[3]s location / { proxy_pass %[4]s; } }
		}`, dir, address, settings, base)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	p := start(tb, nil, program, "-c", file, "-p", dir, "-e", "stderr")
	p.expect("start worker process ")
	tb.Cleanup(func() {
		_ = p.cmd.Process.Signal(os.Interrupt)
		p.exit()
	})
	return "http://" + address
}

func TestNginxPassesStreamsOnAsTheyCome(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_HEARTBEAT=500ms")
	front := nginx(t, base, "proxy_read_timeout 2s;") // 60 s by default, and heartbeats every 15
	stream := start(t, nil, need(t, "curl"), "-sN", front+"/v1/subscribe/com.example.a")
	stream.expect("wamp.ready")
	began := time.Now()
	for time.Since(began) < 4*time.Second { // idle, for longer than nginx waits for a word
		stream.expect(":")
	}
	post(t, front+"/v1/publish/com.example.a", `{"args":["unbuffered"]}`)
	stream.expect("unbuffered")
}

func TestCurlReadsStreamsOverHTTP2WithoutTLS(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_H2C=true")
	stream := start(t, nil, need(t, "curl"), "-sN", "-i", "--http2-prior-knowledge", base+"/v1/subscribe?prefix=com.example.")
	stream.expect("HTTP/2 200")
	stream.expect("wamp.ready")
	for i := range 3 {
		post(t, base+"/v1/publish/com.example.a", fmt.Sprintf(`{"args":["event %d"]}`, i))
		stream.expect(fmt.Sprintf("event %d", i))
	}
}

func TestReaderThatStopsIsCutAndMayResume(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_STREAM_QUEUE_EVENTS=16", "WAMPGATE_MAX_BODY=8MiB")
	address := strings.TrimPrefix(base, "http://")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "GET /v1/subscribe/com.example.a HTTP/1.1\r\nHost: %s\r\n\r\n", address); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	for line := ""; !strings.Contains(line, "wamp.ready"); {
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	big := `{"args":["` + strings.Repeat("x", 1<<20) + `"]}`
	for range 30 {
		res, err := http.Post(base+"/v1/publish/com.example.a", "application/json", strings.NewReader(big))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	rest, _ := io.ReadAll(in)
	id := ""
	for line := range strings.Lines(string(rest)) {
		if after, ok := strings.CutPrefix(line, "id: "); ok {
			id = strings.TrimSpace(after)
		}
	}
	if id == "" || bytes.Count(rest, []byte("data: {\"topic\"")) >= 30 {
		t.Fatalf("it was not cut: %d bytes", len(rest))
	}
	stream := start(t, nil, need(t, "curl"), "-sN", base+"/v1/subscribe/com.example.a", "-H", "Last-Event-ID: "+id)
	stream.expect(`"resume":"resumed"`)
}

func TestFloodOfReconnectsLeavesNothingBehind(t *testing.T) {
	_, base := gateway(t)
	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			for i := range 100 {
				res, err := http.Get(base + "/v1/subscribe/com.example.a?cursor=" + url.QueryEscape(strings.Repeat("\x00", i)))
				if err != nil {
					t.Error(err)
					return
				}
				_ = res.Body.Close()
			}
		})
	}
	flood.Wait()
	for deadline := time.Now().Add(patience); ; {
		body, _ := curl(t, "-X", "POST", base+"/v1/call/wamp.session.count")
		if body == `{"args":[1]}` {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("sessions are left: %s", body)
		}
	}
}

// TestTenThousandStreamsGetEveryEvent uses a binary without the race detector, which has no more than 8128 goroutines.
func TestTenThousandStreamsGetEveryEvent(t *testing.T) {
	const streams, events = 10_000, 100
	dir := t.TempDir()
	plain := filepath.Join(dir, "gateway")
	build := exec.Command("go", "build", "-o", plain, "./cmd/gateway")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	file := filepath.Join(dir, "wampgate.yaml")
	if err := os.WriteFile(file, []byte("http:\n  limits:\n    default: {streams: 20000}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := start(t, []string{"WAMPGATE_LISTEN=127.0.0.1:0", "WAMPGATE_CONFIG=" + file}, plain)
	line := g.expect(`"message":"listening"`)
	go func() { // its log
		for range g.lines {
		}
	}()
	_, address, _ := strings.Cut(line, `"http":"http://`)
	address, _, _ = strings.Cut(address, `"`)
	var ready, done sync.WaitGroup
	ready.Add(streams)
	opening := make(chan struct{}, 64)
	for range streams {
		opening <- struct{}{}
		done.Go(func() {
			readStream(t, address, events, func() { <-opening; ready.Done() })
		})
	}
	ready.Wait()
	for i := range events {
		if body, status := post(t, "http://"+address+"/v1/publish/com.example.a", fmt.Sprintf(`{"args":[%d]}`, i)); status != "200" {
			t.Fatalf("%s %s", status, body)
		}
	}
	done.Wait()
}

// readStream reads events 0 to n-1 of a stream.
func readStream(t *testing.T, address string, n int, ready func()) {
	t.Helper()
	begun := sync.OnceFunc(ready)
	defer begun()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(4 * patience))
	if _, err := fmt.Fprintf(c, "GET /v1/subscribe/com.example.a HTTP/1.1\r\nHost: %s\r\n\r\n", address); err != nil {
		t.Error(err)
		return
	}
	in := bufio.NewReaderSize(c, 512)
	for next := 0; next < n; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Errorf("behind event %d: %v", next-1, err)
			return
		}
		if strings.Contains(line, "wamp.ready") {
			begun()
		}
		if strings.HasPrefix(line, "data: {\"topic\"") {
			if !strings.Contains(line, fmt.Sprintf(`"args":[%d]`, next)) {
				t.Errorf("got %s, want event %d", line, next)
				return
			}
			next++
		}
	}
}
