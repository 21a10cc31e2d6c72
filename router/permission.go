package router

import (
	"fmt"
	"strings"

	"github.com/wampgate/wampgate/wampcore"
)

// Role is what the sessions of one authrole may do. The zero value may nothing.
type Role struct {
	// Permissions say what is allowed. Of those that match a URI the most specific one decides alone: the exact one, else the
	// longest prefix, else the wildcard with the longest literal part before each wildcard. A pattern may be subscribed to, or
	// registered, if that is allowed for every URI that it matches.
	//
	// wamp.subscription.get_events and wamp.reflection.procedure.list_callable need no permission, since they tell what may be
	// subscribed to and called. They are denied by one that does not allow to call them, decides, and begins with wamp itself.
	Permissions []Permission
	// Authorizer is asked what none of the permissions decides. Without one, that is denied.
	Authorizer Authorizer

	Limits    Limits // of each session; but Sessions is how many of the role there may be in a realm
	Principal Limits // of all sessions of one authid together; MessageBytes says nothing there

	Disclosure *Disclosure // nil: the realm's
	TrustLevel *int64      // of its calls and publications; nil: as RealmConfig.TrustLevels has it
}

// Permission is what may be done with a URI, or with those that match a pattern.
type Permission struct {
	URI   wampcore.URI
	Match wampcore.Match
	Allow Action // a set; what is not in it is denied

	DiscloseCaller    bool // callees are told who calls, asked for or not
	DisclosePublisher bool // subscribers are told who publishes, asked for or not
	Cache             bool // sessions remember what is decided of a URI
}

// Action is something to do with a URI, or a set of such things.
type Action uint8

// The actions.
const (
	ActionCall Action = 1 << iota
	ActionRegister
	ActionPublish
	ActionSubscribe

	AllActions = ActionCall | ActionRegister | ActionPublish | ActionSubscribe
)

// String returns the name that an authorizer gets, empty for a set.
func (a Action) String() string {
	switch a {
	case ActionCall:
		return "call"
	case ActionRegister:
		return "register"
	case ActionPublish:
		return "publish"
	case ActionSubscribe:
		return "subscribe"
	default:
		return ""
	}
}

func (p *Permission) validate() error {
	switch {
	case p.Match > wampcore.MatchWildcard:
		return fmt.Errorf("the permission for %q has a matching policy that there is not", p.URI)
	case !p.URI.ValidPattern(p.Match, false) || oversized(p.URI, p.Match):
		return fmt.Errorf("%q cannot be matched by %s", p.URI, p.Match)
	case p.Allow&^AllActions != 0:
		return fmt.Errorf("the permission for %q allows actions that there are not", p.URI)
	}
	return nil
}

// covers reports whether p matches every URI that a pattern matches.
func (p *Permission) covers(uri wampcore.URI, match wampcore.Match) bool {
	switch {
	case match == wampcore.MatchExact:
		return matches(p.URI, p.Match, uri)
	case p.Match == wampcore.MatchPrefix:
		head := string(uri)
		if match == wampcore.MatchWildcard {
			head = literalHead(head)
		}
		return strings.HasPrefix(head, string(p.URI))
	case p.Match == wampcore.MatchWildcard && match == wampcore.MatchWildcard:
		return eachComponent(p.URI, uri, func(mine, other string) bool { return mine == "" || mine == other })
	default: // a prefix stands for URIs of any number of components
		return false
	}
}

// meets reports whether there is a URI that p matches as well as a pattern.
func (p *Permission) meets(uri wampcore.URI, match wampcore.Match) bool {
	switch {
	case match == wampcore.MatchExact:
		return matches(p.URI, p.Match, uri)
	case p.Match == wampcore.MatchExact:
		return matches(uri, match, p.URI)
	case p.Match == wampcore.MatchPrefix && match == wampcore.MatchPrefix:
		return strings.HasPrefix(string(p.URI), string(uri)) || strings.HasPrefix(string(uri), string(p.URI))
	case p.Match == wampcore.MatchPrefix:
		return prefixMeets(string(p.URI), string(uri))
	case match == wampcore.MatchPrefix:
		return prefixMeets(string(uri), string(p.URI))
	default:
		return eachComponent(p.URI, uri, func(mine, other string) bool { return mine == "" || other == "" || mine == other })
	}
}

// beats reports whether p decides, and not o, where both match. It is the order of index.best.
func (p *Permission) beats(o *Permission) bool {
	switch {
	case p.Match != o.Match:
		return p.Match < o.Match // exact, prefix, wildcard
	case p.Match == wampcore.MatchPrefix:
		return len(p.URI) > len(o.URI)
	case p.Match == wampcore.MatchExact:
		return false
	}
	mine, other := string(p.URI), string(o.URI)
	for mine != other { // of the same number of components
		var a, b string
		a, mine, _ = strings.Cut(mine, ".")
		b, other, _ = strings.Cut(other, ".")
		if a != b {
			return a != ""
		}
	}
	return false
}

// literalHead is what every URI that matches a wildcard pattern begins with.
func literalHead(pattern string) string {
	for i, start := 0, 0; ; i++ {
		switch {
		case i < len(pattern) && pattern[i] != '.':
		case i == start: // the empty component
			return pattern[:start]
		case i == len(pattern):
			return pattern
		default:
			start = i + 1
		}
	}
}

// prefixMeets reports whether a URI that matches a wildcard pattern may begin with prefix.
func prefixMeets(prefix, pattern string) bool {
	for {
		mine, rest, more := strings.Cut(prefix, ".")
		other, restOther, moreOther := strings.Cut(pattern, ".")
		switch {
		case !more: // it may end within a component
			return other == "" || strings.HasPrefix(other, mine)
		case other != "" && other != mine, !moreOther:
			return false
		}
		prefix, pattern = rest, restOther
	}
}

// eachComponent reports whether two patterns have the same number of components, and f holds for each pair of them.
func eachComponent(a, b wampcore.URI, f func(a, b string) bool) bool {
	x, y := string(a), string(b)
	for {
		p, restX, moreX := strings.Cut(x, ".")
		q, restY, moreY := strings.Cut(y, ".")
		if moreX != moreY || !f(p, q) {
			return false
		}
		if !moreX {
			return true
		}
		x, y = restX, restY
	}
}
