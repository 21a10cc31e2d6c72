package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// lastWords is how much of the time to shut down is kept for goodbyes.
func (c *config) lastWords() time.Duration { return min(2*time.Second, c.ShutdownTimeout/4) }

// shutdown ends everything: nothing new is begun, calls that run may finish, and what was acknowledged reaches all who wait for it; then
// streams are told, sessions get their GOODBYE, and with it the long-poll requests their end. What is not done when ctx ends is cut.
func (g *gateway) shutdown(ctx context.Context) error {
	g.life.advance(stopping)
	g.stop()
	err := g.finish(ctx) // before the listeners close: services answer by requests, and those who poll have to come for their answers
	var down sync.WaitGroup
	cut := make([]error, len(g.servers))
	for i, srv := range g.servers {
		down.Go(func() {
			if err := srv.Shutdown(ctx); err != nil {
				cut[i] = errors.Join(fmt.Errorf("requests were cut: %w", g.whyCut(ctx)), srv.Close())
			}
		})
	}
	closed := g.bridge.Close(ctx)
	if g.router != nil {
		closed = errors.Join(closed, g.router.Shutdown(ctx))
	}
	if err == nil { // else it is about the same calls
		err = closed
	}
	down.Wait()
	g.serving.Wait()
	g.tracer.close(ctx, g.log)
	return errors.Join(err, errors.Join(cut...))
}

// finish waits for the calls that are open.
func (g *gateway) finish(ctx context.Context) error {
	ctx, cancel := g.forCalls(ctx)
	defer cancel()
	err := g.bridge.Finish(ctx)
	if g.router != nil {
		err = errors.Join(err, g.router.Finish(ctx))
	}
	err = errors.Join(err, g.hooks.Close(ctx))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("calls were cut: %w", g.whyCut(ctx))
	default:
		return fmt.Errorf("calls were cut: %w", err)
	}
}

// whyCut says why what was open when ctx ended was not waited for any longer.
func (g *gateway) whyCut(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return fmt.Errorf("they did not end within %s, which is %s", variable("ShutdownTimeout"), g.cfg.ShutdownTimeout)
}

// forCalls leaves some of the time for what is to be said after the calls.
func (g *gateway) forCalls(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-g.cfg.lastWords()))
	}
	return context.WithCancel(ctx)
}
