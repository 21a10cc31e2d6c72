package main

import "github.com/wampgate/wampgate/bridge"

// streamFamilies are about event streams.
func streamFamilies() []family {
	value := func(name string, kind metricKind, help string, of func(bridge.StreamStats) float64) family {
		return family{name, kind, help, nil, func(s *snapshot, emit emit) { emit(of(s.bridge.Streams)) }}
	}
	return []family{
		value("streams", gauge, "Event streams that are open.", func(s bridge.StreamStats) float64 { return float64(s.Open) }),
		value("streams_opened_total", counter, "Event streams that were opened.", func(s bridge.StreamStats) float64 { return float64(s.Opened) }),
		value("streams_resumed_total", counter, "Of them, those that went on where their readers had left off.",
			func(s bridge.StreamStats) float64 { return float64(s.Resumed) }),
		{
			"streams_closed_total", counter,
			"Event streams that ended, by why: the reader hung_up or was slow, the gateway drained, the time expired, the router refused to go on, or the stream failed.",
			[]string{"reason"},
			func(s *snapshot, emit emit) {
				c := s.bridge.Streams
				each(emit, map[string]uint64{
					"hung_up": c.HungUp, "slow": c.Slow, "drained": c.Drained, "expired": c.Expired, "refused": c.Refused, "failed": c.Failed,
				})
			},
		},
		value("stream_events_total", counter, "Events that were sent to streams, those of the past among them.",
			func(s bridge.StreamStats) float64 { return float64(s.Events) }),
		value("stream_events_replayed_total", counter, "Of them, events of the past.", func(s bridge.StreamStats) float64 { return float64(s.Replayed) }),
		{
			"stream_events_dropped_total", counter, "Events that slow readers did not get: dropped, or conflated with newer ones.",
			[]string{"policy"},
			func(s *snapshot, emit emit) {
				c := s.bridge.Streams
				each(emit, map[string]uint64{"drop": c.Dropped, "conflate": c.Conflated})
			},
		},
		value("stream_gaps_total", counter, "Times that a reader was told that events may be missing.", func(s bridge.StreamStats) float64 { return float64(s.Gaps) }),
		value("stream_sent_bytes_total", counter, "Bytes that were sent to streams.", func(s bridge.StreamStats) float64 { return float64(s.Bytes) }),
	}
}

// serviceFamilies are about HTTP services that read their invocations from a stream.
func serviceFamilies() []family {
	value := func(name string, kind metricKind, help string, of func(bridge.InvocationStats) float64) family {
		return family{name, kind, help, nil, func(s *snapshot, emit emit) { emit(of(s.bridge.Services)) }}
	}
	return []family{
		value("invocation_streams", gauge, "Streams of invocations, and those that may still come back.",
			func(s bridge.InvocationStats) float64 { return float64(s.Offers) }),
		value("invocation_streams_detached", gauge, "Of them, those whose reader is gone.",
			func(s bridge.InvocationStats) float64 { return float64(s.Detached) }),
		value("invocation_streams_resumed_total", counter, "Streams of invocations that came back in time.",
			func(s bridge.InvocationStats) float64 { return float64(s.Resumed) }),
		value("invocation_streams_expired_total", counter, "Streams of invocations that did not come back in time.",
			func(s bridge.InvocationStats) float64 { return float64(s.Expired) }),
		value("invocations_open", gauge, "Invocations that wait for the answer of an HTTP service.",
			func(s bridge.InvocationStats) float64 { return float64(s.Open) }),
		value("invocations_total", counter, "Invocations that were offered to HTTP services.",
			func(s bridge.InvocationStats) float64 { return float64(s.Invocations) }),
		{
			"invocations_ended_total", counter, "What became of them: answered, failed, or interrupted.",
			[]string{"result"},
			func(s *snapshot, emit emit) {
				i := s.bridge.Services
				each(emit, map[string]uint64{"answered": i.Answered, "failed": i.Failed, "interrupted": i.Interrupted})
			},
		},
	}
}

// hookFamilies are about HTTP endpoints as callees and subscribers. Those that principals make are too many for a label each, and come and
// go: of them there is only how many there are.
func hookFamilies() []family {
	labels := []string{"realm", "hook"}
	counts := func(name, help, label string, of func(bridge.HookCounts) map[string]uint64) family {
		return family{name, counter, help, append(labels, label), func(s *snapshot, emit emit) {
			for _, h := range s.hooks {
				if h.Origin != bridge.MadeByREST {
					each(emit, of(h.HookCounts), string(h.Realm), h.Name)
				}
			}
		}}
	}
	return []family{
		{
			"hooks", gauge, "Hooks, for a procedure or a topic, by their state.",
			[]string{"kind", "state"},
			func(s *snapshot, emit emit) {
				n := map[[2]string]int{}
				for _, h := range s.hooks {
					n[[2]string{h.Kind, string(h.State)}]++
				}
				for of, count := range n {
					emit(float64(count), of[0], of[1])
				}
			},
		},
		counts("hook_calls_total", "What became of calls of a configured hook: answered, failed, or short_cut while its circuit was open.", "result",
			func(c bridge.HookCounts) map[string]uint64 {
				return map[string]uint64{"answered": c.Answered, "failed": c.Failures, "short_cut": c.ShortCut}
			}),
		counts("hook_deliveries_total", "What became of events for a configured hook: delivered, dead (sent to its dead-letter topic) or lost.", "result",
			func(c bridge.HookCounts) map[string]uint64 {
				return map[string]uint64{"delivered": c.Deliveries, "dead": c.DeadLetters, "lost": c.Lost}
			}),
		counts("hook_faults_total", "Requests that were sent again (retry), and times that events were not kept any more (gap).", "fault",
			func(c bridge.HookCounts) map[string]uint64 {
				return map[string]uint64{"retry": c.Retries, "gap": c.Gaps}
			}),
		{
			"hook_lag_seconds", gauge, "Age of the event that a configured hook has to deliver next.", labels,
			func(s *snapshot, emit emit) {
				for _, h := range s.hooks {
					if h.Origin != bridge.MadeByREST && h.Kind == "topic" {
						emit(h.Lag.Seconds, string(h.Realm), h.Name)
					}
				}
			},
		},
	}
}
