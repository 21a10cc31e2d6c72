package client

import (
	"context"

	"github.com/wampgate/wampgate/wampcore"
)

// Publication is one of those that PublishEach publishes.
type Publication struct {
	Topic   wampcore.URI
	Payload wampcore.Payload
	Options wampcore.PublishOptions
}

// Published is what became of a Publication: its id, or an error; neither where it is not acknowledged.
type Published struct {
	ID  wampcore.ID
	Err error
}

// PublishEach publishes all, in their order, without waiting for one before the next. There is an answer for each of them.
func (s *Session) PublishEach(ctx context.Context, all []Publication) []Published {
	type sent struct {
		id  wampcore.ID
		req *pending
	}
	out, open := make([]Published, len(all)), make([]sent, len(all))
	for i := range all {
		req := &pending{kind: wampcore.TypePublish}
		id, err := s.begin(ctx, req, s.publication(req, &all[i]))
		out[i].Err, open[i] = err, sent{id, req}
	}
	for i, o := range open {
		if out[i].Err == nil {
			a := s.await(ctx, o.id, o.req)
			out[i] = Published{a.id, a.err}
		}
	}
	return out
}

// publication returns what makes a PUBLISH. One that is not acknowledged is answered when it is made.
func (s *Session) publication(req *pending, p *Publication) func(id wampcore.ID) wampcore.Message {
	return func(id wampcore.ID) wampcore.Message { // called with the lock held
		if !p.Options.Acknowledge {
			delete(s.pending, id)
			req.answer <- answer{}
		}
		return &wampcore.Publish{Request: id, Options: p.Options, Topic: p.Topic, Payload: p.Payload}
	}
}

// Publish publishes. With opts.Acknowledge it waits for the publication's id; without, it returns 0 at once.
func (s *Session) Publish(
	ctx context.Context, topic wampcore.URI, p wampcore.Payload, opts wampcore.PublishOptions,
) (wampcore.ID, error) {
	req := &pending{kind: wampcore.TypePublish}
	_, a := s.request(ctx, req, s.publication(req, &Publication{topic, p, opts}))
	return a.id, a.err
}
