package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

//go:generate go test -run TestMetricsPageIsMadeOfTheCode -update

// scrape returns the lines of the metrics that have a name of the gateway's own.
func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("got %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

func wantMetrics(t *testing.T, got string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(got, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			var near []string
			for l := range strings.Lines(got) {
				if strings.HasPrefix(l, name) {
					near = append(near, l)
				}
			}
			t.Errorf("want %s, got\n%s", line, strings.Join(near, ""))
		}
	}
}

func TestWhatPackagesCountIsTold(t *testing.T) {
	m := newMetrics(func() snapshot {
		return snapshot{
			router: &router.Stats{
				Sessions:   map[router.SessionKind]int{{Transport: "websocket", Serializer: "cbor"}: 3, {Transport: "pipe"}: 1},
				QueueBytes: 7, SlowConsumers: 2, Calls: map[string]uint64{"ok": 5}, Refusals: map[string]uint64{"rate": 4},
				CallDurations: router.Durations{UpTo: map[time.Duration]uint64{time.Millisecond: 2, time.Second: 4}, Count: 5, Sum: 3 * time.Second},
			},
			bridge: bridge.Stats{Streams: bridge.StreamStats{Open: 11, Slow: 12, Conflated: 13}},
			http:   httpapi.Stats{Crossbar: httpapi.CrossbarStats{Requests: 9, Denied: 3, Replayed: 1}, Refused: map[string]uint64{"draining": 6}, Inbound: map[string]httpapi.InboundStats{"github": {Published: 8}}},
			hooks: []bridge.HookStats{
				{Name: "a", Realm: "r", Origin: bridge.MadeByConfiguration, Kind: "procedure", State: bridge.HookReady, HookCounts: bridge.HookCounts{Answered: 9}},
				{Name: "secret", Realm: "r", Origin: bridge.MadeByREST, Kind: "procedure", State: bridge.HookReady},
			},
		}
	}, nil, nil)
	got := scrape(t, m.handler())
	wantMetrics(t, got,
		`wampgate_sessions{serializer="cbor",transport="websocket"} 3`, `wampgate_sessions{serializer="",transport="pipe"} 1`,
		`wampgate_queue_bytes 7`, `wampgate_slow_consumers_total 2`, `wampgate_calls_total{result="ok"} 5`,
		`wampgate_call_duration_seconds_bucket{le="0.001"} 2`, `wampgate_call_duration_seconds_bucket{le="1"} 4`,
		`wampgate_call_duration_seconds_count 5`, `wampgate_call_duration_seconds_sum 3`,
		`wampgate_refusals_total{reason="rate"} 4`, `wampgate_http_refusals_total{reason="draining"} 6`,
		`wampgate_streams 11`, `wampgate_streams_closed_total{reason="slow"} 12`, `wampgate_stream_events_dropped_total{policy="conflate"} 13`,
		`wampgate_crossbar_requests_total{result="taken"} 6`, `wampgate_crossbar_requests_total{result="denied"} 2`,
		`wampgate_inbound_webhooks_total{result="published",webhook="github"} 8`,
		`wampgate_hook_calls_total{hook="a",realm="r",result="answered"} 9`, `wampgate_hooks{kind="procedure",state="ready"} 2`,
	)
	if strings.Contains(got, "secret") {
		t.Error("a hook that a principal made has a label")
	}
	if got := scrape(t, newMetrics(func() snapshot { return snapshot{} }, nil, nil).handler()); strings.Contains(got, "wampgate_sessions") {
		t.Error("a router elsewhere has sessions here")
	}
}

// stalledReader is a client that has not yet read what it was sent.
type stalledReader struct {
	http.ResponseWriter

	began chan<- struct{}
	goOn  <-chan struct{}
}

func (r *stalledReader) Write(p []byte) (int, error) {
	select {
	case r.began <- struct{}{}:
	case <-r.goOn:
	}
	<-r.goOn
	return len(p), nil
}

func TestThoseWhoDoNotReadTheMetricsKeepNobodyElseFromThem(t *testing.T) {
	h := newMetrics(func() snapshot { return snapshot{} }, nil, nil).handler()
	began, goOn := make(chan struct{}), make(chan struct{})
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			h.ServeHTTP(&stalledReader{httptest.NewRecorder(), began, goOn}, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		})
		<-began
	}
	scrape(t, h)
	close(goOn)
	readers.Wait()
}

