package bridge

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// How many invocations a service may have open, and how many more may wait.
const (
	defaultConcurrency = 64
	MaxConcurrency     = 1024
	invocationBacklog  = 256
)

// maxDetached is how many offers may wait for their readers to come back; one more ends at once.
const maxDetached = 1024

// ErrReplaced is why a reader ends whose service has opened another stream.
var ErrReplaced = errors.New("another stream has taken over")

var (
	errServiceAway = &wampcore.Error{URI: wampcore.ErrUnavailable, Message: "the service has gone before it got the call"}
	errServiceLeft = &wampcore.Error{URI: wampcore.ErrCanceled, Message: "the service has gone before it answered"}
)

// OfferRequest is a procedure that an HTTP service offers.
type OfferRequest struct {
	Procedure   wampcore.URI
	Match       wampcore.Match
	Invoke      wampcore.Invoke
	Concurrency int // invocations that are open at once; default 64
}

// offerKey is what has to be equal for a reader to take up what another has left.
type offerKey struct {
	Principal
	OfferRequest
}

// offer is a registration whose invocations a service reads from a stream and answers by requests. It is a session of its
// own, that outlives the stream for a while. services.mu guards it.
type offer struct {
	s            *services
	key          offerKey
	name         string
	session      *client.Session
	registration wampcore.ID

	reader *OfferReader // nil: nobody reads
	last   *time.Timer  // ends it then
	queue  []*notice
	bytes  int
	room   chan struct{} // closed when the queue was taken
	seq    uint64
	open   map[*invocation]struct{}
	err    error // why it is over
}

// Offer registers a procedure for a service that reads its invocations, or goes on with what it has left a moment ago: what
// is open then stays answerable. last is the ID of the last notice that the service has, if it has one: what came after it is
// read again. Close ends the stream.
func (b *Bridge) Offer(ctx context.Context, p Principal, req OfferRequest, last string) (*OfferReader, error) {
	if req.Concurrency <= 0 {
		req.Concurrency = defaultConcurrency
	}
	key := offerKey{p, req}
	if r, _, err := b.services.resume(key, last); r != nil || err != nil {
		return r, err
	}
	o, err := b.register(ctx, key)
	if errors.Is(err, errTaken) { // maybe by the stream that it comes back from, whose end is not noticed yet
		if r, err := b.services.await(ctx, key, last); r != nil || err != nil {
			return r, err
		}
	}
	if err != nil {
		return nil, err
	}
	return b.services.add(o) //nolint:contextcheck // the offer outlives the request
}

var errTaken = &wampcore.Error{URI: wampcore.ErrProcedureAlreadyExists}

// register makes an offer's session and its registration.
func (b *Bridge) register(ctx context.Context, key offerKey) (*offer, error) {
	o := &offer{s: &b.services, key: key, name: rand.Text(), room: make(chan struct{}), open: map[*invocation]struct{}{}}
	session, err := b.own(ctx, key.Principal, func(cfg *client.Config) { //nolint:contextcheck // the session's end outlives who asks for it
		cfg.Concurrency, cfg.Backlog = key.Concurrency, invocationBacklog
		cfg.OnRevoked = func(_ wampcore.MessageType, d wampcore.RevokedDetails) { o.stop(revocation(d)) }
	})
	if err != nil {
		return nil, err
	}
	o.session = session
	reg, err := session.Register(ctx, key.Procedure, o.invoke, wampcore.RegisterOptions{Match: key.Match, Invoke: key.Invoke})
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), joinTimeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("register %s: %w", key.Procedure, err), session.Close(ctx))
	}
	o.registration = reg.ID()
	return o, nil
}

// await waits for a moment for a reader to leave an offer that another may take up.
func (s *services) await(ctx context.Context, key offerKey, last string) (*OfferReader, error) {
	ctx, cancel := context.WithTimeout(ctx, blip)
	defer cancel()
	for {
		r, left, err := s.resume(key, last)
		if r != nil || err != nil || left == nil {
			return r, err
		}
		select {
		case <-left:
		case <-ctx.Done():
			return nil, nil //nolint:nilnil // there is none
		}
	}
}

