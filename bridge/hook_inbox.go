package bridge

import (
	"sync"
	"time"
)

// delivery is an event on its way to a service.
type delivery struct {
	event

	at    time.Time // it was published, or came
	trace Trace
	size  int
}

// inbox is what came for a hook and waits. Beyond its bound nothing is kept: the router's event history has it.
type inbox struct {
	events, limit int
	wake          chan struct{} // of size 1

	mu     sync.Mutex
	items  []delivery
	bytes  int
	full   bool // what came after the items was not kept
	past   bool // there may be events before the items that are to be read first
	missed int  // that were not kept since the past was read last
}

func newInbox(events, limit int) *inbox {
	return &inbox{events: events, limit: limit, wake: make(chan struct{}, 1)}
}

func (in *inbox) put(d delivery) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := len(in.items)
	if in.full || n > 0 && (n >= in.events || in.bytes+d.size > in.limit) {
		in.full = true
		in.missed++
	} else {
		in.items = append(in.items, d)
		in.bytes += d.size
	}
	in.notify()
}

func (in *inbox) notify() { signal(in.wake) }

// readOn says that events before those that come now may have been missed.
func (in *inbox) readOn() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.past = true
	in.notify()
}

// take returns up to n of what waits. past says instead that the history has to be read first.
func (in *inbox) take(n int) (items []delivery, past bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.past || in.full && len(in.items) == 0 {
		return nil, true
	}
	n = min(n, len(in.items))
	items = append(items, in.items[:n]...)
	clear(in.items[:n])
	if in.items = in.items[n:]; len(in.items) == 0 {
		in.items = nil
	}
	for i := range items {
		in.bytes -= items[i].size
	}
	return items, false
}

// reading begins to keep what comes again: what came before is about to be read from the history, and returned if it would
// come twice. Events that came without a hole since the last time may stay, unless more of the past was read in between than can
// be told apart.
func (in *inbox) reading(again bool) []delivery {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.full && !again {
		return nil
	}
	kept := in.items
	in.items, in.bytes, in.full = nil, 0, false
	return kept
}

// putBack takes what reading returned: there is no history after all.
func (in *inbox) putBack(kept []delivery) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.items = append(kept, in.items...)
	for i := range kept {
		in.bytes += kept[i].size
	}
}

// read says that the past was read up to what came since reading.
func (in *inbox) read() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.past = false
	if !in.full {
		in.missed = 0
	}
}

// caughtUp says that n events of the past were dealt with.
func (in *inbox) caughtUp(n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.missed = max(0, in.missed-n)
}

// lag returns how many events wait, and since when the oldest does.
func (in *inbox) lag() (n int, oldest time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.items) > 0 {
		oldest = in.items[0].at
	}
	return len(in.items) + in.missed, oldest
}
