package router

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/wampgate/wampgate/wampcore/transport"
)

type methodsKey struct{}

// WithMethods is for the contexts of requests that WebSocket and LongPoll serve: their peers log in by one of these methods of
// authentication, or not at all.
func WithMethods(ctx context.Context, names []string) context.Context {
	return context.WithValue(ctx, methodsKey{}, names)
}

func methodsOf(ctx context.Context) []string {
	names, _ := ctx.Value(methodsKey{}).([]string)
	return names
}

type identityKey struct{}

// vouched is who the peer of a request is.
type vouched struct {
	id    Identity
	until context.Context // it is the peer's lifetime
	over  func()
}

// WithIdentity is for the context of a request that WebSocket serves: the peer has this identity without authentication, until a
// context ends. The program vouches for it. over is called when the peer is gone.
func WithIdentity(ctx, until context.Context, id Identity, over func()) context.Context {
	return context.WithValue(ctx, identityKey{}, &vouched{id, until, over})
}

// WebSocket returns a handler that accepts WebSocket peers. A session outlives its request: end sessions with Shutdown.
func (r *Router) WebSocket(cfg transport.Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		v, _ := req.Context().Value(identityKey{}).(*vouched)
		ws, err := transport.Accept(w, req, cfg)
		if err != nil { // the transport has answered
			if v != nil {
				v.over()
			}
			r.cfg.Log.Debug().Err(err).Str("peer", req.RemoteAddr).Msg("websocket refused")
			return
		}
		peer := Peer{
			Transport: "websocket", Encoding: ws.Encoding(), Address: req.RemoteAddr, Methods: methodsOf(req.Context()),
			TLS: ws.TLS(),
		}
		// The session runs on a goroutine of its own, which Shutdown waits for: returning frees net/http's buffers.
		go func() { _ = r.attach(ws, peer, v) }()
	})
}

// LongPoll returns a handler for peers that poll, which are total at the most, and perAddress from one address; 0 is no
// bound. See transport.LongPoll.
func (r *Router) LongPoll(cfg transport.Config, total, perAddress int) http.Handler {
	return transport.NewLongPoll(cfg, total, perAddress, func(c *transport.Conn, req *http.Request) {
		peer := Peer{
			Transport: "longpoll", Encoding: c.Encoding(), Address: req.RemoteAddr, Methods: methodsOf(req.Context()),
			TLS: req.TLS,
		}
		go func() { _ = r.Attach(c, peer) }() // waited for by Shutdown
	})
}

// acceptPause is the time between two attempts where there are no file descriptors left, or the like.
const acceptPause = 50 * time.Millisecond

// RawSocket accepts RawSocket peers until l is closed, or the router shut down, and then closes l. It returns nil then. They log in by
// one of the methods of authentication, where some are named.
func (r *Router) RawSocket(l net.Listener, cfg transport.Config, methods ...string) error {
	defer func() { _ = l.Close() }()
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			r.cfg.Log.Warn().Err(err).Msg("accept")
			pause := time.NewTimer(acceptPause)
			<-pause.C
			continue
		}
		if !r.greet(nc) {
			_ = nc.Close()
			return nil
		}
		go func() { // waited for by Shutdown
			defer r.peers.Done()
			r.serveRaw(nc, cfg, methods)
		}()
	}
}

func (r *Router) serveRaw(nc net.Conn, cfg transport.Config, methods []string) {
	address := nc.RemoteAddr().String()
	t, err := transport.AcceptRaw(nc, cfg)
	r.mu.Lock()
	delete(r.strangers, nc)
	r.mu.Unlock()
	if err != nil {
		r.cfg.Log.Debug().Err(err).Str("peer", address).Msg("rawsocket refused")
		return
	}
	// On another goroutine, whose stack is small; waited for by Shutdown.
	go func() {
		_ = r.Attach(t, Peer{Transport: "rawsocket", Encoding: t.Encoding(), Address: address, Methods: methods, TLS: t.TLS()})
	}()
}

// greet counts a connection that is no peer yet. It returns false when the router shuts down.
func (r *Router) greet(nc net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	r.strangers[nc] = struct{}{}
	r.peers.Add(1)
	return true
}
