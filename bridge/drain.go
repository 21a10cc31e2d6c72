package bridge

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wampgate/wampgate/internal/pace"
	"github.com/wampgate/wampgate/wampcore"
)

// Withdraw takes back what is registered for HTTP services, and ends all streams with ErrDraining, each at a moment of its own within the
// window, so that their readers do not all come back at once. There are no new ones then; calls and publications go on. It returns when all are gone, or with ctx's error when that ends.
func (b *Bridge) Withdraw(ctx context.Context, window time.Duration) error {
	b.services.drain() //nolint:contextcheck // what ends outlives this
	if err := b.endStreams(ctx, window); err != nil {
		return err
	}
	select {
	case <-b.empty():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// empty returns what is closed when there are no streams.
func (b *Bridge) empty() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.emptied == nil {
		b.emptied = make(chan struct{})
	}
	emptied := b.emptied
	b.checkEmpty()
	return emptied
}

// endStreams is Withdraw without the wait for those who read the streams.
func (b *Bridge) endStreams(ctx context.Context, window time.Duration) error {
	b.mu.Lock()
	b.withdrawn = true
	streams := slices.Collect(maps.Keys(b.streams))
	b.mu.Unlock()
	return pace.Over(ctx, window, len(streams), func(i int) { streams[i].part() })
}

// checkEmpty tells who waits for it that all streams are gone. mu is held.
func (b *Bridge) checkEmpty() {
	if b.emptied != nil && len(b.streams) == 0 {
		close(b.emptied)
		b.emptied = nil
	}
}

// Finish refuses new requests, and waits for the calls and publications that are open. Streams go on; however they end now, it is with
// ErrDraining.
func (b *Bridge) Finish(ctx context.Context) error {
	b.services.drain() //nolint:contextcheck // what ends outlives this
	b.mu.Lock()
	b.draining, b.withdrawn = true, true
	sessions := slices.Collect(maps.Values(b.sessions))
	for s := range b.streams {
		s.drain()
	}
	b.mu.Unlock()
	errs := make([]error, len(sessions))
	var ending sync.WaitGroup
	for i, s := range sessions {
		if s.use.streams {
			continue
		}
		s.timer.Stop()
		ending.Go(func() { errs[i] = s.Close(ctx) })
	}
	ending.Wait()
	b.services.close(ctx)
	return errors.Join(errs...)
}

// Close ends all streams and sessions, letting open calls finish. When ctx ends first, what is left is cut.
func (b *Bridge) Close(ctx context.Context) error {
	err := errors.Join(b.Finish(ctx), b.endStreams(ctx, 0))
	stop := context.AfterFunc(ctx, b.cut)
	<-b.empty()
	stop()
	b.mu.Lock()
	sessions := slices.Collect(maps.Values(b.sessions))
	b.mu.Unlock()
	for _, s := range sessions {
		s.timer.Stop()
		err = errors.Join(err, s.Close(ctx))
	}
	b.parting.Wait()
	b.flusher.work.Wait()
	return err
}

// cut cuts the streams that are left.
func (b *Bridge) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.streams {
		s.cut()
	}
}

// drain has the stream end with ErrDraining, whenever it does.
func (s *Stream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drained = true
}

// part ends the stream. What was published before still comes: the answer to the session's goodbye is behind it.
func (s *Stream) part() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drained = true
	if s.sink == nil {
		s.end(ErrDraining)
		return
	}
	s.requests = append(s.requests, &wampcore.Goodbye{Reason: wampcore.CloseRealm})
	s.notify()
}
