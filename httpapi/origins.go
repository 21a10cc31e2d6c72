package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rs/cors"
)

// origins keeps the pages of other sites from sending requests that change something, and, as browsers see to it, from reading
// answers. Those that are named may do both: that is CORS, which is off where none is.
func (a *api) origins(next http.Handler) (http.Handler, error) {
	protection := http.NewCrossOriginProtection()
	for _, origin := range a.cfg.Origins {
		if strings.Contains(origin, "*") {
			return nil, fmt.Errorf("httpapi: origin %q: name each origin, none stands for others", origin)
		}
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("httpapi: %w", err)
		}
	}
	protection.SetDenyHandler(a.handler(a.foreign))
	a.protection = protection
	next = protection.Handler(next)
	if len(a.cfg.Origins) == 0 {
		if a.cfg.Credentials {
			return nil, errors.New("httpapi: credentials of browsers are for the pages of origins, and none is named")
		}
		return next, nil
	}
	return cors.New(cors.Options{
		AllowedOrigins:   a.cfg.Origins,
		AllowCredentials: a.cfg.Credentials,
		AllowedMethods:   []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{
			"Accept", "Authorization", "Content-Type", "Content-Encoding", apiKeyHeader, "Last-Event-ID", "If-None-Match", "Idempotency-Key", "X-Request-Id",
			"Wamp-Timeout-Ms", "Connect-Timeout-Ms", "Grpc-Timeout", "traceparent", "tracestate",
		},
		ExposedHeaders: []string{
			"Wamp-Error", cursorHeader, "X-Request-Id", "Retry-After", "WWW-Authenticate", "Allow", "Accept-Post", "Location", "ETag", "Idempotency-Replayed",
		},
		MaxAge: corsMaxAge,
	}).Handler(next), nil
}

// maxOrigin is how much of an Origin header is repeated: no origin is longer.
const maxOrigin = 300

// foreign refuses a request of another site's page. Browsers show nothing of the answer where a WebSocket is refused: it is logged, too,
// but not each time.
func (a *api) foreign(_ http.ResponseWriter, r *http.Request) error {
	origin := r.Header.Get("Origin")
	origin = strings.ToValidUTF8(origin[:min(len(origin), maxOrigin)], "")
	a.foreigners.Do(func() {
		a.cfg.Log.Warn().Str("origin", origin).Str("request_id", requestID(r)).
			Msg("a page of another origin was refused; if it may use the gateway, name its origin in WAMPGATE_ORIGINS")
	})
	return refuse(http.StatusForbidden, refusedOrigin,
		strings.TrimSpace("a page of another origin may not send this request; if it may use the gateway, name its origin in WAMPGATE_ORIGINS: "+origin))
}

// trusts reports whether a WebSocket may be opened by the page that asks for it: by one of the own origin, or of one that is named, or by
// what is no browser.
func (a *api) trusts(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	u, err := url.Parse(origin)
	return origin == "" || err == nil && strings.EqualFold(u.Host, r.Host) ||
		slices.ContainsFunc(a.cfg.Origins, func(named string) bool { return strings.EqualFold(named, origin) })
}

// sameOrigin is for GET requests that change something: the pages of other sites could send them by an EventSource.
func (a *api) sameOrigin(next http.Handler) http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		changing := r.WithContext(r.Context())
		changing.Method = http.MethodPost
		if a.protection.Check(changing) != nil {
			return a.foreign(w, r)
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// corsMaxAge is for how many seconds a browser need not ask again.
const corsMaxAge = 600