// resume attaches a reader to an offer without one, or to the one that last names. Where there are only others, it returns what is
// closed when a reader leaves.
func (s *services) resume(key offerKey, last string) (r *OfferReader, left <-chan struct{}, err error) {
	name, read, _ := strings.Cut(last, "-")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, nil, ErrDraining
	}
	var found *offer
	for o := range s.offers {
		if o.err != nil || o.key != key {
			continue
		}
		left = s.left
		if o.name == name {
			found = o
			break
		}
		if o.reader == nil {
			found = o
		}
	}
	if found == nil {
		return nil, left, nil
	}
	if seq, err := strconv.ParseUint(read, 10, 64); err == nil && found.name == name {
		found.again(seq)
	}
	r = found.attach()
	r.resumed = true
	s.stats.Resumed.Add(1)
	return r, nil, nil
}

// again queues what is open and was read after seq, as far as anyone knows.
func (o *offer) again(seq uint64) {
	var lost []*notice
	for inv := range o.open {
		if n := inv.first; n != nil && n.seq > seq && !slices.Contains(o.queue, n) {
			lost = append(lost, n)
			o.bytes += len(n.data)
		}
	}
	o.queue = append(o.queue, lost...)
	slices.SortFunc(o.queue, func(a, b *notice) int { return cmp.Compare(a.seq, b.seq) })
}

func (s *services) add(o *offer) (*OfferReader, error) {
	s.mu.Lock()
	err := o.err // it may be over already
	if s.draining {
		err = ErrDraining
	}
	if err != nil {
		o.err = err
		s.mu.Unlock()
		o.leave(err)
		return nil, err
	}
	defer s.mu.Unlock()
	s.offers[o] = struct{}{}
	context.AfterFunc(doneContext{o.session}, func() { o.stop(o.session.Err()) })
	return o.attach(), nil
}

// attach gives the offer a new reader. mu is held.
func (o *offer) attach() *OfferReader {
	r := &OfferReader{o: o, wake: make(chan struct{}, 1), err: o.err}
	if o.reader != nil {
		o.reader.end(ErrReplaced)
	} else if o.last != nil {
		o.last.Stop()
		o.last = nil
		o.s.detached--
	}
	o.reader = r
	r.notify()
	return r
}

// stop ends the offer and what waits in it.
func (o *offer) stop(err error) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	o.stopLocked(err)
}

func (o *offer) stopLocked(err error) {
	if o.err != nil {
		return
	}
	if o.last != nil {
		o.last.Stop()
		o.last = nil
		o.s.detached--
	}
	o.err = err
	if _, added := o.s.offers[o]; !added {
		return // who adds it will see
	}
	delete(o.s.offers, o)
	if o.reader != nil {
		o.reader.end(err)
	}
	if !errors.Is(err, ErrDraining) { // then they may be answered until the end
		o.abandon()
	}
	o.s.work.Go(func() { o.leave(err) })
}

// abandon answers what is open. mu is held.
func (o *offer) abandon() {
	for inv := range o.open {
		if inv.delivered {
			inv.settle(outcome{err: errServiceLeft})
		} else {
			inv.settle(outcome{err: errServiceAway})
		}
	}
}

// leave ends the session. Where the bridge drains, what is open may still be answered.
func (o *offer) leave(err error) {
	ctx := o.s.life
	if !errors.Is(err, ErrDraining) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, joinTimeout)
		defer cancel()
	}
	_ = o.session.Close(ctx) // what was not answered in time is cut
}

// push queues a notice, when there is room for it.
func (o *offer) push(ctx context.Context, n *notice) error {
	for {
		o.s.mu.Lock()
		if len(o.queue) == 0 || o.bytes+len(n.data) <= o.s.maxBytes {
			break
		}
		room := o.room
		o.s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer o.s.mu.Unlock()
	o.put(n)
	return nil
}

// put queues a notice. mu is held.
func (o *offer) put(n *notice) {
	o.seq++
	n.seq = o.seq
	o.queue = append(o.queue, n)
	o.bytes += len(n.data)
	if o.reader != nil {
		o.reader.notify()
	}
}
