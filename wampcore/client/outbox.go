package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/wampgate/wampgate/wampcore"
)

// maxQueued is how many messages may wait before those who have more to send are made to wait.
const maxQueued = 1024

// outbox is what waits to be written. Whoever has put something flushes, unless somebody does already.
type outbox struct {
	t    wampcore.Transport
	fail context.CancelCauseFunc

	mu      sync.Mutex
	changed sync.Cond // the queue got shorter, or the writing ended
	items   []wampcore.Message
	spare   []wampcore.Message
	writing bool
	closed  bool // the last message is queued
	failed  error
}

func (o *outbox) init(t wampcore.Transport, fail context.CancelCauseFunc) {
	o.t, o.fail = t, fail
	o.changed.L = &o.mu
}

// room waits until there is room for one more.
func (o *outbox) room(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.items) < maxQueued {
		return context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock() // else the wake-up may come between a look at ctx and Wait, and be lost
		defer o.mu.Unlock()
		o.changed.Broadcast()
	})
	defer stop()
	for len(o.items) >= maxQueued && o.failed == nil && ctx.Err() == nil {
		o.changed.Wait()
	}
	return context.Cause(ctx)
}

// put queues m and flushes.
func (o *outbox) put(m wampcore.Message) {
	o.queue(m)
	o.flush()
}

// last queues the last message and flushes: what is put later is dropped.
func (o *outbox) last(m wampcore.Message) {
	o.mu.Lock()
	if o.failed == nil && !o.closed {
		o.items = append(o.items, m)
	}
	o.closed = true
	o.mu.Unlock()
	o.flush()
}

// queue never waits: answers go past the bound, by no more than the number of invocations that run; the reader waits for
// room before it starts another.
func (o *outbox) queue(m wampcore.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil && !o.closed {
		o.items = append(o.items, m)
	}
}

// flush writes what is queued. It does not wait for the router: a goroutine does, if that has to be.
func (o *outbox) flush() {
	o.mu.Lock()
	if o.writing || len(o.items) == 0 {
		o.mu.Unlock()
		return
	}
	o.writing = true
	o.mu.Unlock()
	if !o.write() {
		go func() { // wait waits for it
			for o.ok(o.t.Flush()) && !o.write() {
			}
		}()
	}
}

// write writes until nothing is left, or until the transport has to be waited for: then it returns false.
func (o *outbox) write() bool {
	for {
		o.mu.Lock()
		clear(o.spare)
		if len(o.items) == 0 || o.failed != nil {
			o.writing = false
			o.changed.Broadcast()
			o.mu.Unlock()
			return true
		}
		o.items, o.spare = o.spare[:0], o.items
		o.changed.Broadcast()
		ms := o.spare
		o.mu.Unlock()
		sent, err := o.t.Write(ms)
		if !o.ok(err) {
			return true
		}
		if !sent {
			return false
		}
	}
}

func (o *outbox) ok(err error) bool {
	if err == nil {
		return true
	}
	o.mu.Lock()
	o.failed, o.items, o.writing = err, nil, false
	o.changed.Broadcast()
	o.mu.Unlock()
	o.fail(fmt.Errorf("send: %w", err))
	return false
}

// wait waits until nobody writes.
func (o *outbox) wait() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing {
		o.changed.Wait()
	}
}
