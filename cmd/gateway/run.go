package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate"
	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

var errCut = errors.New("cut short by a second signal")

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

// run serves until ctx ends, and then shuts down; stop lets a second signal through, which cuts that short.
func run(ctx context.Context, stop func(), hangup <-chan os.Signal, cfg config, t *tracer, log zerolog.Logger) error {
	limitMemory(log)
	g, err := newGateway(cfg, t, log) //nolint:contextcheck // the session with a router elsewhere ends by shutdown
	if err != nil {
		return err
	}
	g.hangup = hangup
	if signals := levelSignals(); len(signals) > 0 {
		level := make(chan os.Signal, 1)
		signal.Notify(level, signals...)
		defer signal.Stop(level)
		g.serving.Go(func() { g.levels.watch(level, g.stopped) })
	}
	if err := g.listen(ctx); err != nil {
		return errors.Join(err, g.shutdown(ctx))
	}
	g.serving.Go(g.watch)
	g.serving.Go(g.giveBack)
	g.life.advance(serving)
	select {
	case <-ctx.Done():
	case err = <-g.failed:
	}
	stop()
	log.Info().Msg("shutting down")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout)
	defer cancel()
	grace, cut := context.WithCancelCause(grace)
	defer cut(nil)
	second := make(chan os.Signal, 1)
	signal.Notify(second, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(second)
	watching, unwatch := context.WithCancel(grace)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-second:
			cut(errCut)
		case <-watching.Done():
		}
	})
	err = errors.Join(err, g.shutdown(grace))
	unwatch()
	watch.Wait()
	return err
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
	}
	return s
}

// isReady is what /readyz tells.
func (g *gateway) isReady() bool {
	return g.life.phase() == serving && (g.router != nil || g.bridge.Up(bridge.Principal{Realm: g.cfg.Realm}))
}

// isStarted is what /startupz tells.
func (g *gateway) isStarted() bool { return g.life.phase() != starting }

// api returns what HTTP requests may do.
func (g *gateway) api() httpapi.Config {
	api := httpapi.Config{
		Bridge:         g.bridge,
		Hooks:          g.hooks,
		Realm:          g.cfg.Realm,
		OpenAPI:        wampgate.OpenAPI(),
		Ready:          g.isReady,
		Started:        g.isStarted,
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

// listen opens the listeners and serves them.
func (g *gateway) listen(ctx context.Context) error {
	handler, err := httpapi.New(g.api()) //nolint:contextcheck // handlers have their requests' contexts
	if err != nil {
		return err
	}
	g.face.Store(handler)
	for _, e := range g.cfg.entrances() {
		if err := g.open(ctx, handler, &e); err != nil {
			return err
		}
	}
	if g.cfg.OpsAddr == "" {
		return nil
	}
	l, err := transport.Listen(ctx, g.cfg.OpsAddr, fs.FileMode(g.cfg.UnixMode))
	if err != nil {
		return fmt.Errorf("listen for operations: %w", err)
	}
	l = transport.Limit(l, maxOperators, maxOperatorsPerAddress)
	ops := g.newServer(g.operations())
	ops.ReadTimeout, ops.WriteTimeout = g.cfg.HelloTimeout, g.cfg.HelloTimeout // there are no bodies but small ones
	g.serve(ops, l)
	g.log.Info().EmbedObject(urls(l.Addr(), false, func(string) bool { return false })).Msg("listening for operations")
	return nil
}

// How many connections there may be for operations: probes and Prometheus have one each.
const (
	maxOperators           = 1000
	maxOperatorsPerAddress = 100 // else one could keep all others out
)

// open opens a listener for HTTP and native clients.
func (g *gateway) open(ctx context.Context, handler http.Handler, e *entrance) error {
	l, err := transport.Listen(ctx, e.address, fs.FileMode(g.cfg.UnixMode))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	way := func(name string) bool { return g.way(e, name) }
	where := urls(l.Addr(), e.secure != nil, way)
	if e.secure != nil {
		certs, err := e.secure.certificates()
		if err != nil {
			return errors.Join(fmt.Errorf("listen on %s: %w", e.address, err), l.Close())
		}
		g.certs = append(g.certs, certs)
		l = transport.TLS(l, certs.config, g.cfg.HelloTimeout)
	}
	l = transport.Limit(l, e.maxConnections, e.maxConnectionsPerAddress)
	if way(rawSocket) {
		web, raw := transport.Split(l)
		l = web
		g.serving.Go(func() { g.fail(g.router.RawSocket(raw, g.native(), e.methods...)) })
	}
	server := g.newServer(handler)
	server.BaseContext = func(net.Listener) context.Context { return e.in(context.Background()) }
	if e.secure != nil {
		web, h2 := transport.HTTP2(l)
		l = web
		g.serve(server, h2)
	}
	g.serve(server, l)
	g.log.Info().EmbedObject(where).Str("realm", string(g.cfg.Realm)).Msg("listening")
	return nil
}

const maxHeaderBytes = 64 << 10

// maxStreamsPerConnection is how many requests one connection of HTTP/2 may have open: the event streams of a proxy's users share one.
const maxStreamsPerConnection = 1000

func (g *gateway) newServer(handler http.Handler) *http.Server {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: g.cfg.HelloTimeout,
		IdleTimeout:       g.cfg.IdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          stdlog.New(logWriter{g.log}, "", 0),
		Protocols:         new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(g.cfg.H2C)
	srv.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxStreamsPerConnection}
	g.servers = append(g.servers, srv)
	return srv
}

func (g *gateway) serve(srv *http.Server, l net.Listener) {
	g.serving.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			g.fail(err)
		}
	})
}

