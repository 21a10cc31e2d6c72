package httpapi

import (
	"errors"
	"fmt"
	"net/http"
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
	protection.SetDenyHandler(a.handler(foreign))
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
			"Accept", "Authorization", "Content-Type", apiKeyHeader, "Last-Event-ID", "Idempotency-Key", "X-Request-Id",
			"Wamp-Timeout-Ms", "Connect-Timeout-Ms", "Grpc-Timeout", "traceparent", "tracestate",
		},
		ExposedHeaders: []string{
			"Wamp-Error", cursorHeader, "X-Request-Id", "Retry-After", "WWW-Authenticate", "Allow", "Accept-Post", "Location", "Idempotency-Replayed",
		},
		MaxAge: corsMaxAge,
	}).Handler(next), nil
}

// foreign refuses a request of another site's page.
func foreign(http.ResponseWriter, *http.Request) error {
	return refuse(http.StatusForbidden, refusedOrigin, "a page of another origin may not send this request")
}

// sameOrigin is for GET requests that change something: the pages of other sites could send them by an EventSource.
func (a *api) sameOrigin(next http.Handler) http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		changing := r.WithContext(r.Context())
		changing.Method = http.MethodPost
		if a.protection.Check(changing) != nil {
			return foreign(w, r)
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// corsMaxAge is for how many seconds a browser need not ask again.
const corsMaxAge = 600
