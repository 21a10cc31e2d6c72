package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
)

// roleSection is what the sessions of an authrole may do.
type roleSection struct {
	Permissions []permissionSection `json:"permissions"`
	Authorizer  *askerSection       `json:"authorizer"` // of what the permissions leave open
	Disclosure  *disclosure         `json:"disclosure"`
	TrustLevel  *int64              `json:"trust_level"`

	Limits          *limitsSection `json:"limits"`           // of each session
	PrincipalLimits *limitsSection `json:"principal_limits"` // of all sessions of one authid
}

// permissionSection is what may be done with some URIs.
type permissionSection struct {
	URI      wampcore.URI `json:"uri"`
	Match    string       `json:"match"`
	Allow    []string     `json:"allow"`
	Disclose []string     `json:"disclose"`
	Cache    bool         `json:"cache"`
}

func (p *permissionSection) permission() router.Permission {
	out := router.Permission{
		URI:               p.URI,
		Match:             map[string]wampcore.Match{"prefix": wampcore.MatchPrefix, "wildcard": wampcore.MatchWildcard}[p.Match],
		DiscloseCaller:    slices.Contains(p.Disclose, "caller"),
		DisclosePublisher: slices.Contains(p.Disclose, "publisher"),
		Cache:             p.Cache,
	}
	for _, a := range []router.Action{router.ActionCall, router.ActionRegister, router.ActionPublish, router.ActionSubscribe} {
		if slices.Contains(p.Allow, a.String()) {
			out.Allow |= a
		}
	}
	return out
}

func (r *roleSection) check(at place) {
	if r.Authorizer != nil {
		r.Authorizer.check(at.in("authorizer"))
		if r.Authorizer.asker == nil {
			at.in("authorizer").badKey("want the procedure, or the url, that is asked")
		}
	}
	seen := map[string]int{}
	for i, p := range r.Permissions {
		at := at.in("permissions", i)
		match := p.permission().Match
		if strings.HasSuffix(string(p.URI), "*") || strings.Contains(string(p.URI), "*.") {
			at.in("uri").bad("%q has a *, which stands for itself alone; want %s", string(p.URI), withoutStars(string(p.URI)))
		} else if !p.URI.ValidPattern(match, false) {
			at.in("uri").bad("%q is no URI to match by %s; want one such as com.example.get, or com.example. with match: prefix, or com..get with match: wildcard",
				string(p.URI), match)
		}
		key := fmt.Sprint(match, p.URI)
		if first, twice := seen[key]; twice {
			at.badKey("it is about the same URIs as permission %d of this role; make one of the two", first)
		}
		seen[key] = i
	}
}

// withoutStars tells what was meant by a URI with stars: other routers take one at the end for a prefix.
func withoutStars(uri string) string {
	if rest := strings.TrimSuffix(uri, "*"); !strings.Contains(rest, "*") {
		return fmt.Sprintf("%q with match: prefix", rest)
	}
	return fmt.Sprintf("%q with match: wildcard", strings.ReplaceAll(uri, "*", ""))
}

// role returns what the router is told.
func (r *roleSection) role() router.Role {
	out := router.Role{
		Disclosure: (*router.Disclosure)(r.Disclosure), TrustLevel: r.TrustLevel,
		Authorizer: r.Authorizer.authorizer(),
		Limits:     r.Limits.limits(), Principal: r.PrincipalLimits.limits(),
	}
	for _, p := range r.Permissions {
		out.Permissions = append(out.Permissions, p.permission())
	}
	return out
}

// mayAll reports whether a permission of the role allows everything.
func (r *roleSection) mayAll() bool {
	return r != nil && slices.ContainsFunc(r.Permissions, func(p permissionSection) bool {
		out := p.permission()
		return out.URI == "" && out.Match == wampcore.MatchPrefix && out.Allow == router.AllActions
	})
}
