package client

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/wampgate/wampgate/wampcore"
)

// Standing is a subscription or registration that outlives sessions.
type Standing struct {
	r      *Redialer
	uri    wampcore.URI
	attach func(ctx context.Context, s *Session, agreed func(wampcore.ID)) (attachment, error)

	busy  sync.Mutex // held by who talks to the router about it
	ended bool       // guarded by busy

	mu      sync.Mutex // the reader of the session takes it
	session *Session   // that it is attached to
	id      wampcore.ID
	there   attachment
}

// attachment is a subscription or registration of one session.
type attachment struct {
	end  func(context.Context) error
	over func() bool
}

// URI returns the topic or procedure, or the pattern.
func (st *Standing) URI() wampcore.URI { return st.uri }

// Attached returns the session that it is attached to, or was before that was lost, and its id there.
func (st *Standing) Attached() (*Session, wampcore.ID) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.session, st.id
}

// Revoked reports whether the router took it away on the session that it is attached to. OnRevoked may have been called before whoever
// made it knew of it.
func (st *Standing) Revoked() bool {
	st.mu.Lock()
	there := st.there
	st.mu.Unlock()
	return there.over != nil && there.over()
}

// Subscribe subscribes on the open session, for which it waits until ctx ends, and on all that follow. What the router
// refuses now does not stand.
func (r *Redialer) Subscribe(
	ctx context.Context, topic wampcore.URI, h EventHandler, opts wampcore.SubscribeOptions,
) (*Standing, error) {
	return r.subscribe(ctx, topic, opts, func(s *Session) *Subscription { return &Subscription{s: s, handler: h} })
}

// Watch is Subscribe with a handler that is called as Session.Watch has it.
func (r *Redialer) Watch(
	ctx context.Context, topic wampcore.URI, h func(*wampcore.Event), opts wampcore.SubscribeOptions,
) (*Standing, error) {
	return r.subscribe(ctx, topic, opts, func(s *Session) *Subscription { return &Subscription{s: s, direct: h} })
}

func (r *Redialer) subscribe(
	ctx context.Context, topic wampcore.URI, opts wampcore.SubscribeOptions, share func(*Session) *Subscription,
) (*Standing, error) {
	attach := func(ctx context.Context, s *Session, agreed func(wampcore.ID)) (attachment, error) {
		sub, err := s.subscribe(ctx, topic, share(s), opts, agreed)
		if err != nil {
			return attachment{}, err
		}
		return attachment{sub.Unsubscribe, sub.over}, nil
	}
	return r.stand(ctx, &Standing{r: r, uri: topic, attach: attach})
}

// Register offers a procedure on the open session, for which it waits until ctx ends, and on all that follow. What the router
// refuses now does not stand.
func (r *Redialer) Register(
	ctx context.Context, procedure wampcore.URI, h InvocationHandler, opts wampcore.RegisterOptions,
) (*Standing, error) {
	attach := func(ctx context.Context, s *Session, agreed func(wampcore.ID)) (attachment, error) {
		reg, err := s.register(ctx, procedure, h, opts, agreed)
		if err != nil {
			return attachment{}, err
		}
		return attachment{reg.Unregister, reg.over}, nil
	}
	return r.stand(ctx, &Standing{r: r, uri: procedure, attach: attach})
}

var errRevoked = &wampcore.Error{URI: wampcore.ErrNotAuthorized, Message: "the router took it away"}

func (r *Redialer) stand(ctx context.Context, st *Standing) (*Standing, error) {
	for {
		s, err := r.Wait(ctx)
		if err == nil {
			_, err = st.attachTo(ctx, s)
		}
		kept := err == nil && r.keep(st, s)
		if kept && st.Revoked() { // before it was known that it stands
			kept, err = false, errRevoked
		}
		switch {
		case kept:
			return st, nil
		case err == nil, s != nil && s.Err() != nil && ctx.Err() == nil: // there is another session, or will be
		default:
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Timeout)
			defer cancel()
			return nil, errors.Join(err, st.End(ctx))
		}
	}
}

// keep adds what is attached to s to what stands. It returns false if a session has come after s, which may not know of it.
func (r *Redialer) keep(st *Standing, s *Session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.standing, st) {
		r.standing = append(slices.Clone(r.standing), st)
	}
	return r.session == s || r.session == nil
}

// attachTo attaches it to a session, unless that was done. It reports whether it did so now, after another session.
func (st *Standing) attachTo(ctx context.Context, s *Session) (bool, error) {
	st.busy.Lock()
	defer st.busy.Unlock()
	if st.ended || st.session == s {
		return false, nil
	}
	again := st.session != nil
	there, err := st.attach(ctx, s, func(id wampcore.ID) {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.session, st.id = s, id
	})
	if err != nil {
		return false, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.there = there
	return again, nil
}

// End takes it back, here and now if there is a session.
func (st *Standing) End(ctx context.Context) error {
	st.r.forget(st)
	st.busy.Lock()
	defer st.busy.Unlock()
	before := st.ended
	st.ended = true
	if before || st.session == nil || st.session.Err() != nil || st.Revoked() {
		return nil
	}
	return st.there.end(ctx)
}

func (r *Redialer) forget(st *Standing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.standing = slices.DeleteFunc(slices.Clone(r.standing), func(o *Standing) bool { return o == st })
}

func (r *Redialer) revoked(d wampcore.RevokedDetails) {
	r.mu.Lock()
	standing := r.standing
	r.mu.Unlock()
	for _, st := range standing {
		st.mu.Lock()
		own := st.id == d.ID && st.session != nil && st.session.Err() == nil
		st.mu.Unlock()
		if own {
			r.cfg.OnRevoked(st, d)
		}
	}
}

// restoring is how many requests are open while things are restored.
const restoring = 32

// restore attaches what stands to a new session. It reports whether there is something that the router refused.
func (r *Redialer) restore(s *Session) (failed bool) {
	r.mu.Lock()
	standing := r.standing
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Timeout)
	defer cancel()
	type outcome struct {
		restored bool
		err      error
	}
	outcomes := make([]outcome, len(standing))
	var work sync.WaitGroup
	slots := make(chan struct{}, restoring)
	for i, st := range standing {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			restored, err := st.attachTo(ctx, s)
			outcomes[i] = outcome{restored, err}
		})
	}
	work.Wait()
	if s.Err() != nil {
		return false
	}
	for i, o := range outcomes {
		if o.restored || o.err != nil {
			r.cfg.OnRestored(standing[i], o.err)
		}
		failed = failed || o.err != nil
	}
	return failed
}
