package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/go-chi/chi/v5"

	"github.com/wampgate/wampgate/wampcore"
)

// param returns a path parameter, decoded once, however it was written. It is the one string that rules and limits see, and that
// is called.
func param(r *http.Request, name string) (wampcore.URI, error) {
	raw := chi.URLParam(r, name)
	if r.URL.RawPath == "" { // chi has matched the decoded path
		return wampcore.URI(raw), nil
	}
	s, err := url.PathUnescape(raw)
	if err != nil {
		return "", newProblem(http.StatusBadRequest, "the path is not encoded as URLs are: "+err.Error())
	}
	return wampcore.URI(s), nil
}

func hasParam(r *http.Request, name string) bool {
	return slices.Contains(chi.RouteContext(r.Context()).URLParams.Keys, name)
}

// uri returns a path parameter that has to be a URI.
func (a *api) uri(r *http.Request, name string) (wampcore.URI, error) {
	return a.pattern(r, name, wampcore.MatchExact)
}

// pattern returns a path parameter that is to be matched this way.
func (a *api) pattern(r *http.Request, name string, match wampcore.Match) (wampcore.URI, error) {
	uri, err := param(r, name)
	if err != nil {
		return "", err
	}
	return uri, checkURI(uri, match)
}

// checkURI refuses what is no URI, or pattern, and control characters: no URI of a path has them by intent.
func checkURI(uri wampcore.URI, match wampcore.Match) error {
	if uri.ValidPattern(match, false) && !strings.ContainsFunc(string(uri), unicode.IsControl) {
		return nil
	}
	p := wampProblem(&wampcore.Error{
		URI: wampcore.ErrInvalidURI, Message: "want components that are not empty, joined by dots, without white space, control characters and #",
	})
	p.refusal = refusedURI
	return p
}

// kind is what limits tell requests apart by.
type kind uint8

const (
	calls kind = iota
	streams
	others
)

// kindOf tells by the route that the request took.
func kindOf(r *http.Request) kind {
	route, own := strings.CutPrefix(chi.RouteContext(r.Context()).RoutePattern(), "/v1")
	if !own { // the configuration's, which call procedures
		return calls
	}
	route = strings.TrimPrefix(route, "/realms/{realm}")
	switch name, _, _ := strings.Cut(strings.TrimPrefix(route, "/"), "/"); name {
	case "call":
		return calls
	case "subscribe", "register":
		return streams
	default:
		return others
	}
}
