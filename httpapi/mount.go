package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"
)

// mount adds what the configuration has served. A path that the gateway has itself, or twice, is refused.
func (a *api) mount(r chi.Router) error {
	for _, path := range slices.Sorted(maps.Keys(a.cfg.Crossbar)) {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			if r.Match(chi.NewRouteContext(), method, path) {
				return fmt.Errorf("the path %s is taken by %s of the gateway's own", path, method)
			}
		}
		r.With(a.admitted).Handle(path, a.newCrossbar(a.cfg.Crossbar[path]))
	}
	return a.mountRoutes(r)
}
