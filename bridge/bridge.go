package bridge

import (
	"context"
	"errors"
	"sync"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// ErrDraining is why requests are refused, and streams end, when the bridge closes.
var ErrDraining = errors.New("the gateway shuts down")

// Config says how the bridge reaches a router. Dial is required.
type Config struct {
	Dial         func(ctx context.Context) (wampcore.Transport, error)
	StreamEvents int // that wait for one stream's reader; default 1024
	StreamBytes  int // the same in bytes; default 4 MiB
}

// Bridge does what HTTP requests ask for. Its methods may be called by any number of goroutines.
type Bridge struct {
	cfg Config

	mu       sync.Mutex
	sessions map[wampcore.URI]*shared // by realm; there are only those that were joined
	streams  map[*Stream]struct{}
	draining bool
}

// shared is the session of one realm's principal.
type shared struct {
	ready   chan struct{} // closed when session or err is set
	session *client.Session
	err     error
}

// New returns a bridge without sessions.
func New(cfg Config) *Bridge {
	if cfg.StreamEvents <= 0 {
		cfg.StreamEvents = 1024
	}
	if cfg.StreamBytes <= 0 {
		cfg.StreamBytes = 4 << 20
	}
	return &Bridge{cfg: cfg, sessions: map[wampcore.URI]*shared{}, streams: map[*Stream]struct{}{}}
}

// Call calls a procedure. What fails is a *wampcore.Error.
func (b *Bridge) Call(ctx context.Context, realm, procedure wampcore.URI, req CallRequest) (wampcore.Payload, error) {
	s, err := b.session(ctx, realm)
	if err != nil {
		return wampcore.Payload{}, err
	}
	return s.Call(ctx, procedure, req.Payload, req.Options)
}

// Publish publishes and returns the publication's id, 0 where it is not acknowledged.
func (b *Bridge) Publish(ctx context.Context, realm, topic wampcore.URI, req PublishRequest) (wampcore.ID, error) {
	s, err := b.session(ctx, realm)
	if err != nil {
		return 0, err
	}
	return s.Publish(ctx, topic, req.Payload, req.Options)
}

// session returns the realm's session. The first who wants it joins; the others wait for that.
func (b *Bridge) session(ctx context.Context, realm wampcore.URI) (*client.Session, error) {
	b.mu.Lock()
	if b.draining {
		b.mu.Unlock()
		return nil, ErrDraining
	}
	sh := b.sessions[realm]
	if sh != nil && sh.over() {
		sh = nil
	}
	first := sh == nil
	if first {
		sh = &shared{ready: make(chan struct{})}
		b.sessions[realm] = sh
	}
	b.mu.Unlock()
	if first {
		sh.session, sh.err = b.join(context.WithoutCancel(ctx), realm)
		if sh.err != nil {
			b.forget(realm, sh)
		}
		close(sh.ready)
	}
	select {
	case <-sh.ready:
		return sh.session, sh.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// over reports whether the session has ended, or could not be joined.
func (sh *shared) over() bool {
	select {
	case <-sh.ready:
		return sh.err != nil || sh.session.Err() != nil
	default:
		return false
	}
}

func (b *Bridge) forget(realm wampcore.URI, sh *shared) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sessions[realm] == sh {
		delete(b.sessions, realm)
	}
}

func (b *Bridge) join(ctx context.Context, realm wampcore.URI, change ...func(*client.Config)) (*client.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	t, err := b.cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	cfg := client.Config{Realm: realm, Agent: "wampgate-http"}
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

// Close drains, and ends all sessions.
func (b *Bridge) Close(ctx context.Context) error {
	b.Drain()
	b.mu.Lock()
	all := make([]*shared, 0, len(b.sessions))
	for _, sh := range b.sessions {
		all = append(all, sh)
	}
	b.mu.Unlock()
	var errs []error
	for _, sh := range all {
		<-sh.ready // joining is bounded
		if sh.session != nil {
			errs = append(errs, sh.session.Close(ctx))
		}
	}
	return errors.Join(errs...)
}
