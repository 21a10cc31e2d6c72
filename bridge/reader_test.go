package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// line is what a reader gets.
type line struct {
	Name, Cursor string // Name is empty for an event
	Topic        wampcore.URI
	Data         string
}

func (l line) String() string {
	switch l.Name {
	case "":
		return l.Data
	case "wamp.ready":
		_, resume, _ := strings.Cut(l.Data, `"resume":"`)
		return "ready " + strings.Trim(resume, `"}`)
	default:
		return strings.TrimPrefix(l.Name, "wamp.")
	}
}

func (l line) encode() []byte {
	b, err := json.Marshal(l)
	if err != nil {
		panic(err)
	}
	return b
}

// reader reads one stream. It is the stream's frames, too.
type reader struct {
	testing.TB
	stream *bridge.Stream
	begun  chan struct{}
	over   chan struct{} // closed when the stream is

	mu      sync.Mutex
	lines   []line
	unread  int
	changed chan struct{}
	stuck   bool // it takes nothing more
	gone    bool
	cursor  string // the last
	err     error  // why it did not begin, or ended
}

func (n *network) read(req bridge.StreamRequest, topics ...wampcore.URI) *reader {
	n.Helper()
	return n.readBy(n.reader(), req, topics...)
}

func (n *network) reader() *reader {
	return &reader{
		TB: n.TB, begun: make(chan struct{}), over: make(chan struct{}), changed: make(chan struct{}, 1),
	}
}

func (n *network) readBy(r *reader, req bridge.StreamRequest, topics ...wampcore.URI) *reader {
	n.Helper()
	for _, uri := range topics {
		req.Topics = append(req.Topics, bridge.Topic{URI: uri})
	}
	req.Frames = r
	req.Ready = func(s *bridge.Stream) (bridge.Sink, error) {
		r.stream = s
		close(r.begun)
		return r, nil
	}
	n.b.Stream(context.Background(), anybody, &req, func(err error) {
		if err != nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
		}
		close(r.over)
	})
	n.Cleanup(r.hangUp)
	select {
	case <-r.begun:
	case <-r.over:
	case <-time.After(10 * time.Second): //nolint:forbidigo // the bound of a test
		n.Fatal("the stream did not begin")
	}
	return r
}

func (n *network) stream(topics ...wampcore.URI) *reader {
	n.Helper()
	r := n.read(bridge.StreamRequest{}, topics...)
	if err := r.failure(); err != nil {
		n.Fatal(err)
	}
	r.expect("ready live")
	return r
}

// hangUp makes the reader go, and waits until the stream is over.
func (r *reader) hangUp() {
	r.mu.Lock()
	r.gone = true
	r.mu.Unlock()
	select {
	case <-r.begun:
		r.stream.End(bridge.ErrHungUp)
	default:
	}
	<-r.over
}

func (r *reader) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// ended waits for the end of the stream and returns why it is over.
func (r *reader) ended() error {
	r.Helper()
	select {
	case <-r.over:
		return r.failure()
	case <-time.After(10 * time.Second): //nolint:forbidigo // the bound of a test
		r.Fatal("the stream goes on")
		return nil
	}
}

// next returns the next line that is no heartbeat.
func (r *reader) next() line {
	r.Helper()
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		if r.unread < len(r.lines) {
			l := r.lines[r.unread]
			r.unread++
			r.mu.Unlock()
			if l.Name != "beat" {
				return l
			}
			continue
		}
		r.mu.Unlock()
		select {
		case <-r.changed:
		case <-timeout.C:
			r.Fatalf("nothing comes; the reader has %v", r.lines)
		}
	}
}

func (r *reader) expect(want ...string) {
	r.Helper()
	for _, w := range want {
		if got := r.next(); !strings.Contains(got.String(), w) {
			r.Fatalf("got %v, want %s", got, w)
		}
	}
}

// Event is for the stream, as all that follows.
func (r *reader) Event(topic wampcore.URI, e *wampcore.Event) []byte { return r.Past(topic, e, true) }

func (r *reader) Past(topic wampcore.URI, e *wampcore.Event, cursor bool) []byte {
	l := line{Topic: topic, Data: string(bridge.AppendEvent(nil, topic, e))}
	if cursor {
		l.Cursor = bridge.Cursor(e.Publication)
	}
	return l.encode()
}

func (r *reader) Notice(name, cursor string, data []byte) []byte {
	if !json.Valid(data) {
		r.Errorf("%s has %s", name, data)
	}
	return line{Name: name, Cursor: cursor, Data: string(data)}.encode()
}

func (r *reader) Beat(cursor string) []byte { return line{Name: "beat", Cursor: cursor}.encode() }

func (r *reader) Last(err error) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	return nil
}

func (r *reader) Send(frames [][]byte) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return false, errors.New("gone")
	}
	for _, f := range frames {
		var l line
		if err := json.Unmarshal(f, &l); err != nil {
			return false, fmt.Errorf("%s: %w", f, err)
		}
		r.lines = append(r.lines, l)
		if l.Cursor != "" {
			r.cursor = l.Cursor
		}
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return !r.stuck, nil
}

// stick makes the reader take nothing more, but for what is sent next.
func (r *reader) stick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stuck = true
}

func (r *reader) unstick() {
	r.mu.Lock()
	r.stuck = false
	r.mu.Unlock()
	r.stream.Drained(nil)
}

func (r *reader) lastCursor() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cursor
}

func (*reader) Finish([]byte) {}

func (r *reader) Cut() {}
