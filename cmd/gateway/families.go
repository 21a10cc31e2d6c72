package main

import (
	"maps"
	"slices"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
)

// snapshot is what was counted at one moment.
type snapshot struct {
	build                  build
	phase                  phase
	reloads, failedReloads int64
	stale                  bool // the last attempt to read the configuration failed
	inFlight               int64
	router                 *router.Stats // nil: it is elsewhere
	upstream               *bool         // whether there is a session with the router elsewhere; nil: it is here
	http                   httpapi.Stats
	bridge                 bridge.Stats
	hooks                  []bridge.HookStats
}

var (
	requestsTotal = family{ //nolint:gochecknoglobals // a constant
		name: "http_requests_total", kind: counter, labels: []string{"route", "method", "code"},
		help: "HTTP requests that were answered, by the pattern of their route; without one where no route was looked for or found.",
	}
	requestDuration = family{ //nolint:gochecknoglobals // a constant
		name: "http_request_duration_seconds", kind: histogram, labels: []string{"route", "method"},
		help: "How long HTTP requests took, but for streams.",
	}
	operationDuration = family{ //nolint:gochecknoglobals // a constant
		name: "operation_duration_seconds", kind: histogram, labels: []string{"action", "result"},
		help: "How long it took what HTTP requests asked of the router (call, publish), and what it asked of hooks (invoke, deliver), by result: ok, application_error, or the WAMP error's last part.",
	}
	callDuration = family{ //nolint:gochecknoglobals // a constant
		name: "call_duration_seconds", kind: histogram,
		help: "How long calls took that a callee got, native and by HTTP, from the CALL to its last answer. What a client sends at once counts as sent at the same moment.",
	}
	procedureDuration = family{ //nolint:gochecknoglobals // a constant
		name: "procedure_call_duration_seconds", kind: histogram, labels: []string{"procedure"},
		help: "How long calls by HTTP took, of the procedures that WAMPGATE_METRICS_PROCEDURES lists.",
	}
	topicDuration = family{ //nolint:gochecknoglobals // a constant
		name: "topic_publish_duration_seconds", kind: histogram, labels: []string{"topic"},
		help: "How long publications by HTTP took, to the topics that WAMPGATE_METRICS_TOPICS lists.",
	}
)

// families are all metrics of the gateway's own, in the order of docs/metrics.md.
func families() []family {
	return slices.Concat(gatewayFamilies(), httpFamilies(), streamFamilies(), serviceFamilies(), hookFamilies(), routerFamilies())
}

// each emits a value for each of a map's keys, in their order.
func each[N uint64 | int](emit emit, values map[string]N, labels ...string) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		emit(float64(values[key]), append(slices.Clone(labels), key)...)
	}
}

func gatewayFamilies() []family {
	return []family{
		{
			"build_info", gauge, "What runs; the value is 1.",
			[]string{"version", "revision", "go_version"},
			func(s *snapshot, emit emit) { emit(1, s.build.version, s.build.revision, s.build.goVersion) },
		},
		{
			"phase", gauge, "Where in its life the gateway is: 1 for one of starting, serving, draining and stopping.",
			[]string{"phase"},
			func(s *snapshot, emit emit) {
				for p := starting; p <= stopping; p++ {
					v := 0.0
					if p == s.phase {
						v = 1
					}
					emit(v, p.String())
				}
			},
		},
		{
			"config_reloads_total", counter, "Attempts to read the configuration again, by their result: success or failure.",
			[]string{"result"},
			func(s *snapshot, emit emit) {
				emit(float64(s.reloads), "success")
				emit(float64(s.failedReloads), "failure")
			},
		},
		{
			"config_stale", gauge, "Whether the last attempt to read the configuration again has failed, so that the old one is in force.", nil,
			func(s *snapshot, emit emit) { emit(float64(boolean(s.stale))) },
		},
		{
			"upstream_up", gauge, "Whether there is a session with the router elsewhere, where WAMPGATE_UPSTREAM_URL names one.", nil,
			func(s *snapshot, emit emit) {
				if s.upstream != nil {
					emit(float64(boolean(*s.upstream)))
				}
			},
		},
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func httpFamilies() []family {
	return []family{
		requestsTotal,
		requestDuration,
		{
			"http_requests_in_flight", gauge, "HTTP requests that are being answered. Event streams that have begun are not among them: wampgate_streams counts those.", nil,
			func(s *snapshot, emit emit) { emit(float64(s.inFlight)) },
		},
		operationDuration,
		procedureDuration,
		topicDuration,
		{
			"http_refusals_total", counter, "HTTP requests that were refused before anything was done for them, by why.",
			[]string{"reason"},
			func(s *snapshot, emit emit) { each(emit, s.http.Refused) },
		},
		{
			"idempotency_requests_total", counter, "Requests with an Idempotency-Key that was known: replayed, refused since in_flight or mismatched.",
			[]string{"result"},
			func(s *snapshot, emit emit) {
				i := s.http.Idempotency
				each(emit, map[string]uint64{"replayed": i.Replayed, "in_flight": i.InFlight, "mismatched": i.Mismatched})
			},
		},
		{
			"idempotency_evictions_total", counter, "Answers to requests with an Idempotency-Key that were dropped before their time.", nil,
			func(s *snapshot, emit emit) { emit(float64(s.http.Idempotency.Evicted)) },
		},
		{
			"idempotency_answers", gauge, "Answers to requests with an Idempotency-Key that are kept.", nil,
			func(s *snapshot, emit emit) { emit(float64(s.http.Idempotency.Entries)) },
		},
		{
			"idempotency_bytes", gauge, "Memory of those answers.", nil,
			func(s *snapshot, emit emit) { emit(float64(s.http.Idempotency.Bytes)) },
		},
		{
			"crossbar_requests_total", counter, "Requests to endpoints as Crossbar.io's HTTP bridge has them: taken, denied before anything was done, or replayed, whose signature was used before.",
			[]string{"result"},
			func(s *snapshot, emit emit) {
				c := s.http.Crossbar
				each(emit, map[string]uint64{"taken": c.Requests - c.Denied, "denied": c.Denied - c.Replayed, "replayed": c.Replayed})
			},
		},
		{
			"inbound_webhooks_total", counter, "Deliveries of others' webhooks: published, duplicate or refused.",
			[]string{"webhook", "result"},
			func(s *snapshot, emit emit) {
				for _, name := range slices.Sorted(maps.Keys(s.http.Inbound)) {
					i := s.http.Inbound[name]
					each(emit, map[string]uint64{"published": i.Published, "duplicate": i.Duplicates, "refused": i.Refused}, name)
				}
			},
		},
	}
}
