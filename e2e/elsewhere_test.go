package e2e

import (
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// freeAddress is one that nobody listens on.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// status is a GET request's.
func status(tb testing.TB, url string) int {
	tb.Helper()
	res, err := http.Get(url)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func TestGatewayIsTheFaceOfARouterElsewhere(t *testing.T) {
	ca := newAuthority(t)
	socket := filepath.Join(directory(t), "s")
	pair := ca.newPair()
	_, at := serve(t, 3, pair.env("WAMPGATE_LISTEN=127.0.0.1:0,unix:"+socket)...)
	plain, secure := at[0], at[2]
	caFile := filepath.Join(directory(t), "ca.pem")
	replace(t, caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
	callee := sessionAt(t, plain.RawSocket, transport.Config{})
	registerDouble(t, callee)
	for name, env := range map[string][]string{
		"ws": {plain.WebSocket}, "tcp": {plain.RawSocket}, "unix": {"unix://" + socket}, "ws+unix": {"ws+unix://" + socket + ":/ws"},
		"wss": {secure.WebSocket, "WAMPGATE_UPSTREAM_CA=" + caFile}, "tls": {secure.RawSocket, "WAMPGATE_UPSTREAM_CA=" + caFile},
	} {
		t.Run(name, func(t *testing.T) {
			env[0] = "WAMPGATE_UPSTREAM_URL=" + env[0]
			_, base := gateway(t, env...)
			waitFor(t, func() bool { return status(t, base+"/readyz") == 200 })
			stream := start(t, nil, need(t, "curl"), "-sN", base+"/v1/subscribe/com.example."+name)
			stream.expect("wamp.ready")
			if body, status := post(t, base+"/v1/call/com.example.double", `{"args":[21]}`); body != `{"args":[42]}` || status != "200" {
				t.Errorf("call: %s %s", status, body)
			}
			for i, from := range []string{base, plain.HTTP} {
				if body, status := post(t, from+"/v1/publish/com.example."+name, `{"args":[7],"options":{"retain":true}}`); status != "200" {
					t.Errorf("publish %d: %s %s", i, status, body)
				}
				stream.expect(`"args":[7]`)
			}
			for _, path := range []string{"/v1/sessions", "/v1/registrations", "/v1/subscriptions", "/v1/retained/com.example." + name, "/v1/history/com.example." + name} {
				if got := status(t, base+path); got != 200 {
					t.Errorf("%s: got %d", path, got)
				}
			}
			if got := status(t, base+"/ws"); got != 404 {
				t.Errorf("native clients get %d: there is no router here", got)
			}
		})
	}
}

func TestStreamsOutliveTheRouterElsewhere(t *testing.T) {
	address := freeAddress(t)
	far := func() *process {
		p := start(t, []string{"WAMPGATE_LISTEN=" + address}, binary)
		p.expect(`"message":"listening"`)
		return p
	}
	near, base := gateway(t, "WAMPGATE_UPSTREAM_URL=tcp://"+address)
	near.expect("upstream is not there") // it may come later
	if status(t, base+"/readyz") != 503 || status(t, base+"/startupz") != 200 || status(t, base+"/livez") != 200 {
		t.Error("the probes do not tell the truth before the router is there")
	}
	router := far()
	waitFor(t, func() bool { return status(t, base+"/readyz") == 200 })
	stream := start(t, nil, need(t, "curl"), "-sN", base+"/v1/subscribe/com.example.t")
	stream.expect("wamp.ready")
	callee := join(t, "http://"+address, wampcore.JSON)
	callee.register(1, "com.example.stuck")
	called := make(chan string, 1)
	go func() {
		body, status := post(t, base+"/v1/call/com.example.stuck", `{}`)
		called <- status + body
	}()
	expect[*wampcore.Invocation](callee)

	_ = router.cmd.Process.Kill()
	if got := <-called; !strings.HasPrefix(got, "502") || !strings.Contains(got, `"outcome":"unknown"`) {
		t.Errorf("the call that was open got %s", got)
	}
	waitFor(t, func() bool { return status(t, base+"/readyz") == 503 })
	if why, _ := curl(t, base+"/readyz"); why != "not ready: there is no session with the router elsewhere; the log says why\n" {
		t.Errorf("readyz says %q", why)
	}
	res, err := http.Post(base+"/v1/call/com.example.stuck", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var problem struct{ Outcome string }
	err = json.NewDecoder(res.Body).Decode(&problem)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || problem.Outcome != "not_executed" || err != nil {
		t.Errorf("while it is down: got %s, %q, %+v, %v", res.Status, res.Header.Get("Retry-After"), problem, err)
	}

	router = far()
	stream.expect("wamp.gap")
	waitFor(t, func() bool { return status(t, base+"/readyz") == 200 }) // calls and publications have a session of their own
	if _, status := post(t, base+"/v1/publish/com.example.t", `{"args":["after"]}`); status != "200" {
		t.Errorf("publish: %s", status)
	}
	stream.expect(`"args":["after"]`)

	_ = router.cmd.Process.Kill()
	waitFor(t, func() bool { return status(t, base+"/readyz") == 503 })
	_ = near.cmd.Process.Signal(syscall.SIGTERM)
	stream.expect("wamp.bye")
	if got := near.exit(); got != 0 {
		t.Errorf("the exit status is %d", got)
	}
}

func TestRouterElsewhereThatIsNotTrustedOrHasNoSuchRealm(t *testing.T) {
	_, at := serve(t, 2, newAuthority(t).newPair().env()...)
	host := strings.TrimPrefix(at[1].WebSocket, "wss://")
	near, base := gateway(t, "WAMPGATE_UPSTREAM_URL=wss://user:hunter2@"+host)
	if line := near.expect("upstream is not there"); !strings.Contains(line, "certificate") || strings.Contains(line, "hunter2") {
		t.Error(line)
	}
	if got := status(t, base+"/readyz"); got != 503 {
		t.Errorf("readyz is %d", got)
	}
	_, base = gateway(t, "WAMPGATE_UPSTREAM_URL="+at[0].WebSocket, "WAMPGATE_REALM=nowhere")
	waitFor(t, func() bool { _, status := post(t, base+"/v1/call/p", `{}`); return status == "404" })
	if got := status(t, base+"/readyz"); got != 503 {
		t.Errorf("readyz is %d", got)
	}
}

func TestGatewayLogsInToTheRouterElsewhere(t *testing.T) {
	config := filepath.Join(directory(t), "wampgate.yaml")
	replace(t, config, []byte(`
realms:
  realm1:
    authentication: {ticket: {}, wampcra: {}}
    principals:
      shop: {role: service, ticket: t0k3n, wampcra: {secret: s3cr3t}}
    roles:
      service: {permissions: [{uri: "", match: prefix, allow: [call, register, publish, subscribe]}]}
`))
	_, at := serve(t, 1, "WAMPGATE_CONFIG="+config)
	secret := filepath.Join(directory(t), "secret")
	for method, text := range map[string]string{"ticket": "t0k3n\n", "wampcra": "s3cr3t"} {
		replace(t, secret, []byte(text))
		_, base := gateway(t, "WAMPGATE_UPSTREAM_URL="+at[0].RawSocket,
			"WAMPGATE_UPSTREAM_AUTH="+method, "WAMPGATE_UPSTREAM_AUTHID=shop", "WAMPGATE_UPSTREAM_SECRET_FILE="+secret)
		waitFor(t, func() bool { return status(t, base+"/readyz") == 200 })
		if body, status := post(t, base+"/v1/call/wamp.session.list?result=value", `{"args":[["service"]]}`); status != "200" || body == "[]" {
			t.Errorf("%s: got %s %s", method, status, body)
		}
		stream := start(t, nil, need(t, "curl"), "-sN", base+"/v1/subscribe/com.example.t")
		stream.expect("wamp.ready")
	}
	replace(t, secret, []byte("wrong"))
	near, base := gateway(t, "WAMPGATE_UPSTREAM_URL="+at[0].RawSocket,
		"WAMPGATE_UPSTREAM_AUTH=ticket", "WAMPGATE_UPSTREAM_AUTHID=shop", "WAMPGATE_UPSTREAM_SECRET_FILE="+secret)
	if line := near.expect("upstream is not there"); !strings.Contains(line, "authentication_denied") || strings.Contains(line, `"wrong"`) {
		t.Error(line)
	}
	if got := status(t, base+"/readyz"); got != 503 {
		t.Errorf("readyz is %d", got)
	}
}
