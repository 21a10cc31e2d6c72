package client

import (
	"context"
	"errors"
	"fmt"
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

// Close closes the open session in good order, as Session.Close does, and opens no other. It waits for the handlers, even
// when ctx has ended: so have their contexts then.
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