func TestFiftyWhoAskForTheMetricsAtOnceAllGetThem(t *testing.T) {
	h := newMetrics(func() snapshot { return snapshot{} }, nil, nil).handler()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { wantMetrics(t, scrape(t, h), `wampgate_phase{phase="starting"} 1`) })
	}
	all.Wait()
}

func TestSessionWithTheRouterElsewhereIsTold(t *testing.T) {
	up := testGateway(t, zerolog.Nop(), "WAMPGATE_LISTEN=127.0.0.1:0")
	if got := scrape(t, up.metrics.handler()); strings.Contains(got, "wampgate_upstream_up") {
		t.Error("the own router is elsewhere")
	}
	srv := httptest.NewServer(up.router.WebSocket(transport.Config{}))
	defer srv.Close()
	g := testGateway(t, zerolog.Nop(), "WAMPGATE_UPSTREAM_URL=ws"+strings.TrimPrefix(srv.URL, "http"))
	for ; g.unready() != nil; g.life.advance(serving) {
		runtime.Gosched()
	}
	wantMetrics(t, scrape(t, g.metrics.handler()), "wampgate_upstream_up 1")
	if err := g.bridge.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantMetrics(t, scrape(t, g.metrics.handler()), "wampgate_upstream_up 0")
}

func TestRequestsAreCountedByTheirRoute(t *testing.T) {
	m := newMetrics(func() snapshot { return snapshot{phase: draining} }, []string{"com.a"}, nil)
	for range 2 {
		m.begin()
		m.answered(http.MethodGet, httpapi.Answer{Route: "/v1/subscribe/{topic}", Status: 200, Took: time.Hour, Stream: true})
	}
	m.begin()
	m.answered("BREW", httpapi.Answer{Status: 405, Took: 3 * time.Millisecond})
	m.begin()
	m.reload(nil)
	m.reload(errors.New("broken"))
	got := scrape(t, m.handler())
	wantMetrics(t, got,
		`wampgate_http_requests_total{code="200",method="GET",route="/v1/subscribe/{topic}"} 2`,
		`wampgate_http_requests_total{code="405",method="other",route=""} 1`,
		`wampgate_http_request_duration_seconds_bucket{method="other",route="",le="0.005"} 1`,
		`wampgate_http_requests_in_flight 1`,
		`wampgate_phase{phase="draining"} 1`, `wampgate_phase{phase="serving"} 0`,
		`wampgate_config_reloads_total{result="success"} 1`, `wampgate_config_reloads_total{result="failure"} 1`,
	)
	if strings.Contains(got, "secret") {
		t.Error("a topic stands in the metrics")
	}
	if n := strings.Count(got, `duration_seconds_count{method="GET"`); n != 0 {
		t.Error("streams have durations")
	}
}

func TestProceduresAndTopicsHaveALabelWhereTheyAreListed(t *testing.T) {
	m := newMetrics(func() snapshot { return snapshot{} }, []string{"com.a"}, []string{"com.b"})
	for _, uri := range []wampcore.URI{"com.a", "com.b", "com.secret"} {
		for action := bridge.Calling; action <= bridge.Delivering; action++ {
			m.operationEnded(bridge.Operation{Action: action, URI: uri}, time.Millisecond, nil)
		}
	}
	for _, err := range []error{
		&wampcore.Error{URI: "com.secret.error"}, &wampcore.Error{URI: wampcore.ErrNoSuchProcedure}, &wampcore.Error{URI: "wamp.secret"},
		context.DeadlineExceeded, context.Canceled, client.ErrDown, errors.New("secret"),
	} {
		m.operationEnded(bridge.Operation{URI: "com.a"}, time.Second, err)
	}
	got := scrape(t, m.handler())
	wantMetrics(t, got,
		`wampgate_procedure_call_duration_seconds_count{procedure="com.a"} 8`,
		`wampgate_topic_publish_duration_seconds_count{topic="com.b"} 1`,
		`wampgate_operation_duration_seconds_count{action="deliver",result="ok"} 3`,
		`wampgate_operation_duration_seconds_count{action="call",result="application_error"} 1`,
		`wampgate_operation_duration_seconds_count{action="call",result="no_such_procedure"} 1`,
		`wampgate_operation_duration_seconds_count{action="call",result="timeout"} 1`,
		`wampgate_operation_duration_seconds_count{action="call",result="canceled"} 1`,
		`wampgate_operation_duration_seconds_count{action="call",result="unavailable"} 1`,
		`wampgate_operation_duration_seconds_count{action="call",result="other"} 2`,
	)
	if strings.Contains(got, "secret") {
		t.Error("a URI that is not listed stands in the metrics")
	}
}

