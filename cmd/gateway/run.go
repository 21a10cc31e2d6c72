package main

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"os/signal"
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
	router *router.Router
	bridge *bridge.Bridge

	ready   atomic.Bool
	servers []*http.Server
	serving sync.WaitGroup
	failed  chan error // of size one a listener, and RawSocket's share of one
}

// run serves until ctx ends, and then shuts down; stop lets a second signal through, which cuts that short.
func run(ctx context.Context, stop func(), cfg config, log zerolog.Logger) error {
	g, err := newGateway(cfg, log)
	if err != nil {
		return err
	}
	if err := g.listen(ctx); err != nil {
		return errors.Join(err, g.shutdown(ctx))
	}
	g.ready.Store(true)
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
	r, err := router.New(router.Config{
		Realms:        []router.RealmConfig{cfg.realm()},
		Log:           log,
		HelloTimeout:  cfg.HelloTimeout,
		QueueMessages: int(cfg.QueueMessages),
		QueueBytes:    int(cfg.QueueBytes),
	})
	if err != nil {
		return nil, err
	}
	b := bridge.New(bridge.Config{
		Dial:         func(context.Context) (wampcore.Transport, error) { return r.Dial(), nil },
		StreamEvents: int(cfg.StreamQueueEvents),
		StreamBytes:  int(cfg.StreamQueueBytes),
	})
	return &gateway{cfg: cfg, log: log, router: r, bridge: b, failed: make(chan error, 3)}, nil
}

// listen opens the listeners and serves them.
func (g *gateway) listen(ctx context.Context) error {
	ping := g.cfg.PingInterval
	if ping == 0 {
		ping = -1
	}
	native := transport.Config{
		MaxMessage:     int(g.cfg.MaxMessage),
		PingInterval:   ping,
		OriginPatterns: g.cfg.Origins,
	}
	api := httpapi.Config{
		Bridge:         g.bridge,
		Realm:          g.cfg.Realm,
		WebSocket:      g.router.WebSocket(native),
		OpenAPI:        wampgate.OpenAPI(),
		Ready:          g.ready.Load,
		Log:            g.log,
		OpsElsewhere:   g.cfg.OpsAddr != "",
		Hosts:          g.cfg.Hosts,
		Origins:        g.cfg.Origins,
		MaxBody:        int64(g.cfg.MaxBody),
		CallTimeout:    g.cfg.CallTimeout,
		MaxCallTimeout: g.cfg.CallTimeoutMax,
		Heartbeat:      g.cfg.Heartbeat,
	}
	handler, err := httpapi.New(api) //nolint:contextcheck // handlers have their requests' contexts
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	web, raw := transport.Split(l)
	g.serve(web, handler)
	g.serving.Go(func() {
		if err := g.router.RawSocket(raw, native); err != nil {
			g.failed <- err
		}
	})
	addr := l.Addr().String()
	g.log.Info().Str("http", "http://"+addr).Str("websocket", "ws://"+addr+"/ws").Str("rawsocket", "tcp://"+addr).
		Str("realm", string(g.cfg.Realm)).Msg("listening")
	if g.cfg.OpsAddr == "" {
		return nil
	}
	ops, err := new(net.ListenConfig).Listen(ctx, "tcp", g.cfg.OpsAddr)
	if err != nil {
		return fmt.Errorf("listen for probes: %w", err)
	}
	g.serve(ops, httpapi.Ops(api))
	g.log.Info().Str("http", "http://"+ops.Addr().String()).Msg("listening for probes")
	return nil
}

// What a connection may take before it is worth a goroutine of ours.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
)

func (g *gateway) serve(l net.Listener, handler http.Handler) {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          stdlog.New(logWriter{g.log}, "", 0),
	}
	g.servers = append(g.servers, srv)
	g.serving.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			g.failed <- err
		}
	})
}

// shutdown ends everything: streams are told, requests that run may finish, sessions get their GOODBYE. What is not
// done when ctx ends is cut.
func (g *gateway) shutdown(ctx context.Context) error {
	g.ready.Store(false)
	g.bridge.Drain()
	var errs []error
	for _, srv := range g.servers {
		if err := srv.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut: %w", context.Cause(ctx)), srv.Close())
		}
	}
	g.serving.Wait()
	errs = append(errs, g.bridge.Close(ctx), g.router.Shutdown(ctx))
	return errors.Join(errs...)
}

// logWriter takes what net/http has to say.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Debug().Str("error", string(p[:max(0, len(p)-1)])).Msg("http")
	return len(p), nil
}
