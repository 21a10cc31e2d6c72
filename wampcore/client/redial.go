package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wampgate/wampgate/wampcore"
)

// ErrDown is why a request fails while there is no session: it was not sent.
var ErrDown = errors.New("client: there is no session with the router")

// RedialConfig says how a Redialer gets its sessions. Dial and Session.Realm are required.
//
// The functions are called by one goroutine, in order. It makes the sessions, so they must not wait for one.
type RedialConfig struct {
	Dial    func(ctx context.Context) (wampcore.Transport, error)
	Session Config

	MinDelay time.Duration // before the first new attempt, plus or minus half; default 200 ms
	MaxDelay time.Duration // that it grows to; default 15 s
	Timeout  time.Duration // of one attempt, and of the router's answers to what is restored; default 10 s

	OnUp   func(*Session) // there is a session, on which everything was registered and subscribed again
	OnDown func(error)    // a session was lost, or an attempt failed: why
	// OnRestored is told that a subscription or registration is back, after a loss: events may have been missed. With an
	// error it is not, and will be tried again.
	OnRestored func(*Standing, error)
	// OnRevoked is told that the router took one away. It comes back with the next session. Called by the session's reader.
	OnRevoked func(*Standing, wampcore.RevokedDetails)
}

func (c RedialConfig) withDefaults() RedialConfig {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.MinDelay, 200 * time.Millisecond}, {&c.MaxDelay, 15 * time.Second}, {&c.Timeout, 10 * time.Second}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if c.OnUp == nil {
		c.OnUp = func(*Session) {}
	}
	if c.OnDown == nil {
		c.OnDown = func(error) {}
	}
	if c.OnRestored == nil {
		c.OnRestored = func(*Standing, error) {}
	}
	if c.OnRevoked == nil {
		c.OnRevoked = func(*Standing, wampcore.RevokedDetails) {}
	}
	return c
}

// Redialer keeps a session with a router: it opens another when one is lost, and registers and subscribes again what
// stands. Requests that were open at a loss fail with ErrClosed, and it is not known what became of them; requests while
// there is no session fail with ErrDown at once. Nothing is queued.
type Redialer struct {
	cfg    RedialConfig
	ctx    context.Context // it is the redialer's lifetime
	cancel context.CancelFunc
	done   chan struct{}
	first  chan struct{} // closed when the first attempt has ended

	sessions sync.WaitGroup // all that there were

	mu       sync.Mutex
	session  *Session // nil: there is none
	err      error    // why
	changed  chan struct{}
	standing []*Standing
}

// Redial starts to open sessions. Close ends that.
func Redial(cfg RedialConfig) *Redialer {
	r := &Redialer{
		cfg: cfg.withDefaults(), done: make(chan struct{}), first: make(chan struct{}), changed: make(chan struct{}),
		err: errors.New("the first attempt has not ended"),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	go r.run() // Close waits for it
	return r
}

// Session returns the open session, or an ErrDown that says why there is none.
func (r *Redialer) Session() (*Session, error) {
	s, _, err := r.current()
	return s, err
}

// current returns also what is closed when there is something else to return.
func (r *Redialer) current() (s *Session, changed <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err = r.err
	if r.session != nil {
		err = r.session.Err()
	}
	if err != nil {
		return nil, r.changed, fmt.Errorf("%w: %w", ErrDown, err)
	}
	return r.session, r.changed, nil
}

// Wait waits for a session until ctx ends: then it returns an ErrDown that says why there is none.
func (r *Redialer) Wait(ctx context.Context) (*Session, error) {
	for {
		s, changed, err := r.current()
		if err == nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-r.done:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Ready waits until the first attempt has ended, and returns what Session does.
func (r *Redialer) Ready(ctx context.Context) (*Session, error) {
	select {
	case <-r.first: // by far the most frequent: ctx need not be looked at
		return r.Session()
	default:
	}
	select {
	case <-r.first:
		return r.Session()
	case <-r.done:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Call calls a procedure on the open session.
func (r *Redialer) Call(
	ctx context.Context, procedure wampcore.URI, p wampcore.Payload, opts wampcore.CallOptions,
) (wampcore.Payload, error) {
	s, err := r.Session()
	if err != nil {
		return wampcore.Payload{}, err
	}
	return s.Call(ctx, procedure, p, opts)
}

// Publish publishes on the open session.
func (r *Redialer) Publish(
	ctx context.Context, topic wampcore.URI, p wampcore.Payload, opts wampcore.PublishOptions,
) (wampcore.ID, error) {
	s, err := r.Session()
	if err != nil {
		return 0, err
	}
	return s.Publish(ctx, topic, p, opts)
}

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

// run opens sessions, one after another. A session that lived for longer than the wait before it was good for something, so
// that the next wait is short again.
func (r *Redialer) run() {
	defer close(r.done)
	delays := r.delays()
	var delay time.Duration
	for {
		lived, err := r.serve()
		if !r.set(nil, err) {
			return
		}
		r.cfg.OnDown(err)
		if lived > delay {
			delays.Reset()
		}
		if delay = delays.NextBackOff(); !pause(r.ctx.Done(), delay) {
			return
		}
	}
}

func (r *Redialer) delays() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: r.cfg.MinDelay, MaxInterval: r.cfg.MaxDelay, Multiplier: 2, RandomizationFactor: 0.5,
	}
}

// pause waits, and reports whether that was not cut short.
func pause(cut <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-cut:
		return false
	}
}

// set tells everybody of a session, or why there is none. It returns false if the redialer was closed.
func (r *Redialer) set(s *Session, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return false
	}
	r.session, r.err = s, err
	close(r.changed)
	r.changed = make(chan struct{})
	select {
	case <-r.first:
	default:
		close(r.first)
	}
	return true
}

// serve opens a session, restores what stands, and returns for how long it lived, and why it is over.
func (r *Redialer) serve() (time.Duration, error) {
	s, err := r.open()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	r.sessions.Go(func() { <-s.Done() }) // its handlers may take longer
	if !r.set(s, nil) {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		return 0, s.Close(ctx)
	}
	failed := r.restore(s)
	if s.Err() == nil {
		r.cfg.OnUp(s)
	}
	for delays := r.delays(); failed && s.Err() == nil && pause(s.ctx.Done(), delays.NextBackOff()); {
		failed = r.restore(s)
	}
	<-s.ctx.Done()
	return time.Since(began), s.Err()
}

func (r *Redialer) open() (*Session, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Timeout)
	defer cancel()
	t, err := r.cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	cfg := r.cfg.Session
	cfg.OnRevoked = func(kind wampcore.MessageType, d wampcore.RevokedDetails) {
		if r.cfg.Session.OnRevoked != nil {
			r.cfg.Session.OnRevoked(kind, d)
		}
		r.revoked(d)
	}
	return Join(ctx, t, cfg)
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

// Close closes the open session in good order, as Session.Close does, and opens no other. It waits for the handlers.
func (r *Redialer) Close(ctx context.Context) error {
	r.mu.Lock()
	r.cancel()
	s := r.session
	r.mu.Unlock()
	var err error
	if s != nil {
		err = s.Close(ctx)
	}
	<-r.done
	r.sessions.Wait()
	return err
}

// Idle reports whether nothing stands, and no request or invocation is open.
func (r *Redialer) Idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.standing) == 0 && (r.session == nil || r.session.Err() != nil || r.session.Idle())
}
