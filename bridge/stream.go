package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

const joinTimeout = 10 * time.Second

// ErrSlow is why a stream ends whose reader does not keep up.
var ErrSlow = errors.New("the reader does not keep up with the events")

// Topic is what a stream subscribes to.
type Topic struct {
	URI   wampcore.URI
	Match wampcore.Match
}

// Stream is a subscription to topics by one reader, with a WAMP session of its own.
type Stream struct {
	b       *Bridge
	session *client.Session
	wake    chan struct{} // of size 1

	mu     sync.Mutex
	events [][]byte
	bytes  int
	err    error // why it is over
}

// Stream subscribes to topics. Close ends it.
func (b *Bridge) Stream(ctx context.Context, realm wampcore.URI, topics []Topic) (*Stream, error) {
	s := &Stream{b: b, wake: make(chan struct{}, 1)}
	session, err := b.join(ctx, realm, func(cfg *client.Config) { cfg.OnRevoked = s.revoked })
	if err != nil {
		return nil, err
	}
	s.session = session
	for _, topic := range topics {
		if _, err := session.Subscribe(ctx, topic.URI, s.handler(topic), wampcore.SubscribeOptions{Match: topic.Match}); err != nil {
			_ = s.Close(ctx)
			return nil, fmt.Errorf("subscribe to %s: %w", topic.URI, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining {
		s.stop(ErrDraining)
	}
	b.streams[s] = struct{}{}
	context.AfterFunc(doneContext{session}, func() { s.stop(session.Err()) }) //nolint:contextcheck // the session's end, not the request's
	return s, nil
}

// ID returns the id of the stream's session.
func (s *Stream) ID() wampcore.ID { return s.session.ID() }

// Next waits for events and returns all that wait, each as a JSON object. The events that came before the end are
// returned before its reason is. When ctx ends first, Next returns its error.
func (s *Stream) Next(ctx context.Context) ([][]byte, error) {
	for {
		s.mu.Lock()
		events, err := s.events, s.err
		s.events, s.bytes = nil, 0
		s.mu.Unlock()
		if len(events) > 0 {
			return events, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Close ends the stream's session.
func (s *Stream) Close(ctx context.Context) error {
	s.b.mu.Lock()
	delete(s.b.streams, s)
	s.b.mu.Unlock()
	s.stop(client.ErrClosed)
	return s.session.Close(ctx)
}

// revoked ends the stream when the router takes one of its subscriptions away: its reader would wait in vain.
func (s *Stream) revoked(_ wampcore.MessageType, d wampcore.RevokedDetails) {
	reason := d.Reason
	if reason == "" {
		reason = "the router took the subscription away"
	}
	s.stop(&wampcore.Error{URI: wampcore.ErrNotAuthorized, Message: reason})
}

// stop makes Next return err. The first reason counts.
func (s *Stream) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.notify()
	}
}

func (s *Stream) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// event is what a reader gets of an EVENT.
type event struct {
	Topic       wampcore.URI    `json:"topic"`
	Publication wampcore.ID     `json:"publication"`
	Timestamp   string          `json:"timestamp,omitzero"` // of the past alone
	Args        json.RawMessage `json:"args,omitempty"`
	Kwargs      json.RawMessage `json:"kwargs,omitempty"`
	Details     details         `json:"details"`
}

type details struct {
	Publisher         wampcore.ID `json:"publisher,omitzero"`
	PublisherAuthID   string      `json:"publisher_authid,omitzero"`
	PublisherAuthRole string      `json:"publisher_authrole,omitzero"`
	TrustLevel        *int64      `json:"trustlevel,omitempty"`
	Retained          bool        `json:"retained,omitzero"`
}

func (s *Stream) handler(topic Topic) client.EventHandler {
	return func(_ context.Context, e *wampcore.Event) {
		uri := topic.URI
		if e.Details.Topic != "" {
			uri = e.Details.Topic
		}
		s.push(encodeEvent(uri, e))
	}
}

// encodeEvent returns e on one line. The payload is compacted by that, and otherwise as it came: numbers are exact.
func encodeEvent(topic wampcore.URI, e *wampcore.Event) []byte {
	p := e.Payload.Transcode(wampcore.JSON)
	line, err := marshal(event{
		Topic: topic, Publication: e.Publication, Args: p.Args, Kwargs: p.Kwargs,
		Details: details{
			e.Details.Publisher, e.Details.PublisherAuthID, e.Details.PublisherAuthRole, e.Details.TrustLevel, e.Details.Retained,
		},
	})
	if err != nil { // it was scanned when it came
		return []byte(`{}`)
	}
	return line
}

func (s *Stream) push(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	if len(s.events) > 0 && (len(s.events) >= s.b.cfg.StreamEvents || s.bytes+len(line) > s.b.cfg.StreamBytes) {
		s.err = ErrSlow
		s.events, s.bytes = nil, 0
		s.notify()
		return
	}
	s.events = append(s.events, line)
	s.bytes += len(line)
	s.notify()
}

// doneContext is over when a session is.
type doneContext struct{ s *client.Session }

func (doneContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c doneContext) Done() <-chan struct{}     { return c.s.Done() }
func (doneContext) Value(any) any               { return nil }

func (c doneContext) Err() error {
	if c.s.Err() != nil {
		return context.Canceled
	}
	return nil
}
