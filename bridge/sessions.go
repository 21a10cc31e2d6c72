package bridge

import (
	linked "container/list"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// ErrBusy is why a request is refused whose principal has no session, when there are as many as there may be, and all at work.
var ErrBusy = errors.New("as many principals are at work as there may be at once")

// use is what a session is for. Streams do not share the one of the calls and publications: a router does not give a session
// what that has published itself.
type use struct {
	Principal

	streams bool
}

// shared is the session of a principal's calls and publications, or of its streams: made on first use, again after a loss, and
// ended when it was not used for a while.
type shared struct {
	*client.Redialer

	use use

	// Guarded by Bridge.mu.
	used    time.Time
	waiting int             // requests that wait for it
	timer   *time.Timer     // looks whether it is used
	place   *linked.Element // in Bridge.recent
}

// Keep opens a principal's session now, and for as long as it takes: Up tells.
func (b *Bridge) Keep(p Principal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.draining {
		b.kept[p] = true
		_, _ = b.shared(use{Principal: p}) // there is room: nobody asks before
	}
}

// Up reports whether a principal has a session.
func (b *Bridge) Up(p Principal) bool {
	b.mu.Lock()
	s := b.sessions[use{Principal: p}]
	b.mu.Unlock()
	if s == nil {
		return false
	}
	_, err := s.Session()
	return err == nil
}

// shared returns what has a session. mu is held.
func (b *Bridge) shared(u use) (*shared, error) {
	if s := b.sessions[u]; s != nil {
		s.used = time.Now()
		b.recent.MoveToFront(s.place)
		return s, nil
	}
	if len(b.sessions) >= b.cfg.MaxSessions && !b.makeRoom() {
		return nil, ErrBusy
	}
	s := &shared{Redialer: b.redialer(u), use: u, used: time.Now()}
	s.timer = time.AfterFunc(b.cfg.SessionIdle, func() { b.rest(s) })
	s.place = b.recent.PushFront(s)
	b.sessions[u] = s
	return s, nil
}

func (b *Bridge) redialer(u use) *client.Redialer {
	cfg := client.RedialConfig{
		Dial:       func(ctx context.Context) (wampcore.Transport, error) { return b.cfg.Dial(ctx, u.Principal) },
		Session:    b.cfg.Login.session(u.Principal),
		Timeout:    joinTimeout,
		OnRestored: b.restored,
		OnRevoked:  b.revoked,
	}
	if !u.streams {
		cfg.OnUp = func(*client.Session) { b.cfg.OnUp(u.Principal) }
		cfg.OnDown = func(err error) { b.cfg.OnDown(u.Principal, err) }
	} else {
		cfg.OnDown = func(error) { b.lost(u.Principal) }
	}
	return client.Redial(cfg)
}

// atRest is for how long a session that is to make room for another has to be unused: whoever was given it has sent its request
// by then.
const atRest = time.Second

// makeRoom ends the session that was not used for the longest time, of those that nobody uses. mu is held.
func (b *Bridge) makeRoom() bool {
	for e := b.recent.Back(); e != nil; e = e.Prev() {
		s, _ := e.Value.(*shared)
		if time.Since(s.used) < atRest {
			return false
		}
		if b.unused(s) {
			b.part(s)
			return true
		}
	}
	return false
}

func (b *Bridge) unused(s *shared) bool {
	return !b.kept[s.use.Principal] && s.waiting == 0 && s.Idle()
}

// rest ends a session that was not used for a while.
func (b *Bridge) rest(s *shared) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.cfg.SessionIdle - time.Since(s.used)
	switch {
	case b.draining || b.sessions[s.use] != s:
	case left > 0:
		s.timer.Reset(left)
	case b.unused(s):
		b.part(s)
	default:
		s.timer.Reset(b.cfg.SessionIdle)
	}
}

// part forgets a session, and ends it without waiting. mu is held.
func (b *Bridge) part(s *shared) {
	s.timer.Stop()
	b.recent.Remove(s.place)
	delete(b.sessions, s.use)
	b.parting.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), joinTimeout)
		defer cancel()
		_ = s.Close(ctx)
	})
}

// blip is how long a request waits for a session that was lost.
const blip = 500 * time.Millisecond

// session returns the session of a principal's calls and publications. The first who wants it has it opened; the others wait for
// that. A principal that the router refuses is forgotten, unless it is kept.
func (b *Bridge) session(ctx context.Context, p Principal) (*client.Session, error) {
	s, _, err := b.join(ctx, use{Principal: p})
	return s, err
}

func (b *Bridge) join(ctx context.Context, u use) (*client.Session, *client.Redialer, error) {
	b.mu.Lock()
	if b.draining {
		b.mu.Unlock()
		return nil, nil, ErrDraining
	}
	sh, err := b.shared(u) //nolint:contextcheck // it outlives the request
	if err != nil {
		b.mu.Unlock()
		return nil, nil, err
	}
	sh.waiting++
	kept := b.kept[u.Principal]
	b.mu.Unlock()
	defer b.joined(sh)
	s, err := sh.Ready(ctx)
	if refusal, ok := errors.AsType[*wampcore.Error](err); ok && isRefusal(refusal.URI, kept) {
		if !kept {
			b.forget(sh) //nolint:contextcheck // it has no session
		}
		return nil, nil, refusal
	}
	if errors.Is(err, client.ErrDown) {
		waiting, cancel := context.WithTimeout(ctx, blip)
		defer cancel()
		s, err = sh.Wait(waiting)
	}
	return s, sh.Redialer, err
}

func (b *Bridge) joined(s *shared) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.waiting--
	s.used = time.Now()
}

// isRefusal reports whether a router says by an error that it does not want this principal, so that asking again is no use. What
// is kept is the gateway's own affair, but for its realm.
func isRefusal(uri wampcore.URI, kept bool) bool {
	return uri == wampcore.ErrNoSuchRealm || !kept && slices.Contains([]wampcore.URI{
		wampcore.ErrInvalidURI, wampcore.ErrNoMatchingAuthMethod, wampcore.ErrNoSuchPrincipal, wampcore.ErrNoSuchRole, wampcore.ErrNotAuthorized,
		wampcore.ErrAuthenticationDenied, wampcore.ErrAuthenticationRequired, wampcore.ErrAuthenticationFailed,
		wampcore.ErrAuthorizationDenied, wampcore.ErrAuthorizationRequired, wampcore.ErrAuthorizationFailed, wampcore.ErrLimitExceeded,
	}, uri)
}

func (b *Bridge) forget(s *shared) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sessions[s.use] == s && !b.draining {
		b.part(s)
	}
}

// doneContext is over when a session is.
type doneContext struct{ s *client.Session }

func (doneContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c doneContext) Done() <-chan struct{}     { return c.s.Done() }
func (doneContext) Value(any) any               { return nil }

func (c doneContext) Err() error {
	if c.s.Err() != nil {
		return context.Canceled
	}
	return nil
}
