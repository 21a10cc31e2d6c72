package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// streamServices are services without a port and without WAMP.
var streamServices = map[string]func(tb testing.TB, base string) *process{ //nolint:gochecknoglobals // a constant
	"python by server-sent events": func(tb testing.TB, base string) *process {
		tb.Helper()
		return start(tb, nil, need(tb, "python3"), "stream_service.py", base)
	},
	"node by lines of JSON": func(tb testing.TB, base string) *process {
		tb.Helper()
		return start(tb, nil, need(tb, "node"), filepath.Join("js", "stream_service.mjs"), base)
	},
}

func TestServicesWithoutAPortServeByStreamsWhateverIsKilled(t *testing.T) {
	for name, run := range streamServices {
		t.Run(name, func(t *testing.T) {
			listen := freeAddress(t)
			base := "http://" + listen
			gw, _ := gateway(t, "WAMPGATE_LISTEN="+listen)
			service := run(t, base)
			service.expect("ready")
			native := python(t, webSocket(base), "json") // it hears the news, too
			native.expect("ready")
			used(t, base, service, 0, 20)

			// A caller that hangs up, and one whose service is killed in the middle of the call: by then nobody knows what became of it.
			curl(t, "-X", "POST", base+"/v1/call/com.example.slow", "-H", "Wamp-Timeout-Ms: 300")
			service.expect("slow")
			service.expect("interrupt")
			killedMidCall(t, base, service)
			if _, status := post(t, base+"/v1/call/com.example.sum", `{"args":[1]}`); status != "404" {
				t.Errorf("got %s from a service that is not there", status)
			}

			// Killed and started within the grace: calls wait for it.
			service = run(t, base)
			service.expect("ready")
			_ = service.cmd.Process.Kill()
			service.exit()
			waited := make(chan string, 1)
			go func() {
				body, status := post(t, base+"/v1/call/com.example.sum", `{"args":[2,3]}`)
				waited <- status + body
			}()
			service = run(t, base)
			service.expect("resume resumed")
			service.expect("ready")
			if a := <-waited; a != `200{"args":[5]}` {
				t.Errorf("a call while the service was away got %s", a)
			}

			// The gateway starts anew: the service comes back by itself.
			_ = gw.cmd.Process.Signal(syscall.SIGTERM)
			if status := gw.exit(); status != 0 {
				t.Errorf("the gateway's exit status is %d", status)
			}
			gateway(t, "WAMPGATE_LISTEN="+listen)
			for range 5 { // the topic's stream knows that there is a gap
				service.expect("resume")
			}
			native = python(t, webSocket(base), "json")
			native.expect("ready")
			used(t, base, service, 200, 220)
		})
	}
}

// used has an Autobahn client and the service use each other.
func used(t *testing.T, base string, service *process, from, to int) {
	t.Helper()
	client := node(t, "hook_client.js", webSocket(base), strconv.Itoa(from), strconv.Itoa(to))
	for _, line := range []string{"sum 9", "fail com.example.bad why", "count 0 1 2 done"} {
		client.expect(line)
	}
	for n := from; n < to; n++ {
		service.expect(fmt.Sprintf("news %d", n))
	}
	client.expect(fmt.Sprintf("echo %d", to-1))
	_ = client.cmd.Process.Kill()
}

func TestServicesAnswerWhatIsOpenWhileTheGatewayShutsDown(t *testing.T) {
	gw, base := gateway(t)
	service := start(t, nil, need(t, "curl"), "-sN", base+"/v1/register/com.example.late", "-H", "Accept: application/jsonl")
	service.expect("ready")
	type answer struct{ body, status string }
	got := make(chan answer, 1)
	go func() {
		body, status := post(t, base+"/v1/call/com.example.late", `{}`)
		got <- answer{body, status}
	}()
	var line struct{ Invocation struct{ Invocation string } }
	if err := json.Unmarshal([]byte(service.expect("invocation")), &line); err != nil {
		t.Fatal(err)
	}
	_ = gw.cmd.Process.Signal(syscall.SIGTERM)
	service.expect("bye")
	if _, status := post(t, base+"/v1/yield/"+line.Invocation.Invocation, `{"args":["late"]}`); status != "204" { // by a new connection
		t.Errorf("the answer got %s", status)
	}
	if a := <-got; a != (answer{`{"args":["late"]}`, "200"}) {
		t.Errorf("the call got %v", a)
	}
	if status := gw.exit(); status != 0 {
		t.Errorf("the gateway's exit status is %d", status)
	}
}

const servicesConfig = `
settings: {crossbar_path: /crossbar}
realms:
  realm1:
    roles:
      anonymous: {permissions: [{uri: com., match: prefix, allow: [call, register, subscribe]}, {uri: wamp., match: prefix, allow: [call]}]}
      hooks: {permissions: [{uri: com.hook., match: prefix, allow: [publish]}]}
      push: {permissions: [{uri: com.push, allow: [publish]}]}
inbound:
  forge: {provider: github, secrets: ["${FORGE_SECRET}"], role: hooks, topic: com.hook.forge}
  wrong: {provider: github, secrets: ["${FORGE_SECRET}"], role: hooks, topic: com.other}
routes:
  GET /sums/{a}/{b}: {procedure: com.example.kw, safe: true, params: {a: {type: integer}, b: {type: integer}}}
crossbar:
  publish: {type: publisher, role: push, options: {key: k, secret: "${PUSH_SECRET}"}}
  call: {type: caller}
`

