package client

import (
	"context"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// Call calls a procedure. When ctx ends first, the call is cancelled (killnowait). A deadline of ctx is sent as the
// call's timeout, unless opts has one. A call that fails returns a *wampcore.Error.
func (s *Session) Call(
	ctx context.Context, procedure wampcore.URI, p wampcore.Payload, opts wampcore.CallOptions,
) (wampcore.Payload, error) {
	if deadline, ok := ctx.Deadline(); ok && opts.Timeout == 0 {
		opts.Timeout = max(time.Until(deadline), time.Millisecond)
	}
	id, a := s.request(ctx, &pending{kind: wampcore.TypeCall}, func(id wampcore.ID) wampcore.Message {
		return &wampcore.Call{Request: id, Options: opts, Procedure: procedure, Payload: p}
	})
	if ctx.Err() != nil && id != 0 && s.abandon(id) {
		s.out.put(&wampcore.Cancel{Request: id, Mode: wampcore.CancelKillNoWait})
	}
	return a.payload, a.err
}

// Publish publishes. With opts.Acknowledge it waits for the publication's id; without, it returns 0 at once.
func (s *Session) Publish(
	ctx context.Context, topic wampcore.URI, p wampcore.Payload, opts wampcore.PublishOptions,
) (wampcore.ID, error) {
	req := &pending{kind: wampcore.TypePublish}
	unacknowledged := func(id wampcore.ID) { // called by build, with the lock held
		delete(s.pending, id)
		req.answer <- answer{}
	}
	id, a := s.request(ctx, req, func(id wampcore.ID) wampcore.Message {
		if !opts.Acknowledge {
			unacknowledged(id)
		}
		return &wampcore.Publish{Request: id, Options: opts, Topic: topic, Payload: p}
	})
	if ctx.Err() != nil {
		s.abandon(id)
	}
	return a.id, a.err
}
