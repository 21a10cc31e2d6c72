package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// ErrDraining is why requests are refused, and streams end, when the bridge closes.
var ErrDraining = errors.New("the gateway shuts down")

// Config says how the bridge reaches a router. Dial is required.
type Config struct {
	Dial         func(ctx context.Context, p Principal) (wampcore.Transport, error)
	Shared       bool // the streams of a principal share a session, as is right for a router elsewhere; else each has its own
	StreamEvents int  // that wait for one stream's reader; default 1024
	StreamBytes  int  // the same in bytes; default 4 MiB

	OnUp   func(p Principal)          // a principal has a session, also after a loss; optional
	OnDown func(p Principal, _ error) // it was lost, or an attempt to open it failed; optional

	Observer Observer // optional
}

// Bridge does what HTTP requests ask for. Its methods may be called by any number of goroutines.
type Bridge struct {
	cfg Config

	mu       sync.Mutex
	sessions map[use]*client.Redialer // only those that were joined, or are kept
	kept     map[Principal]bool
	streams  map[*Stream]struct{}
	standing map[*client.Standing]*Stream // of streams that share a session
	draining bool
}

// use is what a session is for. Streams do not share the one of the calls and publications: a router does not give a session
// what that has published itself.
type use struct {
	Principal

	streams bool
}

// New returns a bridge without sessions.
func New(cfg Config) *Bridge {
	if cfg.StreamEvents <= 0 {
		cfg.StreamEvents = 1024
	}
	if cfg.StreamBytes <= 0 {
		cfg.StreamBytes = 4 << 20
	}
	if cfg.OnUp == nil {
		cfg.OnUp = func(Principal) {}
	}
	if cfg.OnDown == nil {
		cfg.OnDown = func(Principal, error) {}
	}
	return &Bridge{
		cfg: cfg, sessions: map[use]*client.Redialer{}, kept: map[Principal]bool{},
		streams: map[*Stream]struct{}{}, standing: map[*client.Standing]*Stream{},
	}
}

// Call calls a procedure. What fails is a *wampcore.Error.
func (b *Bridge) Call(ctx context.Context, p Principal, procedure wampcore.URI, req CallRequest) (wampcore.Payload, error) {
	ctx, trace, done := b.observe(ctx, Operation{Calling, procedure}, Trace{})
	req.Options.Custom = trace.in(req.Options.Custom)
	s, err := b.session(ctx, p)
	if err != nil {
		return wampcore.Payload{}, done(err)
	}
	result, err := s.Call(ctx, procedure, req.Payload, req.Options)
	return result, done(err)
}

// Publish publishes and returns the publication's id, 0 where it is not acknowledged.
func (b *Bridge) Publish(ctx context.Context, p Principal, topic wampcore.URI, req PublishRequest) (wampcore.ID, error) {
	ctx, trace, done := b.observe(ctx, Operation{Publishing, topic}, Trace{})
	req.Options.Custom = trace.in(req.Options.Custom)
	s, err := b.session(ctx, p)
	if err != nil {
		return 0, done(err)
	}
	id, err := s.Publish(ctx, topic, req.Payload, req.Options)
	return id, done(err)
}

// Keep opens a principal's session now, and for as long as it takes: Up tells.
func (b *Bridge) Keep(p Principal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.draining {
		b.kept[p] = true
		b.redialer(use{Principal: p})
	}
}

// Up reports whether a principal has a session.
func (b *Bridge) Up(p Principal) bool {
	b.mu.Lock()
	r := b.sessions[use{Principal: p}]
	b.mu.Unlock()
	if r == nil {
		return false
	}
	_, err := r.Session()
	return err == nil
}

// redialer returns what has a session. mu is held.
func (b *Bridge) redialer(u use) *client.Redialer {
	if r := b.sessions[u]; r != nil {
		return r
	}
	cfg := client.RedialConfig{
		Dial:       func(ctx context.Context) (wampcore.Transport, error) { return b.cfg.Dial(ctx, u.Principal) },
		Session:    client.Config{Realm: u.Realm, Agent: agent},
		Timeout:    joinTimeout,
		OnRestored: b.restored,
		OnRevoked:  b.revoked,
	}
	if !u.streams {
		cfg.OnUp = func(*client.Session) { b.cfg.OnUp(u.Principal) }
		cfg.OnDown = func(err error) { b.cfg.OnDown(u.Principal, err) }
	}
	r := client.Redial(cfg)
	b.sessions[u] = r
	return r
}

// blip is how long a request waits for a session that was lost.
const blip = 500 * time.Millisecond

// session returns the session of a principal's calls and publications. The first who wants it has it opened; the others wait for
// that. A realm that the router refuses is forgotten, unless it is kept.
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
	r := b.redialer(u) //nolint:contextcheck // it outlives the request
	kept := b.kept[u.Principal]
	b.mu.Unlock()
	s, err := r.Ready(ctx)
	if refusal, ok := errors.AsType[*wampcore.Error](err); ok && refusal.URI == wampcore.ErrNoSuchRealm {
		if !kept {
			b.forget(u, r) //nolint:contextcheck // it has no session: it does not wait
		}
		return nil, nil, refusal
	}
	if errors.Is(err, client.ErrDown) {
		waiting, cancel := context.WithTimeout(ctx, blip)
		defer cancel()
		s, err = r.Wait(waiting)
	}
	return s, r, err
}

func (b *Bridge) forget(u use, r *client.Redialer) {
	b.mu.Lock()
	own := b.sessions[u] == r
	if own {
		delete(b.sessions, u)
	}
	b.mu.Unlock()
	if own {
		_ = r.Close(context.Background())
	}
}

const agent = "wampgate-http"

// own opens a session for one purpose.
func (b *Bridge) own(ctx context.Context, p Principal, change ...func(*client.Config)) (*client.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	t, err := b.cfg.Dial(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", client.ErrDown, err)
	}
	cfg := client.Config{Realm: p.Realm, Agent: agent}
	for _, f := range change {
		f(&cfg)
	}
	return client.Join(ctx, t, cfg)
}

// Drain ends all streams with ErrDraining and refuses new requests. Calls that run go on.
func (b *Bridge) Drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draining = true
	for s := range b.streams {
		s.stop(ErrDraining)
	}
}

// Close drains, and ends all sessions, letting open calls finish.
func (b *Bridge) Close(ctx context.Context) error {
	b.Drain()
	b.mu.Lock()
	sessions := maps.Clone(b.sessions)
	b.mu.Unlock()
	errs := make([]error, 0, len(sessions))
	for _, r := range sessions {
		errs = append(errs, r.Close(ctx))
	}
	return errors.Join(errs...)
}
