package bridge

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

type notice struct {
	seq  uint64
	inv  *invocation
	kind string
	data []byte
}

// The kinds of notices.
const (
	noticeInvocation = "invocation"
	noticeInterrupt  = "interrupt"
)

// Notice is what the reader of an offer gets: an invocation, or the word that one is over.
type Notice struct {
	Kind string // invocation or interrupt
	ID   string // says that everything up to here was read
	Data []byte // a JSON object
}

// OfferReader reads an offer's invocations. There is one at a time.
type OfferReader struct {
	o       *offer
	resumed bool
	wake    chan struct{} // of size 1
	err     error         // why it is over; guarded by services.mu
}

// end makes Next return err. mu is held.
func (r *OfferReader) end(err error) {
	if r.err == nil {
		r.err = err
		r.notify()
	}
}

func (r *OfferReader) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Ready is what a service is told when its stream begins: the offer, and which invocations wait for its answer that it
// has already read.
func (r *OfferReader) Ready() (id string, data []byte) {
	o := r.o
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	said := struct {
		Stream       string      `json:"stream"`
		Resume       string      `json:"resume"`
		Registration wampcore.ID `json:"registration"`
		Open         []string    `json:"open"`
	}{strconv.FormatUint(uint64(o.session.ID()), 10), "live", o.registration, []string{}}
	if r.resumed {
		said.Resume = "resumed"
	}
	for inv := range o.open {
		if inv.delivered && !slices.Contains(o.queue, inv.first) {
			said.Open = append(said.Open, inv.id)
		}
	}
	read := o.seq
	if len(o.queue) > 0 {
		read = o.queue[0].seq - 1
	}
	slices.Sort(said.Open)
	data, err := json.Marshal(said)
	if err != nil { // it cannot be
		return "", nil
	}
	return o.name + "-" + strconv.FormatUint(read, 10), data
}

// Next waits for something to read and returns all that waits. When ctx ends first, Next returns its error.
func (r *OfferReader) Next(ctx context.Context) ([]Notice, error) {
	for {
		if all, err := r.take(); len(all) > 0 || err != nil {
			return all, err
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (r *OfferReader) take() ([]Notice, error) {
	o := r.o
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if r.err != nil || len(o.queue) == 0 {
		return nil, r.err
	}
	all := make([]Notice, len(o.queue))
	for i, n := range o.queue {
		all[i] = Notice{n.kind, o.name + "-" + strconv.FormatUint(n.seq, 10), n.data}
		n.inv.delivered = true
	}
	o.queue, o.bytes = nil, 0
	close(o.room)
	o.room = make(chan struct{})
	return all, nil
}

// Close leaves the offer: it ends after a while, if no other reader comes.
func (r *OfferReader) Close() {
	o := r.o
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if o.reader != r {
		return
	}
	o.reader = nil
	close(o.s.left)
	o.s.left = make(chan struct{})
	if o.err != nil {
		return
	}
	for inv := range o.open {
		if inv.delivered && inv.first == nil { // the rest of it would find nobody
			inv.settle(outcome{err: errServiceLeft})
		}
	}
	if o.s.detached >= maxDetached {
		o.stopLocked(errServiceAway)
		return
	}
	o.s.detached++
	o.last = time.AfterFunc(o.s.grace, func() {
		o.s.stats.Expired.Add(1)
		o.stop(errServiceAway)
	})
}
