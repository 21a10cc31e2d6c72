package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
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
	certs  *certificates // nil where there is no TLS

	life    life
	levels  *levels
	metrics *metrics
	servers []*http.Server
	serving sync.WaitGroup
	hangup  <-chan os.Signal
	failed  chan error    // of size 1
	stopped chan struct{} // closed by stop
	stop    func()
}

// run serves until ctx ends, and then shuts down; stop lets a second signal through, which cuts that short.
func run(ctx context.Context, stop func(), hangup <-chan os.Signal, cfg config, log zerolog.Logger) error {
	limitMemory(log)
	g, err := newGateway(cfg, log) //nolint:contextcheck // the session with a router elsewhere ends by shutdown
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

func newGateway(cfg config, log zerolog.Logger) (*gateway, error) {
	stopped := make(chan struct{})
	g := &gateway{
		cfg: cfg, log: log, failed: make(chan error, 1),
		stopped: stopped, stop: sync.OnceFunc(func() { close(stopped) }),
		levels: newLevels(zerolog.Level(cfg.LogLevel), log),
	}
	program := thisBuild()
	g.metrics = newMetrics(func() snapshot { return snapshot{build: program, phase: g.life.phase()} }, cfg.MetricsProcedures, cfg.MetricsTopics)
	streams := bridge.Config{
		StreamEvents: int(cfg.StreamQueueEvents), StreamBytes: int(cfg.StreamQueueBytes), Observer: operations{g.metrics},
	}
	if cfg.UpstreamURL != "" {
		dial, err := cfg.upstream()
		if err != nil {
			return nil, err
		}
		streams.Shared = true
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
		Realms:        cfg.realms(),
		Log:           log,
		HelloTimeout:  cfg.HelloTimeout,
		IdleTimeout:   cfg.IdleTimeout,
		QueueMessages: int(cfg.QueueMessages),
		QueueBytes:    int(cfg.QueueBytes),
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
func (g *gateway) way(name string) bool { return g.router != nil && g.cfg.Transports.has(name) }

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
		Metrics:        g.metrics.handler(),
		Observer:       g.metrics,
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
	}
	if g.way(webSocket) {
		api.WebSocket = g.router.WebSocket(g.native())
	}
	if g.way(longPoll) {
		api.LongPoll = g.router.LongPoll(g.native(), int(g.cfg.MaxConnections), int(g.cfg.MaxConnectionsPerAddress))
	}
	return api
}

// listen opens the listeners and serves them.
func (g *gateway) listen(ctx context.Context) error {
	handler, err := httpapi.New(g.api()) //nolint:contextcheck // handlers have their requests' contexts
	if err != nil {
		return err
	}
	server := g.newServer(handler)
	for _, address := range g.cfg.Listen {
		if err := g.open(ctx, server, address, nil); err != nil {
			return err
		}
	}
	if len(g.cfg.ListenTLS) > 0 {
		certs, err := g.cfg.certificates()
		if err != nil {
			return err
		}
		for _, address := range g.cfg.ListenTLS {
			if err := g.open(ctx, server, address, certs.config); err != nil {
				return err
			}
		}
		g.certs = certs
	}
	if g.cfg.OpsAddr == "" {
		return nil
	}
	l, err := transport.Listen(ctx, g.cfg.OpsAddr, fs.FileMode(g.cfg.UnixMode))
	if err != nil {
		return fmt.Errorf("listen for operations: %w", err)
	}
	ops := g.newServer(g.operations())
	ops.ReadTimeout = g.cfg.HelloTimeout // there are no bodies but small ones
	g.serve(ops, l)
	g.log.Info().EmbedObject(urls(l.Addr(), false, func(string) bool { return false })).Msg("listening for operations")
	return nil
}

// open opens a listener for HTTP and native clients, with TLS if there is a configuration for it.
func (g *gateway) open(ctx context.Context, server *http.Server, address string, secure *tls.Config) error {
	l, err := transport.Listen(ctx, address, fs.FileMode(g.cfg.UnixMode))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	where := urls(l.Addr(), secure != nil, g.way)
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	l = transport.Limit(l, int(g.cfg.MaxConnections), int(g.cfg.MaxConnectionsPerAddress))
	if g.way(rawSocket) {
		web, raw := transport.Split(l)
		l = web
		g.serving.Go(func() { g.fail(g.router.RawSocket(raw, g.native())) })
	}
	g.serve(server, l)
	g.log.Info().EmbedObject(where).Str("realm", string(g.cfg.Realm)).Msg("listening")
	return nil
}

const maxHeaderBytes = 64 << 10

func (g *gateway) newServer(handler http.Handler) *http.Server {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: g.cfg.HelloTimeout,
		IdleTimeout:       g.cfg.IdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          stdlog.New(logWriter{g.log}, "", 0),
	}
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

// shutdown ends everything: streams are told, calls that run may finish, sessions get their GOODBYE, and with it the
// long-poll requests their end. What is not done when ctx ends is cut.
func (g *gateway) shutdown(ctx context.Context) error {
	g.life.advance(stopping)
	g.bridge.Drain()
	g.stop()
	var down sync.WaitGroup
	cut := make([]error, len(g.servers))
	for i, srv := range g.servers {
		down.Go(func() {
			if err := srv.Shutdown(ctx); err != nil {
				cut[i] = errors.Join(fmt.Errorf("requests were cut: %w", context.Cause(ctx)), srv.Close())
			}
		})
	}
	err := errors.Join(g.bridge.Close(ctx), g.hooks.Close(ctx))
	if g.router != nil {
		err = errors.Join(err, g.router.Shutdown(ctx))
	}
	down.Wait()
	g.serving.Wait()
	return errors.Join(err, errors.Join(cut...))
}

// logWriter takes what net/http has to say.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Debug().Str("error", string(p[:max(0, len(p)-1)])).Msg("http")
	return len(p), nil
}
