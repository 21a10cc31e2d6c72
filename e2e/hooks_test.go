package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// hookServices are services without WAMP, by the way in which the gateway is told of them.
var hookServices = map[string]struct { //nolint:gochecknoglobals // a constant
	run    func(tb testing.TB, args ...string) *process
	config func(tb testing.TB, app string) string // a setting
}{
	"python by discovery": {
		func(tb testing.TB, args ...string) *process {
			tb.Helper()
			return start(tb, nil, need(tb, "python3"), append([]string{"hook_service.py"}, args...)...)
		},
		func(_ testing.TB, app string) string { return "WAMPGATE_APP_URL=" + app },
	},
	"node by the configuration file": {
		func(tb testing.TB, args ...string) *process {
			tb.Helper()
			return start(tb, nil, need(tb, "node"), append([]string{filepath.Join("js", "hook_service.mjs")}, args...)...)
		},
		func(tb testing.TB, app string) string {
			tb.Helper()
			text := fmt.Appendf(nil, "hooks:\n  news: {topic: com.example.news, url: %s/news}\n", app)
			for _, name := range []string{"sum", "fail", "slow", "count"} {
				text = fmt.Appendf(text, "  %[1]s: {procedure: com.example.%[1]s, url: %[2]s/%[1]s, health: /healthz, health_interval: 1s}\n", name, app)
			}
			file := filepath.Join(tb.TempDir(), "wampgate.yaml")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				tb.Fatal(err)
			}
			return "WAMPGATE_CONFIG=" + file
		},
	},
}

func port(address string) string {
	_, port, _ := strings.Cut(address, ":")
	return port
}

func TestPlainServicesAnswerCallsAndAreSentEventsWhateverIsKilled(t *testing.T) {
	for name, c := range hookServices {
		t.Run(name, func(t *testing.T) {
			listen, app := freeAddress(t), freeAddress(t)
			base := "http://" + listen
			setting := c.config(t, "http://"+app)
			run := func() *process {
				service := c.run(t, port(app), base)
				service.expect("ready")
				return service
			}
			gw, _ := gateway(t, "WAMPGATE_LISTEN="+listen, setting)
			service := run()
			native := python(t, webSocket(base), "json") // it hears the news, too
			native.expect("ready")
			works := func() bool {
				body, _ := post(t, base+"/v1/call/com.example.sum", `{"args":[1,1]}`)
				return body == `{"args":[2]}`
			}
			waitFor(t, works)
			meet(t, base, service, 0, 20)

			// The service is killed in the middle of a call, and events come while it is not there.
			killedMidCall(t, base, service)
			for n := range 5 {
				post(t, base+"/v1/publish/com.example.news", fmt.Sprintf(`{"args":[%d]}`, 100+n))
			}
			if _, status := post(t, base+"/v1/call/com.example.sum", ""); status != "503" && status != "404" {
				t.Errorf("got %s from a service that is not there", status)
			}
			service = run()
			for n := range 5 {
				service.expect(fmt.Sprintf("news %d", 100+n))
			}
			waitFor(t, works)

			// The gateway starts anew: the service does nothing for that.
			_ = gw.cmd.Process.Signal(syscall.SIGTERM)
			if status := gw.exit(); status != 0 {
				t.Errorf("the gateway's exit status is %d", status)
			}
			gateway(t, "WAMPGATE_LISTEN="+listen, setting)
			waitFor(t, works)
			meet(t, base, service, 200, 220)
		})
	}
}

// meet has an Autobahn client and the service use each other.
func meet(t *testing.T, base string, service *process, from, to int) {
	t.Helper()
	waitFor(t, func() bool {
		body, _ := curl(t, base+"/v1/hooks/news")
		return strings.Contains(body, `"state":"ready"`)
	})
	client := node(t, "hook_client.js", webSocket(base), strconv.Itoa(from), strconv.Itoa(to))
	for _, line := range []string{"sum 9", "fail com.example.bad why", "count 0 1 2 done"} {
		client.expect(line)
	}
	seen := map[string]bool{}
	for line := range client.until(fmt.Sprintf("echo %d", to-1)) {
		seen[line] = true
	}
	for n := from; n < to; n++ {
		service.expect(fmt.Sprintf("news %d", n))
	}
	if !seen[fmt.Sprintf("echo %d", from)] {
		t.Errorf("the client has heard %v", seen)
	}
	_ = client.cmd.Process.Kill()
}

func killedMidCall(t *testing.T, base string, service *process) {
	t.Helper()
	got := make(chan string, 1)
	go func() {
		res, err := http.Post(base+"/v1/call/com.example.slow", "", nil)
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		got <- res.Status + string(body)
	}()
	service.expect("slow")
	_ = service.cmd.Process.Kill()
	if answer := <-got; !strings.HasPrefix(answer, "502") || !strings.Contains(answer, `"outcome":"unknown"`) {
		t.Errorf("got %s", answer)
	}
}

func TestHooksOfSlowServicesTimeOutAndMayNotGoAnywhere(t *testing.T) {
	_, base := gateway(t)
	app := freeAddress(t)
	service := start(t, nil, need(t, "python3"), "hook_service.py", port(app), base)
	service.expect("ready")
	put := func(name, body string) (string, string) {
		return curl(t, "-X", "PUT", base+"/v1/hooks/"+name, "-d", body, "-H", "Content-Type: application/json")
	}
	if body, status := put("slow", `{"procedure":"com.example.slow","url":"http://`+app+`/slow","timeout":"200ms"}`); status != "201" {
		t.Fatal(status, body)
	}
	for range 5 { // and then the circuit is open
		if body, status := post(t, base+"/v1/call/com.example.slow", ""); status != "504" {
			t.Errorf("got %s %s", status, body)
		}
	}
	if body, status := post(t, base+"/v1/call/com.example.slow", ""); status != "503" {
		t.Errorf("got %s %s", status, body)
	}
	if body, _ := curl(t, base+"/v1/hooks/slow"); !strings.Contains(body, `"breaker":"open"`) || !strings.Contains(body, `"failures":5`) {
		t.Errorf("got %s", body)
	}
	for _, url := range []string{"http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://10.0.0.1/", "http://example.com/", "file:///etc/passwd"} {
		if body, status := put("bad", `{"procedure":"com.example.bad","url":"`+url+`"}`); status != "400" {
			t.Errorf("%s: got %s %s", url, status, body)
		}
	}
}
