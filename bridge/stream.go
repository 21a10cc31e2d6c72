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

// Stream is a subscription to topics by one reader.
type Stream struct {
	b        *Bridge
	id       wampcore.ID
	session  *client.Session    // its own; nil where streams share one
	standing []*client.Standing // on the shared session
	wake     chan struct{}      // of size 1

	mu      sync.Mutex
	items   []Item
	bytes   int
	err     error // why it is over
	drained bool  // it may only be over because the bridge drains
}

// Item is what a stream's reader gets: an event, or the word that events may be missing here.
type Item struct {
	Gap  bool
	Data []byte // a JSON object
}

// Stream subscribes to topics. Close ends it.
func (b *Bridge) Stream(ctx context.Context, p Principal, topics []Topic) (*Stream, error) {
	s := &Stream{b: b, wake: make(chan struct{}, 1)}
	open := s.open
	if b.cfg.Shared {
		open = s.share
	}
	if err := open(ctx, p, topics); err != nil {
		_ = s.Close(ctx)
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining || b.withdrawn {
		s.stop(ErrDraining)
	}
	b.streams[s] = struct{}{}
	for _, st := range s.standing {
		b.standing[st] = s
	}
	return s, nil
}

// open subscribes on a session of its own, so that the meta API, eligibility and kill work on it as on any other. With it,
// the stream ends.
func (s *Stream) open(ctx context.Context, p Principal, topics []Topic) error {
	session, err := s.b.own(ctx, p, func(cfg *client.Config) {
		cfg.OnRevoked = func(_ wampcore.MessageType, d wampcore.RevokedDetails) { s.revoked(d) }
	})
	if err != nil {
		return err
	}
	s.session, s.id = session, session.ID()
	for _, topic := range topics {
		if _, err := session.Subscribe(ctx, topic.URI, s.handler(topic), wampcore.SubscribeOptions{Match: topic.Match}); err != nil {
			return fmt.Errorf("subscribe to %s: %w", topic.URI, err)
		}
	}
	context.AfterFunc(doneContext{session}, func() { s.stop(session.Err()) }) //nolint:contextcheck // the session's end, not the request's
	return nil
}

// share subscribes on the session of the principal's streams, and on those that follow when that is lost.
func (s *Stream) share(ctx context.Context, p Principal, topics []Topic) error {
	session, r, err := s.b.join(ctx, use{p, true})
	if err != nil {
		return err
	}
	s.id = session.ID()
	for _, topic := range topics {
		st, err := r.Subscribe(ctx, topic.URI, s.handler(topic), wampcore.SubscribeOptions{Match: topic.Match})
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", topic.URI, err)
		}
		s.standing = append(s.standing, st)
	}
	return nil
}

// ID returns the id of the session that the stream began with.
func (s *Stream) ID() wampcore.ID { return s.id }

func (b *Bridge) streamOf(st *client.Standing) *Stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.standing[st]
}

// restored tells a stream that one of its subscriptions is back after a loss, or ends it.
func (b *Bridge) restored(st *client.Standing, err error) {
	s := b.streamOf(st)
	switch {
	case s == nil:
	case err != nil:
		s.stop(fmt.Errorf("subscribe to %s: %w", st.URI(), err))
	default:
		s.push(Item{Gap: true, Data: []byte(`{"reason":"the connection to the router was lost for a while"}`)})
	}
}

func (b *Bridge) revoked(st *client.Standing, d wampcore.RevokedDetails) {
	if s := b.streamOf(st); s != nil {
		s.revoked(d)
	}
}

// Next waits for something to read and returns all that waits. What came before the end is returned before its reason
// is. When ctx ends first, Next returns its error.
func (s *Stream) Next(ctx context.Context) ([]Item, error) {
	for {
		s.mu.Lock()
		items, err := s.items, s.err
		s.items, s.bytes = nil, 0
		s.mu.Unlock()
		if len(items) > 0 {
			return items, nil
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

// Close ends the stream's session, or its share of one.
func (s *Stream) Close(ctx context.Context) error {
	s.b.mu.Lock()
	delete(s.b.streams, s)
	s.b.checkEmpty()
	for _, st := range s.standing {
		delete(s.b.standing, st)
	}
	s.b.mu.Unlock()
	s.stop(client.ErrClosed)
	if s.session != nil {
		return s.session.Close(ctx)
	}
	var errs []error
	for _, st := range s.standing {
		errs = append(errs, st.End(ctx))
	}
	return errors.Join(errs...)
}

// revoked ends the stream when the router takes one of its subscriptions away: its reader would wait in vain.
func (s *Stream) revoked(d wampcore.RevokedDetails) {
	s.stop(revocation(d))
}

func revocation(d wampcore.RevokedDetails) error {
	reason := d.Reason
	if reason == "" {
		reason = "the router took it away"
	}
	return &wampcore.Error{URI: wampcore.ErrNotAuthorized, Message: reason}
}

// stop makes Next return err. The first reason counts.
func (s *Stream) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drained {
		err = ErrDraining
	}
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
		s.push(Item{Data: encodeEvent(uri, e)})
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

func (s *Stream) push(item Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.items)
	if s.err != nil || item.Gap && n > 0 && s.items[n-1].Gap {
		return
	}
	if n > 0 && (n >= s.b.cfg.StreamEvents || s.bytes+len(item.Data) > s.b.cfg.StreamBytes) {
		s.err = ErrSlow
		s.items, s.bytes = nil, 0
		s.notify()
		return
	}
	s.items = append(s.items, item)
	s.bytes += len(item.Data)
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
