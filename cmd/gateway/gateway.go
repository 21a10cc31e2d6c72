package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate"
	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// gateway is all that runs.
type gateway struct {
	cfg    config
	log    zerolog.Logger
	router *router.Router // nil where there is one elsewhere
	bridge *bridge.Bridge
	hooks  *bridge.Hooks
	face   atomic.Pointer[httpapi.Handler] // nil until it is served
	certs  []*certificates

	life    life
	drained drainage
	levels  *levels
	metrics *metrics
	tracer  *tracer // nil: there are no traces
	servers []*http.Server
	serving sync.WaitGroup
	hangup  <-chan os.Signal
	failed  chan error    // of size 1
	stopped chan struct{} // closed by stop
	stop    func()
}

func newGateway(cfg config, t *tracer, log zerolog.Logger) (*gateway, error) {
	stopped := make(chan struct{})
	g := &gateway{
		cfg: cfg, log: log, tracer: t, failed: make(chan error, 1),
		stopped: stopped, stop: sync.OnceFunc(func() { close(stopped) }),
		drained: drainage{done: make(chan struct{})},
		levels:  newLevels(zerolog.Level(cfg.LogLevel), log),
	}
	program := thisBuild()
	g.metrics = newMetrics(func() snapshot { return g.snapshot(program) }, cfg.MetricsProcedures, cfg.MetricsTopics)
	streams := bridge.Config{
		StreamEvents: int(cfg.StreamQueueEvents), StreamBytes: int(cfg.StreamQueueBytes), Observer: operations{g.metrics, g.tracer},
	}
	if cfg.UpstreamURL != "" {
		dial, err := cfg.upstream()
		if err != nil {
			return nil, err
		}
		if streams.Login, err = cfg.login(); err != nil {
			return nil, err
		}
		streams.Dial = func(ctx context.Context, _ bridge.Principal) (wampcore.Transport, error) { return dial(ctx) }
		streams.OnUp = func(p bridge.Principal) { log.Info().Str("realm", string(p.Realm)).Msg("upstream is there") }
		streams.OnDown = func(p bridge.Principal, err error) {
			log.Warn().Err(err).Str("realm", string(p.Realm)).Msg("upstream is not there; trying again")
		}
		g.bridge = bridge.New(streams)
		g.bridge.Keep(bridge.Principal{Realm: cfg.Realm})
		g.hooks, err = g.newHooks(streams)
		return g, err
	}
	r, err := router.New(router.Config{
		Realms:       cfg.realms(),
		Log:          log,
		HelloTimeout: cfg.HelloTimeout,
		// Each authorizer of the file has its own time, which is shorter.
		AuthorizeTimeout: maxAskTimeout,
		IdleTimeout:      cfg.IdleTimeout,
		QueueMessages:    int(cfg.QueueMessages),
		QueueBytes:       int(cfg.QueueBytes),
	})
	if err != nil {
		return nil, err
	}
	g.router = r
	streams.Dial = func(_ context.Context, p bridge.Principal) (wampcore.Transport, error) {
		if p.AuthRole == "" {
			return r.Dial(), nil
		}
		return r.DialAs(router.Identity{AuthID: p.AuthID, AuthRole: p.AuthRole, Method: p.Method, Provider: p.Provider}), nil
	}
	streams.Attach = func(t wampcore.Transport, p bridge.Principal) func() error {
		peer := router.Peer{Transport: "http"}
		if p.AuthRole == "" {
			return r.AttachResting(t, peer, nil)
		}
		return r.AttachResting(t, peer, &router.Identity{AuthID: p.AuthID, AuthRole: p.AuthRole, Method: p.Method, Provider: p.Provider})
	}
	g.bridge = bridge.New(streams)
	g.hooks, err = g.newHooks(streams)
	return g, err
}

// native returns what native clients may do.
func (g *gateway) native() transport.Config {
	return transport.Config{
		MaxMessage:       int(g.cfg.MaxMessage),
		HandshakeTimeout: g.cfg.HelloTimeout,
		PingInterval:     pingInterval(g.cfg.PingInterval),
		Encodings:        g.cfg.Serializers,
		OriginPatterns:   g.cfg.Origins,
		Compression:      g.cfg.Compression,
	}
}

