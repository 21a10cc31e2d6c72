package httpapi

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
)

// has reports whether a path has a method. What is answered whole to GET, and is the gateway's own, has HEAD: net/http leaves the
// content out. Routes of the configuration say themselves whether a call is safe.
func has(routes chi.Routes, method, path string) bool {
	if routes.Match(chi.NewRouteContext(), method, path) {
		return true
	}
	if method != http.MethodHead {
		return false
	}
	pattern := routes.Find(chi.NewRouteContext(), http.MethodGet, path)
	first, _, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	isStream := first == "ws" || strings.Contains(pattern, "/subscribe") || strings.Contains(pattern, "/register/")
	return slices.Contains(reserved, first) && !isStream
}

// headed answers HEAD as GET where a path has it.
func headed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if route := chi.RouteContext(r.Context()); r.Method == http.MethodHead {
			path := cmp.Or(r.URL.RawPath, r.URL.Path)
			if !route.Routes.Match(chi.NewRouteContext(), r.Method, path) && has(route.Routes, r.Method, path) {
				route.RouteMethod = http.MethodGet
			}
		}
		next.ServeHTTP(w, r)
	})
}

// methodNotAllowed says which methods there are.
func methodNotAllowed(routes chi.Routes, r *http.Request) *problem {
	path := cmp.Or(r.URL.RawPath, r.URL.Path)
	var allow []string
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	} {
		if has(routes, method, path) {
			allow = append(allow, method)
		}
	}
	methods := strings.Join(allow, ", ")
	p := newProblem(http.StatusMethodNotAllowed, r.Method+" is not for this path; use "+methods)
	p.header = http.Header{"Allow": {methods}}
	return p
}
