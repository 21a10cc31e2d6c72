package bridge

import (
	"errors"
	"sync/atomic"

	"github.com/wampgate/wampgate/wampcore"
)

// streamCounters count what became of streams.
type streamCounters struct {
	opened, events, bytes, replayed, dropped, conflated, resumed, gaps atomic.Uint64

	hungUp, slow, drained, expired, refused, failed atomic.Uint64
}

// ended counts why a stream that had begun is over.
func (c *streamCounters) ended(err error) {
	_, said := errors.AsType[*wampcore.Error](err)
	switch {
	case errors.Is(err, ErrHungUp):
		c.hungUp.Add(1)
	case errors.Is(err, ErrSlow):
		c.slow.Add(1)
	case errors.Is(err, ErrDraining):
		c.drained.Add(1)
	case errors.Is(err, ErrExpired):
		c.expired.Add(1)
	case said:
		c.refused.Add(1)
	default:
		c.failed.Add(1)
	}
}

// StreamStats are what became of event streams since the start, and how many there are.
type StreamStats struct {
	Open      int
	Opened    uint64
	Events    uint64 // sent, those of the past among them
	Bytes     uint64 // sent, of events and the streams' own words
	Replayed  uint64 // events of the past
	Dropped   uint64 // events that readers did not keep up with
	Conflated uint64 // events that newer ones of their topics took the place of
	Resumed   uint64 // streams that went on where their readers had left off
	Gaps      uint64 // times that a reader was told of one

	// Why streams ended.
	HungUp  uint64 // the reader went
	Slow    uint64 // it did not keep up
	Drained uint64 // the gateway shuts down
	Expired uint64 // the stream's time was over
	Refused uint64 // the router ended the session, or took a subscription away
	Failed  uint64
}

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
	Streams  StreamStats
	Services InvocationStats
}

// Stats returns a snapshot.
func (b *Bridge) Stats() Stats {
	b.mu.Lock()
	open := len(b.streams)
	b.mu.Unlock()
	c := &b.streamStats
	return Stats{Services: b.services.snapshot(), Streams: StreamStats{
		Open: open, Opened: c.opened.Load(), Events: c.events.Load(), Bytes: c.bytes.Load(), Replayed: c.replayed.Load(),
		Dropped: c.dropped.Load(), Conflated: c.conflated.Load(), Resumed: c.resumed.Load(), Gaps: c.gaps.Load(),
		HungUp: c.hungUp.Load(), Slow: c.slow.Load(), Drained: c.drained.Load(), Expired: c.expired.Load(),
		Refused: c.refused.Load(), Failed: c.failed.Load(),
	}}
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
