package bridge

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// start begins the heartbeat. mu is held.
func (s *Stream) start() { s.timer.Reset(s.pause()) }

// beat says that the stream is alive. Every second time it moves the reader's cursor to where the realm is: without it, that of
// a quiet topic would be forgotten by the router.
func (s *Stream) beat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	if s.sink == nil {
		s.end(context.DeadlineExceeded)
		return
	}
	s.timer.Reset(s.pause())
	switch s.beats++; {
	case s.blocked || s.opening != nil:
	case s.beats%2 == 0 && s.asking == 0:
		s.askedAt = s.seen
		s.ask(nil, "")
		s.notify()
	default:
		s.notice(s.req.Frames.Beat(""))
	}
}

// pause is the time to the next heartbeat. Streams that began together do not stay together.
func (s *Stream) pause() time.Duration { return s.req.Heartbeat*3/4 + rand.N(s.req.Heartbeat/2+1) }

// position answers the question of a heartbeat. What was sent meanwhile has moved the cursor further.
func (s *Stream) position(last wampcore.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.blocked || s.opening != nil {
		return
	}
	if last == 0 || s.seen != s.askedAt {
		s.notice(s.req.Frames.Beat(""))
		return
	}
	s.cursor = last
	s.notice(s.req.Frames.Beat(Cursor(last)))
}
