package bridge

import (
	"fmt"
	"sync"

	"github.com/wampgate/wampgate/wampcore"
)

// outgoing are frames on their way, with what there is to know of them if they have to wait.
type outgoing struct {
	frames [][]byte
	topics []wampcore.URI // only where somebody wants to know
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }} //nolint:gochecknoglobals // pools are shared

func newOutgoing() *outgoing {
	o, _ := outgoings.Get().(*outgoing)
	return o
}

func (o *outgoing) release() {
	clear(o.frames)
	clear(o.topics)
	o.frames, o.topics = o.frames[:0], o.topics[:0]
	outgoings.Put(o)
}

// maxSend is about how many bytes are sent at once, before what does not fit waits as frames.
const maxSend = 64 << 10

// send sends events, as far as the reader takes them; the others wait. mu is held, and there is a sink.
func (s *Stream) send(o *outgoing) {
	sent := 0
	for sent < len(o.frames) && !s.blocked && s.err == nil {
		end, size := sent, 0
		for end < len(o.frames) && size < maxSend {
			size += len(o.frames[end])
			end++
		}
		s.write(o.frames[sent:end], end-sent, size)
		sent = end
	}
	for i := sent; i < len(o.frames) && s.err == nil; i++ {
		topic := wampcore.URI("")
		if len(o.topics) > i {
			topic = o.topics[i]
		}
		s.keep(o.frames[i], topic)
	}
}

// write gives frames to the sink. mu is held.
func (s *Stream) write(frames [][]byte, events, size int) {
	more, err := s.sink.Send(frames)
	if err != nil {
		s.end(fmt.Errorf("%w: %w", ErrHungUp, err))
		return
	}
	s.blocked = !more
	s.b.streamStats.events.Add(uint64(events))
	s.b.streamStats.bytes.Add(uint64(size))
}

// notice sends words of the stream's own. mu is held.
func (s *Stream) notice(frames ...[]byte) {
	size := 0
	for _, f := range frames {
		size += len(f)
	}
	s.write(frames, 0, size)
}

// keep lets an event wait for the reader. mu is held.
func (s *Stream) keep(frame []byte, topic wampcore.URI) {
	dropped, conflated, ok := s.backlog.put(s.req.Slow, frame, topic)
	s.b.streamStats.dropped.Add(uint64(dropped))
	s.b.streamStats.conflated.Add(uint64(conflated))
	if !ok {
		s.end(ErrSlow)
	}
}

// Drained says that the sink takes more, or that it never will.
func (s *Stream) Drained(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = false
	if err != nil {
		s.end(fmt.Errorf("%w: %w", ErrHungUp, err))
		return
	}
	s.flush()
	if s.opening != nil {
		s.notify()
	}
}

// flush sends what waits. mu is held.
func (s *Stream) flush() {
	if s.err != nil || s.blocked || s.sink == nil || s.backlog.empty() {
		return
	}
	o := newOutgoing()
	defer o.release()
	if n := s.backlog.take(o); n > 0 {
		s.notice(s.req.Frames.Notice("wamp.gap", "", fmt.Appendf(nil, `{"reason":"the reader did not keep up","dropped":%d}`, n)))
	}
	s.send(o)
}
