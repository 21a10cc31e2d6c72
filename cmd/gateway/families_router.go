package main

import "github.com/wampgate/wampgate/router"

// routerFamilies are about the router. There are none where that is elsewhere.
func routerFamilies() []family {
	value := func(name string, kind metricKind, help string, of func(*router.Stats) float64) family {
		return family{name, kind, help, nil, func(s *snapshot, emit emit) {
			if s.router != nil {
				emit(of(s.router))
			}
		}}
	}
	by := func(name, help, label string, of func(*router.Stats) map[string]uint64) family {
		return family{name, counter, help, []string{label}, func(s *snapshot, emit emit) {
			if s.router != nil {
				each(emit, of(s.router))
			}
		}}
	}
	return []family{
		{
			"sessions", gauge, "WAMP sessions, by transport and serializer. Those of the gateway's own have the transport pipe.",
			[]string{"transport", "serializer"},
			func(s *snapshot, emit emit) {
				if s.router == nil {
					return
				}
				for kind, n := range s.router.Sessions {
					emit(float64(n), kind.Transport, kind.Serializer)
				}
			},
		},
		value("sessions_joined_total", counter, "Sessions that were opened.", func(s *router.Stats) float64 { return float64(s.Joined) }),
		value("connections", gauge, "Connections of WAMP clients, with a session or not yet.", func(s *router.Stats) float64 { return float64(s.Connections) }),
		value("realms", gauge, "Realms that there are.", func(s *router.Stats) float64 { return float64(s.Realms) }),
		value("subscriptions", gauge, "Topics and patterns with at least one subscriber.", func(s *router.Stats) float64 { return float64(s.Subscriptions) }),
		value("registrations", gauge, "Procedures and patterns with at least one callee.", func(s *router.Stats) float64 { return float64(s.Registrations) }),
		value("publications_total", counter, "Publications that were taken.", func(s *router.Stats) float64 { return float64(s.Publications) }),
		value("events_total", counter, "Events that publications became: one for each session that got it.", func(s *router.Stats) float64 { return float64(s.Events) }),
		value("calls_open", gauge, "Calls that wait for an answer.", func(s *router.Stats) float64 { return float64(s.OpenCalls) }),
		by("calls_total", "Calls, native and by HTTP, by what became of them.", "result", func(s *router.Stats) map[string]uint64 { return s.Calls }),
		callDuration,
		by("refusals_total", "What the router has refused, by why.", "reason", func(s *router.Stats) map[string]uint64 { return s.Refusals }),
		value("queue_messages", gauge, "Messages that wait to be sent to WAMP clients.", func(s *router.Stats) float64 { return float64(s.QueueMessages) }),
		value("queue_bytes", gauge, "Bytes of these messages.", func(s *router.Stats) float64 { return float64(s.QueueBytes) }),
		value("slow_consumers_total", counter, "Clients that were ended since they did not keep up.", func(s *router.Stats) float64 { return float64(s.SlowConsumers) }),
		value("protocol_violations_total", counter, "Clients that were ended since they broke the protocol.", func(s *router.Stats) float64 { return float64(s.Violations) }),
	}
}
