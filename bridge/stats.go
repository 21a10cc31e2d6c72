package bridge

import "sync/atomic"

// invocationCounters count what became of the invocations of HTTP services.
type invocationCounters struct {
	Invocations, Answered, Failed, Interrupted, Resumed, Expired atomic.Uint64
}

// InvocationStats are what became of the invocations of HTTP services since the start, and what there is now.
type InvocationStats struct {
	Offers      int // streams, and those that wait for a reconnect
	Detached    int // of them, the latter
	Open        int // invocations
	Invocations uint64
	Answered    uint64
	Failed      uint64 // answered with an error
	Interrupted uint64 // cancelled or timed out
	Resumed     uint64 // streams that came back in time
	Expired     uint64 // streams that did not
}

// Stats is a snapshot of the bridge's counters.
type Stats struct {
	Services InvocationStats
}

// Stats returns a snapshot.
func (b *Bridge) Stats() Stats {
	return Stats{Services: b.services.snapshot()}
}

func (s *services) snapshot() InvocationStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return InvocationStats{
		Offers: len(s.offers), Detached: s.detached, Open: len(s.open),
		Invocations: s.stats.Invocations.Load(), Answered: s.stats.Answered.Load(), Failed: s.stats.Failed.Load(),
		Interrupted: s.stats.Interrupted.Load(), Resumed: s.stats.Resumed.Load(), Expired: s.stats.Expired.Load(),
	}
}
