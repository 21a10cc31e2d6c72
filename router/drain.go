package router

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wampgate/wampgate/internal/pace"
	"github.com/wampgate/wampgate/wampcore"
)

var errLeaving = &wampcore.Error{URI: wampcore.ErrUnavailable, Message: "the router shuts down"}

// Drain has sessions leave without loss, each at a moment of its own within the window: it loses its registrations, may make no
// more calls, gets the answers to those that it has made, gives those that it owes, and then its GOODBYE. New sessions are refused. Peers in
// this process stay, and those for which stays, if it is not nil, is true. Drain returns when all others are gone, or with ctx's error when that
// ends: those who still have calls open then leave when they are answered, or by Finish or Shutdown.
func (r *Router) Drain(ctx context.Context, window time.Duration, stays func(Peer) bool) error {
	leaving := r.closeTo(func(p Peer) bool { return p.Transport == pipe || stays != nil && stays(p) }, false)
	if leaving == nil {
		return errShutdown
	}
	err := pace.Over(ctx, window, len(leaving.sessions), func(i int) { leaving.sessions[i].realm.seeOff(leaving.sessions[i]) })
	if err != nil {
		return err
	}
	return leaving.wait(ctx)
}

// Finish takes nothing new, neither peers nor calls nor publications, lets the calls that are open be answered, and has all sessions leave. What
// was acknowledged reaches all who subscribe to it. Finish returns when all are gone, or with ctx's error when that ends: the rest is for Shutdown.
func (r *Router) Finish(ctx context.Context) error {
	leaving := r.closeTo(func(Peer) bool { return false }, true)
	for _, s := range leaving.sessions {
		s.realm.seeOff(s)
	}
	return leaving.wait(ctx)
}

// door is who may come in, and whether anything new is done.
type door struct {
	stays  func(Peer) bool // nil: everybody may
	closed bool
}

func (d *door) open(p Peer) bool { return d.stays == nil || d.stays(p) }

// leaving are the peers that have to go.
type leaving struct {
	router   *Router
	sessions []*session // in no order
	conns    map[*conn]struct{}
	gone     chan struct{} // closed when conns is empty
}

// closeTo refuses new sessions of all peers but those that stay, and returns those that have to go; nil where
// all have to already. What has no session is ended at once.
func (r *Router) closeTo(stays func(Peer) bool, whole bool) *leaving {
	l := &leaving{router: r, conns: map[*conn]struct{}{}, gone: make(chan struct{})}
	r.mu.Lock()
	if !whole && r.door.Load().closed {
		r.mu.Unlock()
		return nil
	}
	r.door.Store(&door{stays, whole})
	realms := slices.Collect(maps.Values(r.realms))
	r.mu.Unlock()
	for _, realm := range realms {
		realm.mu.Lock() // who joins later finds the door as it is now
		for _, s := range realm.sessions {
			if !stays(s.conn.peer) {
				l.sessions = append(l.sessions, s)
				l.conns[s.conn] = struct{}{}
			}
		}
		realm.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range l.conns {
		if _, there := r.conns[c]; !there {
			delete(l.conns, c)
		}
	}
	for c := range r.conns {
		if _, has := l.conns[c]; !has && !stays(c.peer) {
			c.stop(errShutdown)
			l.conns[c] = struct{}{}
		}
	}
	r.leaving = append(r.leaving, l)
	l.check()
	return l
}

// check tells when all are gone. Router.mu is held.
func (l *leaving) check() {
	if len(l.conns) == 0 && l.gone != nil {
		close(l.gone)
		l.gone = nil
	}
}

// wait waits until all are gone.
func (l *leaving) wait(ctx context.Context) error {
	l.router.mu.Lock()
	gone := l.gone
	l.router.mu.Unlock()
	if gone == nil {
		return nil
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// seeOff has a session leave as soon as it has nothing open.
func (r *realm) seeOff(s *session) {
	var b batch
	r.mu.Lock()
	if r.sessions[s.id] == s {
		s.leaving = true
		for _, reg := range s.registrations {
			r.dealer.revoke(&b, s, reg, "the router shuts down")
		}
		s.rest()
	} else { // it has left, and its peer may want to come back
		s.conn.stop(errShutdown)
	}
	r.mu.Unlock()
	b.flush()
}

// rest ends a session that is to leave if it has nothing open. The realm's lock is held.
func (s *session) rest() {
	if s.leaving && len(s.calls) == 0 && len(s.invocations) == 0 {
		s.conn.stop(errShutdown)
	}
}
