package main

import "slices"

// snapshot is what was counted at one moment.
type snapshot struct {
	build                  build
	phase                  phase
	reloads, failedReloads int64
	inFlight               int64
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
	return slices.Concat(gatewayFamilies(), httpFamilies())
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
	}
}

func httpFamilies() []family {
	return []family{
		requestsTotal,
		requestDuration,
		{
			"http_requests_in_flight", gauge, "HTTP requests that are being answered, streams among them.", nil,
			func(s *snapshot, emit emit) { emit(float64(s.inFlight)) },
		},
		operationDuration,
		procedureDuration,
		topicDuration,
	}
}
