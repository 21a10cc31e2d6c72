package bridge

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// Call calls a procedure. What fails is a *wampcore.Error. The timeout of its options is its deadline, as ctx's is; it costs less.
func (b *Bridge) Call(ctx context.Context, p Principal, procedure wampcore.URI, req CallRequest) (wampcore.Payload, error) {
	ctx, trace, done := b.observe(ctx, Operation{Calling, procedure})
	req.Options.Custom = trace.in(req.Options.Custom)
	s, err := b.sessionWithin(ctx, p, req.Options.Timeout)
	if err != nil {
		return wampcore.Payload{}, done(err)
	}
	result, err := s.Call(ctx, procedure, req.Payload, req.Options)
	return result, done(err)
}

// sessionWithin waits for a session no longer than timeout, unless that is 0.
func (b *Bridge) sessionWithin(ctx context.Context, p Principal, timeout time.Duration) (*client.Session, error) {
	if timeout <= 0 || b.Up(p) {
		return b.session(ctx, p)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return b.session(ctx, p)
}

// Exchange makes a call in parts, and yields its results as they come: progressive ones, then the final one, or an error. See
// client.Session.Exchange.
func (b *Bridge) Exchange(
	ctx context.Context, p Principal, procedure wampcore.URI, parts func(context.Context) iter.Seq[client.Part], opts wampcore.CallOptions,
) iter.Seq2[client.Part, error] {
	return func(yield func(client.Part, error) bool) {
		ctx, trace, done := b.observe(ctx, Operation{Calling, procedure})
		opts.Custom = trace.in(opts.Custom)
		s, err := b.session(ctx, p)
		if err != nil {
			yield(client.Part{}, done(err))
			return
		}
		for part, e := range s.Exchange(ctx, procedure, parts, opts) {
			err = e
			if !yield(part, e) {
				break
			}
		}
		_ = done(err)
	}
}

// Called is what became of one call of a batch.
type Called struct {
	Payload wampcore.Payload
	Err     error
}

// CallEach makes calls side by side. There is an answer for each of them.
func (b *Bridge) CallEach(ctx context.Context, p Principal, calls []CallItem) []Called {
	out := make([]Called, len(calls))
	var open sync.WaitGroup
	for i := range calls {
		open.Go(func() {
			c := &calls[i]
			out[i].Payload, out[i].Err = b.Call(ctx, p, c.Procedure, c.CallRequest)
		})
	}
	open.Wait()
	return out
}
