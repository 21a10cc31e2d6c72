package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
)

// operations serves what is for operators: probes and metrics, and to this machine alone what changes the gateway or looks
// into it. It is never on the main listeners.
func (g *gateway) operations() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", httpapi.Ops(g.api()))
	mux.Handle("GET /loglevel", fromHere(g.levels))
	mux.Handle("PUT /loglevel", fromHere(g.levels))
	mux.Handle("POST /drain", fromHere(http.HandlerFunc(g.serveDrain)))
	if g.cfg.Profiling {
		mux.Handle("GET /debug/pprof/", fromHere(http.HandlerFunc(pprof.Index)))
		mux.Handle("GET /debug/pprof/cmdline", fromHere(http.HandlerFunc(pprof.Cmdline)))
		mux.Handle("GET /debug/pprof/profile", fromHere(http.HandlerFunc(pprof.Profile)))
		mux.Handle("GET /debug/pprof/symbol", fromHere(http.HandlerFunc(pprof.Symbol)))
		mux.Handle("GET /debug/pprof/trace", fromHere(http.HandlerFunc(pprof.Trace)))
	}
	return http.NewCrossOriginProtection().Handler(mux)
}

// fromHere lets in who connects from this machine, by a name that is this machine's: a page of another site that had its own name
// resolve to it stays outside, and so do hooks, which would have the gateway itself ask for those who made them.
func fromHere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopbackPeer(r.RemoteAddr) || !isLoopbackName(r.Host) || r.UserAgent() == bridge.UserAgent {
			http.Error(w, "this is for loopback and unix sockets alone, and not for hooks", http.StatusForbidden)
			return
		}
		control := http.NewResponseController(w) // draining and profiles take their time
		_ = errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{}))
		next.ServeHTTP(w, r)
	})
}

// isLoopbackPeer reports whether a request's RemoteAddr is of this machine. That of a unix socket has no port.
func isLoopbackPeer(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	return err != nil || ap.Addr().Unmap().IsLoopback()
}

func isLoopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return isLocal(host)
}
