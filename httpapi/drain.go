package httpapi

import (
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/wampgate/wampgate/bridge"
)

// admitted refuses what is new while the gateway drains: all that comes from elsewhere, and everybody's streams. What an application beside the
// gateway still has to ask of others is done, and so are answers to what was asked of services before.
func (a *api) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.cfg.Draining() && !goesOn(r) {
			p := asProblem(bridge.ErrDraining)
			p.header.Set("Connection", "close")
			p.header.Set("Retry-After", strconv.Itoa(1+rand.IntN(5))) // not all at once
			p.refusal = refusedDraining
			a.refused[p.refusal].Add(1)
			p.write(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// goesOn reports whether a request is served although the gateway drains.
func goesOn(r *http.Request) bool {
	switch route := chi.RouteContext(r.Context()).RoutePattern(); {
	case strings.HasSuffix(route, "/yield/{invocation}"), strings.HasSuffix(route, "/error/{invocation}"):
		return true
	case strings.Contains(route, "/subscribe"), strings.Contains(route, "/register/"):
		return false
	default:
		return fromHere(r)
	}
}

// fromHere reports whether a request is from this machine, and not of another's that a proxy on it passes on.
func fromHere(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err != nil || peer.Addr().Unmap().IsLoopback() // that of a unix socket has no port
}