// fail ends the gateway. The first error counts; nil is none.
func (g *gateway) fail(err error) {
	if err == nil {
		return
	}
	select {
	case g.failed <- err:
	default:
	}
}

// lastWords is how much of the time to shut down is kept for goodbyes.
func (c *config) lastWords() time.Duration { return min(2*time.Second, c.ShutdownTimeout/4) }

// shutdown ends everything: nothing new is begun, calls that run may finish, and what was acknowledged reaches all who wait for it; then
// streams are told, sessions get their GOODBYE, and with it the long-poll requests their end. What is not done when ctx ends is cut.
func (g *gateway) shutdown(ctx context.Context) error {
	g.life.advance(stopping)
	g.stop()
	err := g.finish(ctx) // before the listeners close: services answer by requests, and those who poll have to come for their answers
	var down sync.WaitGroup
	cut := make([]error, len(g.servers))
	for i, srv := range g.servers {
		down.Go(func() {
			if err := srv.Shutdown(ctx); err != nil {
				cut[i] = errors.Join(fmt.Errorf("requests were cut: %w", context.Cause(ctx)), srv.Close())
			}
		})
	}
	err = errors.Join(err, g.bridge.Close(ctx))
	if g.router != nil {
		err = errors.Join(err, g.router.Shutdown(ctx))
	}
	down.Wait()
	g.serving.Wait()
	g.tracer.close(ctx, g.log)
	return errors.Join(err, errors.Join(cut...))
}

// finish waits for the calls that are open.
func (g *gateway) finish(ctx context.Context) error {
	ctx, cancel := g.forCalls(ctx)
	defer cancel()
	err := g.bridge.Finish(ctx)
	if g.router != nil {
		err = errors.Join(err, g.router.Finish(ctx))
	}
	err = errors.Join(err, g.hooks.Close(ctx))
	if err != nil {
		return fmt.Errorf("calls were cut: %w", err)
	}
	return nil
}

// forCalls leaves some of the time for what is to be said after the calls.
func (g *gateway) forCalls(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-g.cfg.lastWords()))
	}
	return context.WithCancel(ctx)
}

// logWriter takes what net/http has to say.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Debug().Str("error", string(p[:max(0, len(p)-1)])).Msg("http")
	return len(p), nil
}