// pingInterval turns the setting, where 0 is never, into the transport's.
func pingInterval(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// way reports whether native clients may come in this way. There are none where the router is elsewhere.
func (g *gateway) way(e *entrance, name string) bool {
	return g.router != nil && e.transports.has(name)
}

// any reports whether there is a listener where native clients may come in this way.
func (g *gateway) any(name string) bool {
	return slices.ContainsFunc(g.cfg.entrances(), func(e entrance) bool { return g.way(&e, name) })
}

// only serves requests of the listeners that have this way in.
func (g *gateway) only(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e := entranceOf(r.Context()); e != nil && !g.way(e, name) {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// snapshot is what was counted.
func (g *gateway) snapshot(program build) snapshot {
	s := snapshot{build: program, phase: g.life.phase(), bridge: g.bridge.Stats(), hooks: g.hooks.Stats()}
	if face := g.face.Load(); face != nil {
		s.http = face.Stats()
	}
	if g.router != nil {
		stats := g.router.Stats()
		s.router = &stats
	} else {
		s.upstream = new(g.isUp())
	}
	return s
}

// unready is what /readyz tells: why the gateway is not ready, nil if it is.
func (g *gateway) unready() error {
	switch p := g.life.phase(); {
	case p != serving:
		return errors.New("it is " + p.String())
	case g.router == nil && !g.isUp():
		return errors.New("there is no session with the router elsewhere; the log says why")
	default:
		return nil
	}
}

// isUp reports whether there is a session with the router elsewhere.
func (g *gateway) isUp() bool { return g.bridge.Up(bridge.Principal{Realm: g.cfg.Realm}) }

// unstarted is what /startupz tells.
func (g *gateway) unstarted() error {
	if p := g.life.phase(); p == starting {
		return errors.New("it is " + p.String())
	}
	return nil
}

// api returns what HTTP requests may do.
func (g *gateway) api() httpapi.Config {
	api := httpapi.Config{
		Bridge:         g.bridge,
		Hooks:          g.hooks,
		Realm:          g.cfg.Realm,
		OpenAPI:        wampgate.OpenAPI(),
		Ready:          g.unready,
		Started:        g.unstarted,
		Draining:       func() bool { return g.life.phase() >= draining },
		Metrics:        g.metrics.handler(),
		Observer:       observer{g.metrics, g.tracer},
		Log:            g.log,
		AccessLog:      g.cfg.AccessLog,
		OpsElsewhere:   g.cfg.OpsAddr != "",
		Hosts:          g.cfg.Hosts,
		Origins:        g.cfg.Origins,
		MaxBody:        int64(g.cfg.MaxBody),
		CallTimeout:    g.cfg.CallTimeout,
		MaxCallTimeout: g.cfg.CallTimeoutMax,
		Heartbeat:      g.cfg.Heartbeat,
		UnreadTimeout:  g.cfg.HelloTimeout,
		Inbound:        g.cfg.inbound(),
		Crossbar:       g.cfg.crossbars(),
		Routes:         g.cfg.routes(),
	}
	g.cfg.answers(&api)
	g.cfg.fillIn(&api)
	if g.any(webSocket) {
		api.WebSocket = g.only(webSocket, vouch(g.router.WebSocket(g.native())))
	}
	if g.any(longPoll) {
		polls := g.router.LongPoll(g.native(), int(g.cfg.MaxConnections), int(g.cfg.MaxConnectionsPerAddress))
		api.LongPoll = g.only(longPoll, polls)
	}
	return api
}

// vouch has the session of a WebSocket that was opened with a ticket be the one's who made that.
func vouch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := httpapi.Vouched(r.Context()); v != nil {
			id := router.Identity{
				AuthID: v.Principal.AuthID, AuthRole: v.Principal.AuthRole, Method: v.Principal.Method, Provider: v.Principal.Provider, Realm: v.Principal.Realm,
			}
			r = r.WithContext(router.WithIdentity(r.Context(), v.Until, id, v.Over))
		}
		next.ServeHTTP(w, r)
	})
}
