package bridge

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// HookState is how a hook is.
type HookState string

// The states.
const (
	HookReady    HookState = "ready"    // it is registered, or subscribed
	HookStarting HookState = "starting" // it is about to be
	HookDown     HookState = "down"     // there is no session with the router
	HookSick     HookState = "unhealthy"
	HookRefused  HookState = "refused"  // the router does not take it; that is tried again
	HookDisabled HookState = "disabled" // for good: by 410, or by the router
)

// HookStatus tells of a hook. There are no payloads in it, and no secrets.
type HookStatus struct {
	Name      string       `json:"name"`
	Origin    Origin       `json:"origin"`
	State     HookState    `json:"state"`
	Reason    string       `json:"reason,omitempty"`
	URL       string       `json:"url"` // without its query
	Procedure wampcore.URI `json:"procedure,omitempty"`
	Topic     wampcore.URI `json:"topic,omitempty"`
	Match     string       `json:"match"`
	Format    Format       `json:"format,omitempty"`
	Breaker   string       `json:"breaker,omitempty"` // closed, half-open or open
	Lag       *HookLag     `json:"lag,omitempty"`

	Counts   HookCounts    `json:"counts"`
	Failures []HookFailure `json:"failures"` // the last ones, the newest first
}

// HookLag is what waits to be delivered.
type HookLag struct {
	Events  int     `json:"events"` // at least
	Seconds float64 `json:"seconds"`
}

// HookFailure is a request that failed.
type HookFailure struct {
	At     time.Time `json:"at"`
	Status int       `json:"status,omitzero"`
	Error  string    `json:"error"`
}

// HookCounts count since a hook was made.
type HookCounts struct {
	Calls       uint64 `json:"calls"`        // that came
	Answered    uint64 `json:"answered"`     // by the service, with a result or an error
	Deliveries  uint64 `json:"deliveries"`   // events that the service took
	Retries     uint64 `json:"retries"`      // requests that were sent again
	Failures    uint64 `json:"failures"`     // calls that the service did not answer
	ShortCut    uint64 `json:"short_cut"`    // calls that were refused while the circuit was open
	DeadLetters uint64 `json:"dead_letters"` // events that could not be delivered
	Lost        uint64 `json:"lost"`         // dead letters that could not be published
	Gaps        uint64 `json:"gaps"`         // how often events were not kept any more
}

type hookCounters struct {
	calls, answered, delivered, retries, failed, broken, dead, lost, gaps atomic.Uint64

	current atomic.Int64 // when the event was published, or came, that is being delivered, in ns; 0: none is
	ahead   atomic.Int64 // events that were taken with it
}

func (c *hookCounters) counts() HookCounts {
	return HookCounts{
		c.calls.Load(), c.answered.Load(), c.delivered.Load(), c.retries.Load(), c.failed.Load(), c.broken.Load(), c.dead.Load(),
		c.lost.Load(), c.gaps.Load(),
	}
}

// maxFailures is how many failures a hook remembers, and maxFailureText how much of each.
const (
	maxFailures    = 10
	maxFailureText = 300
)

// fail remembers a failure.
func (h *hook) fail(status int, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.failures) >= maxFailures {
		h.failures = slices.Delete(h.failures, 0, 1)
	}
	h.failures = append(h.failures, HookFailure{time.Now().UTC(), status, why[:min(len(why), maxFailureText)]})
}

func (h *hook) status() HookStatus {
	shown := *h.url
	shown.RawQuery = ""
	s := HookStatus{
		Name: h.key.name, Origin: h.origin, URL: shown.String(), Procedure: h.Procedure, Topic: h.Topic, Match: h.match.String(),
		Counts: h.counters.counts(), Failures: []HookFailure{},
	}
	s.State, s.Reason = h.state()
	if h.breaker != nil {
		s.Breaker = h.breaker.State().String()
	} else {
		s.Format, s.Lag = h.Format, h.lag()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range slices.Backward(h.failures) {
		s.Failures = append(s.Failures, f)
	}
	return s
}

func (h *hook) state() (HookState, string) {
	_, down := h.redial.Session()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.disabled != "":
		return HookDisabled, h.disabled
	case h.sick: // of procedures
		return HookSick, "the service fails its health check"
	case h.appDown && h.queue == nil:
		return HookSick, "the service that has published it is not there"
	case down != nil:
		return HookDown, "there is no session with the router"
	case h.refused != nil:
		return HookRefused, h.refused.Error()
	case h.standing == nil:
		return HookStarting, ""
	}
	return HookReady, ""
}

func (h *hook) lag() *HookLag {
	n, oldest := h.queue.lag()
	if at := h.counters.current.Load(); at != 0 {
		n, oldest = n+int(h.counters.ahead.Load()), time.Unix(0, at)
	}
	lag := &HookLag{Events: n}
	if n > 0 && !oldest.IsZero() {
		lag.Seconds = max(0, time.Since(oldest).Seconds())
	}
	return lag
}

// HookStats is what one hook counts, for metrics.
type HookStats struct {
	HookCounts

	Name    string
	Realm   wampcore.URI
	Kind    string // procedure or topic
	Origin  Origin
	State   HookState
	Breaker string
	Lag     HookLag
}

// Stats returns what all hooks count.
func (hs *Hooks) Stats() []HookStats {
	all := hs.all()
	stats := make([]HookStats, len(all))
	for i, h := range all {
		s := h.status()
		stats[i] = HookStats{s.Counts, s.Name, h.principal.Realm, "procedure", s.Origin, s.State, s.Breaker, HookLag{}}
		if s.Lag != nil {
			stats[i].Kind, stats[i].Lag = "topic", *s.Lag
		}
	}
	return stats
}