func TestWebhooksRoutesAndCrossbarsBridgeWorkTogether(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_CONFIG="+configured(t, servicesConfig), "FORGE_SECRET=s1", "PUSH_SECRET=s2")
	stream := start(t, nil, need(t, "curl"), "-sN", base+"/v1/subscribe?prefix=com.")
	stream.expect("wamp.ready")
	stream.expect("data:")

	// Webhooks
	body := `{"ref": "refs/heads/main"}`
	sign := func(secret string) string {
		h := hmac.New(sha256.New, []byte(secret))
		_, _ = io.WriteString(h, body)
		return "X-Hub-Signature-256: sha256=" + hex.EncodeToString(h.Sum(nil))
	}
	hook := func(name, secret string) (string, string) {
		return curl(t, base+"/v1/inbound/"+name, "-d", body, "-H", "Content-Type: application/json", "-H", sign(secret), "-H", "X-GitHub-Event: push", "-H", "X-GitHub-Delivery: 1")
	}
	if _, status := hook("forge", "s2"); status != "401" {
		t.Errorf("the wrong secret: %s", status)
	}
	if answer, status := hook("wrong", "s1"); status != "403" {
		t.Errorf("a topic that the role may not publish to: %s %s", status, answer)
	}
	if answer, status := hook("forge", "s1"); status != "200" {
		t.Errorf("got %s %s", status, answer)
	}
	if line := stream.expect("data:"); !strings.Contains(line, `"topic":"com.hook.forge"`) || !strings.Contains(line, `refs/heads/main`) || !strings.Contains(line, `"event":"push"`) {
		t.Errorf("got %s", line)
	}
	if answer, status := hook("forge", "s1"); status != "200" || !strings.Contains(answer, "duplicate") {
		t.Errorf("again: got %s %s", status, answer)
	}

	// Crossbar's bridge, by a client as crossbarconnect
	publisher := start(t, nil, need(t, "python3"), "crossbar_publish.py", base+"/crossbar/publish", "k", "s2", "com.push", "one", "two")
	publisher.expect("200 True")
	publisher.expect("200 True")
	publisher.expect("401 {\"error\":\"REST bridge signature was used before.\"")
	for _, want := range []string{"one", "two"} {
		if line := stream.expect("data:"); !strings.Contains(line, want) {
			t.Errorf("got %s, want %s", line, want)
		}
	}
	start(t, nil, need(t, "python3"), "crossbar_publish.py", base+"/crossbar/publish", "k", "s3", "com.push", "one").expect("401 False")
	if answer, status := post(t, base+"/crossbar/call", `{"procedure":"net.secret"}`); status != "200" || !strings.HasPrefix(answer, `{"error": "wamp.error.not_authorized", "args": [`) {
		t.Errorf("got %s %s", status, answer)
	}

	// Routes, and what there is to call
	callee := start(t, nil, need(t, "curl"), "-sN", base+"/v1/register/com.example.kw", "-H", "Accept: application/jsonl")
	callee.expect("ready")
	got := make(chan [2]string, 1)
	go func() {
		answer, status := curl(t, "-i", base+"/sums/2/3?x=y")
		got <- [2]string{answer, status}
	}()
	var line struct {
		Invocation struct {
			Invocation string
			Kwargs     map[string]any
		}
	}
	if err := json.Unmarshal([]byte(callee.expect("kwargs")), &line); err != nil || fmt.Sprint(line.Invocation.Kwargs) != "map[a:2 b:3 x:y]" {
		t.Errorf("got %+v, %v", line, err)
	}
	if _, status := post(t, base+"/v1/yield/"+line.Invocation.Invocation, `{"args":[5]}`); status != "204" {
		t.Errorf("got %s", status)
	}
	if a := <-got; a[1] != "200" || !strings.HasSuffix(a[0], "\r\n5") || !strings.Contains(a[0], `Etag: W/"`) {
		t.Errorf("got %q", a)
	}
	if answer, _ := curl(t, base+"/openapi.json?realm=realm1"); !strings.Contains(answer, `"/v1/call/com.example.kw"`) || !strings.Contains(answer, `"/sums/{a}/{b}"`) {
		t.Errorf("got %s", answer)
	}
	if answer, _ := curl(t, base+"/openapi.json"); !strings.Contains(answer, `"/sums/{a}/{b}"`) || !strings.Contains(answer, `"/v1/call/{procedure}"`) {
		t.Errorf("the whole document lacks something: %.300s", answer)
	}
}

func TestPathsThatTheGatewayHasItselfAreRefusedAtStart(t *testing.T) {
	for name, text := range map[string]string{
		"route":    "routes: {GET /v1/x: {procedure: p}}\n",
		"crossbar": "settings: {crossbar_path: /v1}\ncrossbar: {sessions: {type: caller}}\n",
		"twice":    "settings: {crossbar_path: /}\ncrossbar: {a/b: {type: caller}}\nroutes: {GET /a/b: {procedure: p}}\n",
	} {
		p := start(t, []string{"WAMPGATE_LISTEN=127.0.0.1:0", "WAMPGATE_CONFIG=" + configured(t, text)}, binary)
		if status := p.exit(); status == 0 {
			t.Errorf("%s: the gateway has started", name)
		}
	}
}
