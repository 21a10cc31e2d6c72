package bridge

import (
	linked "container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// ErrDraining is why requests are refused, and streams end, when the bridge closes.
var ErrDraining = errors.New("the gateway shuts down")

// Config says how the bridge reaches a router. Dial is required.
type Config struct {
	Dial  func(ctx context.Context, p Principal) (wampcore.Transport, error)
	Login Login // of all its sessions; default: anonymous
	// Attach returns what serves a session in this process: each event stream has its own. It returns ErrResting when there is nothing
	// to do, and is called again when there is. nil: the router is elsewhere, and the streams of a principal share a session.
	Attach       func(t wampcore.Transport, p Principal) (serve func() error)
	StreamEvents int // that wait for one stream's reader; default 1024
	StreamBytes  int // the same in bytes; default 4 MiB
	// Grace is for how long an HTTP service whose invocation stream broke may come back to it; default 5 s.
	Grace time.Duration

	MaxSessions int           // of the calls and publications of principals; default 10 000
	SessionIdle time.Duration // after which one is ended that nobody uses; default 5 min

	OnUp   func(p Principal)          // a principal has a session, also after a loss; optional
	OnDown func(p Principal, _ error) // it was lost, or an attempt to open it failed; optional

	Observer Observer // optional
}

// Bridge does what HTTP requests ask for. Its methods may be called by any number of goroutines.
type Bridge struct {
	cfg      Config
	services services

	mu        sync.Mutex
	sessions  map[use]*shared
	recent    linked.List // of *shared, the one used last in front
	parting   sync.WaitGroup
	kept      map[Principal]bool
	streams   map[*Stream]struct{}
	standing  map[*client.Standing]*Stream // of streams that share a session
	withdrawn bool
	emptied   chan struct{} // closed when streams becomes empty; nil: nobody waits for that
	draining  bool

	streamStats streamCounters
	flusher     flusher
}

// New returns a bridge without sessions.
func New(cfg Config) *Bridge {
	if cfg.StreamEvents <= 0 {
		cfg.StreamEvents = 1024
	}
	if cfg.StreamBytes <= 0 {
		cfg.StreamBytes = 4 << 20
	}
	if cfg.MaxSessions <= 0 {
		cfg.MaxSessions = 10_000
	}
	if cfg.SessionIdle <= 0 {
		cfg.SessionIdle = 5 * time.Minute
	}
	if cfg.OnUp == nil {
		cfg.OnUp = func(Principal) {}
	}
	if cfg.OnDown == nil {
		cfg.OnDown = func(Principal, error) {}
	}
	if cfg.Grace <= 0 {
		cfg.Grace = 5 * time.Second
	}
	b := &Bridge{
		cfg: cfg, sessions: map[use]*shared{}, kept: map[Principal]bool{},
		streams: map[*Stream]struct{}{}, standing: map[*client.Standing]*Stream{},
	}
	b.services.init(cfg.Grace, cfg.StreamBytes)
	return b
}

// own opens a session for one purpose.
func (b *Bridge) own(ctx context.Context, p Principal, change ...func(*client.Config)) (*client.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	t, err := b.cfg.Dial(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", client.ErrDown, err)
	}
	cfg := b.cfg.Login.session(p)
	for _, f := range change {
		f(&cfg)
	}
	return client.Join(ctx, t, cfg)
}

// admit adds a stream, unless the bridge is draining.
func (b *Bridge) admit(s *Stream) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining || b.withdrawn {
		return ErrDraining
	}
	b.streams[s] = struct{}{}
	return nil
}

func (b *Bridge) release(s *Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, s)
	b.checkEmpty()
}
