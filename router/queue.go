package router

import (
	"sync"

	"github.com/wampgate/wampgate/wampcore"
)

// messageOverhead is what a queued message counts beside what peers have put into it, in bytes.
const messageOverhead = 64

// queue is what waits to be written to one connection. Anyone may put, nobody blocks; one goroutine at a time writes.
type queue struct {
	maxMessages, maxBytes int

	mu      sync.Mutex
	items   []wampcore.Message
	spare   []wampcore.Message // the writer's: what items was before
	bytes   int
	shared  *sharedQueue // counts for all sessions of a principal, too; nil: there is no limit
	writing bool
	closed  bool          // nothing more may be put
	idle    chan struct{} // closed when writing ends; nil: nobody waits for that
}

// put queues m. It reports whether somebody has to flush, which is then the caller's to see to, and whether the queue
// is full: then m is not queued, and the peer has to be ended.
func (q *queue) put(m wampcore.Message) (flush, full bool) {
	size := messageSize(m)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, false
	}
	if len(q.items) > 0 && (len(q.items) >= q.maxMessages || q.bytes+size > q.maxBytes || q.shared != nil && q.shared.full(size)) {
		return false, true
	}
	if q.shared != nil {
		q.shared.add(1, size)
	}
	flush = len(q.items) == 0 && !q.writing
	q.items = append(q.items, m)
	q.bytes += size
	return flush, false
}

// begin takes over the writing and returns what to write first: nothing if there is nothing, or somebody else is writing.
func (q *queue) begin() []wampcore.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writing || len(q.items) == 0 {
		return nil
	}
	q.writing = true
	return q.take()
}

// next returns the messages to write next, for the one who writes. When there are none, the writing is over.
func (q *queue) next() []wampcore.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.spare)
	if len(q.items) == 0 {
		q.writing = false
		if cap(q.spare) > keepItems { // a burst's memory is not kept for good
			q.spare = nil
		}
		q.rest()
		return nil
	}
	return q.take()
}

func (q *queue) take() []wampcore.Message {
	q.gone()
	q.items, q.spare = q.spare[:0], q.items
	q.bytes = 0
	return q.spare
}

// gone says that nothing waits any more. mu is held.
func (q *queue) gone() {
	if q.shared != nil {
		q.shared.add(-len(q.items), -q.bytes)
	}
}

// share has the queue counted for a principal, nil for none.
func (q *queue) share(with *sharedQueue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shared == with {
		return
	}
	q.gone()
	if q.shared = with; with != nil {
		with.add(len(q.items), q.bytes)
	}
}

// limit sets the bounds.
func (q *queue) limit(messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.maxMessages, q.maxBytes = messages, bytes
}

// size returns what waits to be written.
func (q *queue) size() (messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items), q.bytes
}

// keepItems is how long a queue's list may be to be kept while there is nothing to write.
const keepItems = 64

// fail drops what waits, and what will come: the peer is gone. The one who writes calls it.
func (q *queue) fail() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.gone()
	q.items, q.spare, q.bytes = nil, nil, 0
	q.writing = false
	q.rest()
}

// rest tells who waits for the end of the writing. mu is held.
func (q *queue) rest() {
	if q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}

// close puts the last message, if there is one, and lets nothing more in. With drop, what waits is dropped before.
func (q *queue) close(last wampcore.Message, drop bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.closed = true
	if drop {
		q.gone()
		q.items, q.bytes = nil, 0
	}
	if last != nil {
		q.items = append(q.items, last)
	}
}

// wait waits until nobody writes.
func (q *queue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.writing {
		if q.idle == nil {
			q.idle = make(chan struct{})
		}
		idle := q.idle
		q.mu.Unlock()
		<-idle
		q.mu.Lock()
	}
}

// messageSize is what a message counts while it is queued: all of it that peers have a say in.
func messageSize(m wampcore.Message) int {
	n := messageOverhead
	switch m := m.(type) {
	case *wampcore.Event:
		n += m.Payload.Size() + eventSize(&m.Details)
	case *wampcore.Invocation:
		d := &m.Details
		n += m.Payload.Size() + len(d.Procedure) + len(d.CallerAuthID) + len(d.CallerAuthRole) + d.Passthru.Size() + d.Custom.Size()
	case *wampcore.Result:
		n += m.Payload.Size() + m.Details.Passthru.Size() + m.Details.Custom.Size()
	case *wampcore.ErrorMsg:
		n += m.Payload.Size() + len(m.URI) + m.Details.Passthru.Size() + m.Details.Custom.Size()
	case *wampcore.Unsubscribed:
		n += len(m.Details.Reason)
	case *wampcore.Unregistered:
		n += len(m.Details.Reason)
	}
	return n
}

func eventSize(d *wampcore.EventDetails) int {
	return len(d.Topic) + len(d.PublisherAuthID) + len(d.PublisherAuthRole) + d.Passthru.Size() + d.Custom.Size()
}

// batch is a list of the connections that its owner has queued messages for and has to flush, once no lock is held.
type batch struct {
	touched []*conn
}

// send queues m for s. It never blocks: a peer that cannot keep up is ended.
func (b *batch) send(s *session, m wampcore.Message) { b.tell(s.conn, m) }

// tell is send for a peer that may have no session.
func (b *batch) tell(c *conn, m wampcore.Message) {
	flush, full := c.out.put(m)
	switch {
	case full:
		c.stop(errSlow)
	case flush:
		b.touched = append(b.touched, c)
	}
}

func (b *batch) flush() {
	for i, c := range b.touched {
		c.flush()
		b.touched[i] = nil
	}
	b.touched = b.touched[:0]
}
