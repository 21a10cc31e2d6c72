package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// share returns what serves a stream on the session of the principal's streams, and on those that follow when that is lost.
func (s *Stream) share(ctx context.Context) (serve func() error) {
	return func() error {
		r, err := s.subscribe(ctx)
		if err != nil {
			s.withdraw() //nolint:contextcheck // the request's may have ended
			return err
		}
		s.serve = func() error { return s.sharedTurn(r) } //nolint:contextcheck // it keeps nothing of the request
		return s.serve()
	}
}

// sharedTurn is a turn of a stream that is subscribed.
func (s *Stream) sharedTurn(r *client.Redialer) (err error) {
	defer func() {
		if !errors.Is(err, wampcore.ErrResting) {
			s.withdraw()
		}
	}()
	for {
		m, err := s.next()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *wampcore.Call:
			s.put(r, m)
		case *wampcore.Goodbye: // the session is not the stream's
			return ErrDraining
		}
	}
}

func (s *Stream) subscribe(ctx context.Context) (*client.Redialer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.req.Timeout)
	defer cancel()
	session, r, err := s.b.join(ctx, use{s.p, true})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.id = session.ID()
	s.mu.Unlock()
	for i, topic := range s.req.Topics {
		st, err := r.Watch(ctx, topic.URI, s.shared, s.options(topic))
		if err != nil {
			return nil, fmt.Errorf("subscribe to %s: %w", topic.URI, err)
		}
		s.b.stand(st, s)
		if st.Revoked() { // before that
			return nil, fmt.Errorf("subscribe to %s: %w", topic.URI, revocation(wampcore.RevokedDetails{}))
		}
		s.mu.Lock()
		_, id := st.Attached()
		s.subscribed(i, id)
		s.mu.Unlock()
	}
	return r, nil
}

// put asks the router.
func (s *Stream) put(r *client.Redialer, call *wampcore.Call) {
	ctx, cancel := context.WithTimeout(context.Background(), joinTimeout)
	defer cancel()
	p, err := r.Call(ctx, call.Procedure, call.Payload, call.Options)
	s.mu.Lock()
	defer s.mu.Unlock()
	if call.Request == s.asking {
		s.answer = &answer{p, err}
	}
}

// shared takes an event of the shared session, on the goroutine that reads it. All streams that got some are flushed together.
func (s *Stream) shared(e *wampcore.Event) {
	o := newOutgoing()
	defer o.release()
	s.mu.Lock()
	s.event(o, e)
	for i, frame := range o.frames {
		topic := wampcore.URI("")
		if len(o.topics) > i {
			topic = o.topics[i]
		}
		s.keep(frame, topic)
	}
	flush := len(o.frames) > 0 && !s.blocked && !s.scheduled
	s.scheduled = s.scheduled || flush
	s.mu.Unlock()
	if flush {
		s.b.flusher.add(s)
	}
}

// flusher has streams flushed, together, by a goroutine that lives until there is none left.
type flusher struct {
	work sync.WaitGroup

	mu      sync.Mutex
	streams []*Stream
	spare   []*Stream
	running bool
}

func (f *flusher) add(s *Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams = append(f.streams, s)
	if !f.running {
		f.running = true
		f.work.Go(f.run)
	}
}

func (f *flusher) run() {
	for {
		f.mu.Lock()
		streams := f.streams
		f.running = len(streams) > 0
		f.streams, f.spare = f.spare[:0], streams
		f.mu.Unlock()
		if len(streams) == 0 {
			return
		}
		for i, s := range streams {
			s.mu.Lock()
			s.scheduled = false
			s.flush()
			s.mu.Unlock()
			streams[i] = nil
		}
	}
}

// withdraw takes back the stream's share of the session.
func (s *Stream) withdraw() {
	ctx, cancel := context.WithTimeout(context.Background(), joinTimeout)
	defer cancel()
	for _, st := range s.b.unstand(s) {
		_ = st.End(ctx)
	}
}

func (b *Bridge) stand(st *client.Standing, s *Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.standing[st] = s
}

func (b *Bridge) unstand(s *Stream) []*client.Standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*client.Standing
	for st, of := range b.standing {
		if of == s {
			all = append(all, st)
		}
	}
	for _, st := range all {
		delete(b.standing, st)
	}
	return all
}

func (b *Bridge) streamOf(st *client.Standing) *Stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.standing[st]
}

// lost tells the streams of a principal that their session is no more: what comes on another one waits for what was missed.
func (b *Bridge) lost(p Principal) {
	b.mu.Lock()
	var streams []*Stream
	for s := range b.streams {
		if s.p == p {
			streams = append(streams, s)
		}
	}
	b.mu.Unlock()
	for _, s := range streams {
		s.mu.Lock()
		if s.sink != nil {
			s.opening = &opening{begun: func() bool { return false }, resume: resumed, after: s.cursor, lost: true}
			s.asking, s.answer, s.requests = 0, nil, nil
		}
		s.mu.Unlock()
	}
}

const lostReason = "the connection to the router was lost for a while"

// restored tells a stream that its subscriptions are back after a loss, or ends it: it goes on with what it missed.
func (b *Bridge) restored(st *client.Standing, err error) {
	s := b.streamOf(st)
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.end(fmt.Errorf("subscribe to %s: %w", st.URI(), err))
		return
	}
	if s.opening == nil || !s.opening.lost {
		return
	}
	for i, topic := range s.req.Topics {
		if st.URI() == topic.URI {
			_, s.subscriptions[i] = st.Attached()
		}
	}
	if s.restored++; s.restored < len(s.req.Topics) {
		return
	}
	s.restored = 0
	s.opening.lost = false
	if s.opening.after == 0 { // it has seen nothing yet
		s.notice(s.gapped("", lostReason))
	}
	s.askForPage()
	s.notify()
}

func (b *Bridge) revoked(st *client.Standing, d wampcore.RevokedDetails) {
	if s := b.streamOf(st); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.revoked(d)
	}
}
