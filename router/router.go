package router

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/wampgate/wampgate/wampcore"
)

// Peer is what is known of the other end of a transport.
type Peer struct {
	Transport string            // websocket, rawsocket, longpoll, pipe
	Encoding  wampcore.Encoding // none for a pipe
	Address   string
	Methods   []string             // of authentication that count where it came in; empty: all that the realm has
	TLS       *tls.ConnectionState // nil: there is none. Of a peer that polls it is that of its first request
}

// pipe is the transport of peers in this process.
const pipe = "pipe"

// Router attaches peers to realms.
type Router struct {
	cfg      Config
	policies atomic.Pointer[policies] // changed under mu, read without

	reconfiguring sync.Mutex // taken before all other locks

	callers  callers
	counters counters

	complaints rate.Sometimes // about what peers can have happen as often as they like
	refusals   rate.Sometimes // are logged apart: whoever guesses does not hide what fails
	made       time.Time
	door       atomic.Pointer[door] // changed by Drain and Finish

	mu        sync.Mutex
	past      tally // of realms that are gone
	realms    map[wampcore.URI]*realm
	conns     map[*conn]struct{}
	strangers map[net.Conn]struct{} // whose handshake is not done
	closing   bool
	leaving   []*leaving     // of each Drain and Finish
	peers     sync.WaitGroup // added to while not closing
}

// New returns a router with no peers.
func New(cfg Config) (*Router, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Router{
		cfg:       cfg.withDefaults(),
		made:      time.Now(),
		realms:    map[wampcore.URI]*realm{},
		conns:     map[*conn]struct{}{},
		strangers: map[net.Conn]struct{}{},
		// A log that somebody else fills is no use.
		complaints: rate.Sometimes{First: 10, Interval: time.Second},
		refusals:   rate.Sometimes{First: 10, Interval: time.Second},
	}
	r.door.Store(new(door))
	r.apply(&batch{}, newPolicies(cfg.Realms))
	return r, nil
}

// clock tells the time since the router was made.
func (r *Router) clock() time.Duration { return time.Since(r.made) }

// Attach serves the sessions of t, one after another, until it is over. It closes t. The error says why: nil if the peer
// left in good order.
func (r *Router) Attach(t wampcore.Transport, peer Peer) error { return r.attach(t, peer, nil) }

func (r *Router) attach(t wampcore.Transport, peer Peer, v *vouched) error {
	var id *Identity
	if v != nil {
		defer v.over()
		id = &v.id
	}
	c := r.admit(t, peer, id)
	if c == nil {
		_ = t.Close(0)
		return errShutdown
	}
	defer r.release(c)
	if v != nil {
		defer context.AfterFunc(v.until, func() { c.stop(errExpired) })()
	}
	return c.serve()
}

// AttachResting is Attach for a transport that does not wait for messages. Each call of serve, one at a time, serves those that are here; with
// ErrResting there is to be another one when there are more, or Interrupt was called. With an identity the program vouches for the peer.
func (r *Router) AttachResting(t wampcore.Transport, peer Peer, id *Identity) (serve func() error) {
	c := r.admit(t, peer, id)
	if c == nil {
		_ = t.Close(0)
		return func() error { return errShutdown }
	}
	return func() error {
		err := c.serve()
		if !errors.Is(err, wampcore.ErrResting) {
			r.release(c)
		}
		return err
	}
}

// Dial attaches an in-process peer, which is a peer like any other.
func (r *Router) Dial() wampcore.Transport { return r.dial(nil) }

// DialAs attaches an in-process peer that has this identity without authentication: the program vouches for it.
func (r *Router) DialAs(id Identity) wampcore.Transport { return r.dial(&id) }

func (r *Router) dial(id *Identity) wampcore.Transport {
	near, far := wampcore.Pipe()
	c := r.admit(far, Peer{Transport: pipe}, id)
	if c == nil {
		_ = far.Close(0)
		return near
	}
	go func() { // waited for by Shutdown, through release
		defer r.release(c)
		_ = c.serve()
	}()
	return near
}

func (r *Router) admit(t wampcore.Transport, peer Peer, id *Identity) *conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return nil
	}
	c := newConn(r, t, peer)
	c.identity = id
	r.conns[c] = struct{}{}
	r.peers.Add(1)
	return c
}

// complain logs, but not each time.
func (r *Router) complain(log func()) { r.complaints.Do(log) }

func (r *Router) release(c *conn) {
	r.mu.Lock()
	delete(r.conns, c)
	for _, l := range r.leaving {
		delete(l.conns, c)
		l.check()
	}
	r.mu.Unlock()
	r.peers.Done()
}

// Shutdown ends every session with GOODBYE wamp.close.system_shutdown and waits until all are gone. When ctx ends first,
// what is left is cut, and Shutdown returns its error. New peers are refused from the first call on.
func (r *Router) Shutdown(ctx context.Context) error {
	r.each(func(c *conn) { c.stop(errShutdown) })
	r.hurry()
	gone := make(chan struct{})
	go func() {
		r.peers.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		r.callers.wait()
		return nil
	case <-ctx.Done():
		r.each(func(c *conn) { _ = c.t.Close(0) })
		<-gone
		r.callers.wait()
		return context.Cause(ctx)
	}
}

// hurry ends the handshakes that are not done.
func (r *Router) hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for nc := range r.strangers {
		_ = nc.Close()
	}
}

// each closes the router to new peers and does f for every one that is attached.
func (r *Router) each(f func(*conn)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
	for c := range r.conns {
		f(c)
	}
}
