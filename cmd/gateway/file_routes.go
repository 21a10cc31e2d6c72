package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

// routeSection has requests be calls.
type routeSection struct {
	Procedure    wampcore.URI             `json:"procedure"`
	Realm        wampcore.URI             `json:"realm"`
	Summary      string                   `json:"summary"`
	Params       map[string]*paramSection `json:"params"`
	Body         string                   `json:"body"`
	Result       string                   `json:"result"`
	Safe         bool                     `json:"safe"`
	CacheControl string                   `json:"cache_control"`
}

// paramSection is a parameter of a path or a query.
type paramSection struct {
	Type        string `json:"type"`
	List        bool   `json:"list"`
	Required    bool   `json:"required"`
	Description string `json:"description"`
}

func (s *routeSection) check(name string, f *file, at place) {
	rt := s.route(name)
	if err := rt.Validate(); err != nil {
		at.badKey("%v", err)
	}
	f.checkPublisher(s.Realm, "", at)
}

func (s *routeSection) route(name string) httpapi.Route {
	method, path, _ := strings.Cut(name, " ")
	rt := httpapi.Route{
		Method: method, Path: strings.TrimSpace(path), Procedure: s.Procedure, Realm: s.Realm, Summary: s.Summary,
		Body: bridge.As(s.Body), Envelope: s.Result == "envelope", Safe: s.Safe, CacheControl: s.CacheControl,
	}
	for name, p := range s.Params {
		if rt.Params == nil {
			rt.Params = map[string]httpapi.Param{}
		}
		rt.Params[name] = httpapi.Param{Type: httpapi.ParamType(p.Type), List: p.List, Required: p.Required, Description: p.Description}
	}
	return rt
}

// routes returns the requests that are calls.
func (c *config) routes() []httpapi.Route {
	if c.File == nil {
		return nil
	}
	var all []httpapi.Route
	for _, name := range slices.Sorted(maps.Keys(c.File.Routes)) {
		all = append(all, c.File.Routes[name].route(name))
	}
	return all
}
