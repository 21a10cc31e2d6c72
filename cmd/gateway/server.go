package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	stdlog "log"
	"net"
	"net/http"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore/transport"
)

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
	if g.cfg.H2C {
		srv.ConnContext = httpapi.WithConn
	}
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

// logWriter takes what net/http has to say. Most of it is what peers do; but who may not open any more files cannot be reached.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	level := zerolog.DebugLevel
	if bytes.HasPrefix(p, []byte("http: Accept error")) {
		level = zerolog.ErrorLevel
	}
	w.log.WithLevel(level).Str("error", string(p[:max(0, len(p)-1)])).Msg("http")
	return len(p), nil
}
