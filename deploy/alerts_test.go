package deploy_test

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// story is what happened in an hour at the most, and the alerts that fire at its end.
type story struct {
	name   string
	series series
	last   time.Duration
	fires  []string
}

// stories are those of each alert: some that it is for, and some quiet ones that look alike.
func stories() map[string][]story {
	return map[string][]story{
		"WampgateDown": {
			{"down", series{`up{job="wampgate",instance="a"} 1 0x5`, `up{job="shop",instance="b"} 0x6`}, 5 * time.Minute, []string{"a cannot be scraped"}},
			{"down for a moment", series{`up{job="wampgate",instance="a"} 1 1 1 0 1 0`}, 5 * time.Minute, nil},
		},
		"WampgateServerErrors": {
			{"one in ten", series{
				`wampgate_http_requests_total{instance="a",route="/",method="GET",code="200"} 0+540x30`,
				`wampgate_http_requests_total{instance="a",route="/",method="GET",code="503"} 0+60x30`,
				`wampgate_http_requests_total{instance="b",route="/",method="GET",code="200"} 0+600x30`,
			}, 30 * time.Minute, []string{"a answers 10% of its HTTP requests with 5xx"}},
			{"one in a hundred", series{
				`wampgate_http_requests_total{instance="a",route="/",method="GET",code="200"} 0+990x30`,
				`wampgate_http_requests_total{instance="a",route="/",method="GET",code="500"} 0+10x30`,
			}, 30 * time.Minute, nil},
			{"clients are wrong", series{`wampgate_http_requests_total{instance="a",route="/",method="GET",code="401"} 0+990x30`}, 30 * time.Minute, nil},
		},
		"WampgateConfigurationStale": {
			{"broken", series{`wampgate_config_stale{instance="a"} 0 1x5`}, 6 * time.Minute, []string{"a keeps its old configuration: the new one is broken"}},
			{"mended", series{`wampgate_config_stale{instance="a"} 0 1x3 0`}, 5 * time.Minute, nil},
		},
		"WampgateUpstreamDown": {
			{"lost", series{`wampgate_upstream_up{instance="a"} 1 0x5`}, 4 * time.Minute, []string{"a has no session with its router"}},
			{"back at once", series{`wampgate_upstream_up{instance="a"} 1 0 1x5`}, 4 * time.Minute, nil},
		},
		"WampgateDrainStuck": {
			{"draining goes on", series{`wampgate_phase{instance="a",phase="draining"} 0 1x10`, `wampgate_phase{instance="a",phase="serving"} 1 0x10`}, 11 * time.Minute, []string{"a was drained ten minutes ago, and still runs"}},
			{"drained and gone", series{`wampgate_phase{instance="a",phase="draining"} 1 1 stale`}, 11 * time.Minute, nil},
			{"serving", series{`wampgate_phase{instance="a",phase="draining"} 0x11`, `wampgate_phase{instance="a",phase="serving"} 1x11`}, 11 * time.Minute, nil},
		},
		"WampgateCallsFail": {
			{"callees do not answer", series{
				`wampgate_calls_total{instance="a",result="ok"} 0+80x30`,
				`wampgate_calls_total{instance="a",result="timeout"} 0+10x30`,
				`wampgate_calls_total{instance="a",result="callee_gone"} 0+10x30`,
			}, 30 * time.Minute, []string{"a: 20% of the calls are not answered by their callees"}},
			{"callees answer with errors", series{
				`wampgate_calls_total{instance="a",result="ok"} 0+80x30`,
				`wampgate_calls_total{instance="a",result="error"} 0+80x30`,
				`wampgate_calls_total{instance="a",result="timeout"} 0x30`,
			}, 30 * time.Minute, nil},
		},
		"WampgateSlowConsumers": {
			{"ten a minute", series{`wampgate_slow_consumers_total{instance="a"} 0+10x45`}, 45 * time.Minute, []string{"a keeps ending clients that do not keep up"}},
			{"one a minute", series{`wampgate_slow_consumers_total{instance="a"} 0+1x45`}, 45 * time.Minute, nil},
		},
		"WampgateLoginsFail": {
			{"by HTTP and by WAMP", series{
				`wampgate_refusals_total{instance="a",reason="authentication"} 0+200x30`, `wampgate_refusals_total{instance="a",reason="rate"} 0+900x30`,
				`wampgate_http_refusals_total{instance="a",reason="credentials"} 0+200x30`,
			}, 30 * time.Minute, []string{"a refuses many logins"}},
			{"by HTTP, where the router is elsewhere", series{`wampgate_http_refusals_total{instance="a",reason="credentials"} 0+400x30`}, 30 * time.Minute, []string{"a refuses many logins"}},
			{"others are refused", series{
				`wampgate_refusals_total{instance="a",reason="not_authorized"} 0+400x30`, `wampgate_refusals_total{instance="a",reason="authentication"} 0+1x30`,
				`wampgate_http_refusals_total{instance="a",reason="rate"} 0+400x30`, `wampgate_http_refusals_total{instance="a",reason="credentials"} 0+1x30`,
			}, 30 * time.Minute, nil},
		},
		"WampgateHookNotReady": {
			{"refused", series{`wampgate_hooks{instance="a",kind="topic",state="refused"} 1x10`, `wampgate_hooks{instance="a",kind="procedure",state="ready"} 7x10`}, 10 * time.Minute, []string{"a has hooks that are not ready"}},
			{"one state and then another", series{`wampgate_hooks{instance="a",kind="topic",state="refused"} 1x5 stale`, `wampgate_hooks{instance="a",kind="topic",state="down"} _x5 1x6`}, 11 * time.Minute, []string{"a has hooks that are not ready"}},
			{"it comes and goes", series{`wampgate_hooks{instance="a",kind="topic",state="unhealthy"} 1x5 stale 1x3`, `wampgate_hooks{instance="a",kind="topic",state="ready"} _x5 1 stale`}, 10 * time.Minute, nil},
		},
		"WampgateHookLags": {
			{"behind", series{`wampgate_hook_lag_seconds{instance="a",realm="r",hook="mail"} 0+60x20`}, 20 * time.Minute, []string{"hook mail of a is 20m 0s behind"}},
			{"behind for a moment", series{`wampgate_hook_lag_seconds{instance="a",realm="r",hook="mail"} 0+60x9 0`}, 10 * time.Minute, nil},
		},
		"WampgateDeadLetters": {
			{"lost", series{
				`wampgate_hook_deliveries_total{instance="a",realm="r",hook="mail",result="lost"} 0x5 1x10`,
				`wampgate_hook_deliveries_total{instance="a",realm="r",hook="mail",result="dead"} 3x15`,
			}, 15 * time.Minute, []string{"events for hook mail of a could not be delivered"}},
			{"long ago", series{`wampgate_hook_deliveries_total{instance="a",realm="r",hook="mail",result="dead"} 0 1x40`}, 40 * time.Minute, nil},
			{"delivered", series{`wampgate_hook_deliveries_total{instance="a",realm="r",hook="mail",result="delivered"} 0+50x15`}, 15 * time.Minute, nil},
		},
		"WampgateStreamsSlow": {
			{"ten a minute", series{`wampgate_streams_closed_total{instance="a",reason="slow"} 0+10x45`}, 45 * time.Minute, []string{"a keeps ending event streams whose readers do not keep up"}},
			{"readers hang up", series{`wampgate_streams_closed_total{instance="a",reason="hung_up"} 0+90x45`, `wampgate_streams_closed_total{instance="a",reason="slow"} 0+1x45`}, 45 * time.Minute, nil},
		},
	}
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	rules, all := alerts(t), stories()
	if got, want := slices.Sorted(maps.Keys(all)), slices.Sorted(maps.Keys(rules)); !slices.Equal(got, want) {
		t.Errorf("there are stories of %q, and alerts %q", got, want)
	}
	has := known(t)
	for alert, of := range all {
		for _, s := range of {
			s.series.areOf(t, has)
			t.Run(alert+" "+s.name, func(t *testing.T) {
				if got := firing(t, rules[alert], s.series, s.last); !slices.Equal(got, s.fires) {
					t.Errorf("got %q, want %q", got, s.fires)
				}
			})
		}
	}
}
