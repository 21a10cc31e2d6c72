package bridge

import (
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

// Slow is what becomes of a stream whose reader does not keep up.
type Slow uint8

// The policies.
const (
	SlowDisconnect Slow = iota // it ends, and may be resumed
	SlowDropOldest             // what has waited longest is dropped, and the reader is told how much
	SlowConflate               // the newest event of each topic is kept
)

// String returns the policy's name.
func (s Slow) String() string { return [...]string{"disconnect", "drop_oldest", "conflate"}[s] }

// backlog is what waits for a reader.
type backlog struct {
	maxEvents, maxBytes int

	frames  [][]byte
	topics  []wampcore.URI // of frames; only for SlowConflate
	bytes   int
	dropped int // since the last take
}

func (l *backlog) bound(events, bytes int) { l.maxEvents, l.maxBytes = events, bytes }

func (l *backlog) empty() bool { return len(l.frames) == 0 && l.dropped == 0 }

func (l *backlog) clear() { l.frames, l.topics, l.bytes, l.dropped = nil, nil, 0, 0 }

// put adds a frame. ok is false where the policy is that the stream ends now.
func (l *backlog) put(slow Slow, frame []byte, topic wampcore.URI) (dropped, conflated int, ok bool) {
	if slow == SlowConflate {
		conflated = l.conflate(topic)
	}
	for len(l.frames) > 0 && (len(l.frames) >= l.maxEvents || l.bytes+len(frame) > l.maxBytes) {
		if slow == SlowDisconnect {
			return 0, 0, false
		}
		l.remove(0)
		dropped++
	}
	l.dropped += dropped
	l.frames = append(l.frames, frame)
	l.bytes += len(frame)
	if slow == SlowConflate {
		l.topics = append(l.topics, topic)
	}
	return dropped, conflated, true
}

// conflate removes what waits of a topic: one event at the most.
func (l *backlog) conflate(topic wampcore.URI) int {
	i := slices.Index(l.topics, topic)
	if i < 0 {
		return 0
	}
	l.remove(i)
	return 1
}

func (l *backlog) remove(i int) {
	l.bytes -= len(l.frames[i])
	if i == 0 {
		l.frames[0] = nil
		l.frames = l.frames[1:]
	} else {
		l.frames = append(l.frames[:i], l.frames[i+1:]...)
	}
	if l.topics != nil {
		l.topics = append(l.topics[:i], l.topics[i+1:]...)
	}
}

// take moves what waits to o, and returns how many events were dropped before that.
func (l *backlog) take(o *outgoing) (dropped int) {
	o.frames, o.topics = append(o.frames, l.frames...), append(o.topics, l.topics...)
	dropped = l.dropped
	l.clear()
	return dropped
}