func TestNamesOfMetricsFollowTheRules(t *testing.T) {
	for _, f := range families() {
		total := strings.HasSuffix(f.name, "_total")
		switch {
		case !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(f.name):
			t.Errorf("%s is no name", f.name)
		case total != (f.kind == counter):
			t.Errorf("%s: counters, and they alone, end with _total", f.name)
		case f.kind == histogram && !strings.HasSuffix(f.name, "_seconds"):
			t.Errorf("%s: times are in seconds", f.name)
		case regexp.MustCompile(`(milli|micro|_ms|kilo|mega|_kb)`).MatchString(f.name):
			t.Errorf("%s: want base units", f.name)
		case !strings.HasSuffix(f.help, "."):
			t.Errorf("%s: %q is no sentence", f.name, f.help)
		}
	}
}

func TestMetricsPageIsMadeOfTheCode(t *testing.T) {
	var want strings.Builder
	want.WriteString("# Metrics\n\n<!-- made by go generate ./cmd/gateway: do not edit -->\n\n" +
		"`GET /metrics`, at `WAMPGATE_OPS_ADDR` if that is set, else on the main listener. Values are in base units: seconds and bytes. Beside these\n" +
		"there are those of Go (`go_…`) and of the process (`process_…`). No label is a topic or a procedure, but where\n" +
		"`WAMPGATE_METRICS_PROCEDURES` and `WAMPGATE_METRICS_TOPICS` list them.\n\n| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n")
	for _, f := range families() {
		fmt.Fprintf(&want, "| `%s%s` | %s | %s | %s |\n", namespace, f.name, f.kind, strings.Join(f.labels, ", "), f.help)
	}
	const page = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(page, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("docs/metrics.md is not of this code; run go generate ./cmd/gateway (-want +got)\n%s", diff)
	}
}

// TestAlertsSelectSeriesThatThereAre looks among the metrics of a gateway for each value that the rules select; that metrics and labels
// are there is what the tests in deploy say.
func TestAlertsSelectSeriesThatThereAre(t *testing.T) {
	g := testGateway(t, zerolog.Nop())
	face, err := httpapi.New(g.api())
	if err != nil {
		t.Fatal(err)
	}
	g.face.Store(face)
	take := g.metrics.take
	g.metrics.take = func() snapshot {
		s := take()
		for _, state := range []bridge.HookState{bridge.HookReady, bridge.HookStarting, bridge.HookDown, bridge.HookSick, bridge.HookRefused, bridge.HookDisabled} {
			s.hooks = append(s.hooks, bridge.HookStats{Name: string(state), Origin: bridge.MadeByConfiguration, Kind: "topic", State: state})
		}
		return s
	}
	g.metrics.begin()
	g.metrics.answered(http.MethodGet, httpapi.Answer{Status: http.StatusInternalServerError})
	got := scrape(t, g.metrics.handler())
	rules, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	selectors := regexp.MustCompile(`\b(wampgate_[a-z_]+)\{([a-z]+)=~?"([^"]+)"\}`).FindAllStringSubmatch(string(rules), -1)
	if want := len(regexp.MustCompile(`wampgate_[a-z_]+\{`).FindAllString(string(rules), -1)); want == 0 || len(selectors) != want {
		t.Errorf("the rules have %d selectors, of which this test knows %d", want, len(selectors))
	}
	for _, selector := range selectors {
		for value := range strings.SplitSeq(selector[3], "|") {
			if !regexp.MustCompile(`\n` + selector[1] + `\{([^}\n]*,)?` + selector[2] + `="` + value + `"`).MatchString(got) {
				t.Errorf("there is no %s with %s %q", selector[1], selector[2], value)
			}
		}
	}
}
