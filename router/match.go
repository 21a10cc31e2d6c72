package router

import (
	"strings"

	"github.com/wampgate/wampgate/wampcore"
)

// index finds entries by URI: the only place that knows exact, prefix and wildcard matching. Looking up costs the URI's
// length, whatever the number of entries, and allocates nothing; but patterns that differ in where they are wild cost a way each
// through the tree. An entry's pattern and policy name it.
type index[T any] struct {
	exact    map[wampcore.URI]*T
	prefix   prefixNode[T]
	wildcard wildcardNode[T]
}

func newIndex[T any]() index[T] { return index[T]{exact: map[wampcore.URI]*T{}} }

// at returns the entry with exactly this pattern and policy, nil if there is none.
func (x *index[T]) at(uri wampcore.URI, match wampcore.Match) *T {
	switch match {
	case wampcore.MatchPrefix:
		return x.prefix.at(string(uri))
	case wampcore.MatchWildcard:
		return x.wildcard.at(string(uri))
	default:
		return x.exact[uri]
	}
}

// set puts an entry, or takes it out where v is nil.
func (x *index[T]) set(uri wampcore.URI, match wampcore.Match, v *T) {
	switch {
	case match == wampcore.MatchPrefix:
		x.prefix.set(string(uri), v)
	case match == wampcore.MatchWildcard:
		x.wildcard.set(string(uri), v)
	case v == nil:
		delete(x.exact, uri)
	default:
		x.exact[uri] = v
	}
}

// best returns the one entry that serves uri: the exact one, else the longest prefix, else the wildcard with the longest
// literal part before each wildcard, from left to right. [RFC pattern-based registrations]
func (x *index[T]) best(uri wampcore.URI) *T {
	if v := x.exact[uri]; v != nil {
		return v
	}
	if v := x.prefix.longest(string(uri)); v != nil {
		return v
	}
	return x.wildcard.first(string(uri))
}

// each calls f for every entry that matches uri.
func (x *index[T]) each(uri wampcore.URI, f func(v *T, match wampcore.Match)) {
	if v := x.exact[uri]; v != nil {
		f(v, wampcore.MatchExact)
	}
	x.prefix.each(string(uri), f)
	x.wildcard.each(string(uri), f)
}

// prefixNode is a node of a radix tree over bytes: a prefix is a string, not a list of components.
type prefixNode[T any] struct {
	label    string // from the parent to here
	children map[byte]*prefixNode[T]
	value    *T
}

func (n *prefixNode[T]) at(s string) *T {
	for s != "" {
		child := n.children[s[0]]
		if child == nil || !strings.HasPrefix(s, child.label) {
			return nil
		}
		n, s = child, s[len(child.label):]
	}
	return n.value
}

func (n *prefixNode[T]) longest(s string) *T {
	best := n.value
	for s != "" {
		child := n.children[s[0]]
		if child == nil || !strings.HasPrefix(s, child.label) {
			break
		}
		if n, s = child, s[len(child.label):]; n.value != nil {
			best = n.value
		}
	}
	return best
}

func (n *prefixNode[T]) each(s string, f func(*T, wampcore.Match)) {
	for {
		if n.value != nil {
			f(n.value, wampcore.MatchPrefix)
		}
		if s == "" {
			return
		}
		child := n.children[s[0]]
		if child == nil || !strings.HasPrefix(s, child.label) {
			return
		}
		n, s = child, s[len(child.label):]
	}
}

// set walks down to s, splitting and adding nodes as it must; a nil value removes, and then joins what was split.
func (n *prefixNode[T]) set(s string, v *T) {
	if s == "" {
		n.value = v
		return
	}
	child := n.children[s[0]]
	if child == nil {
		if v == nil {
			return
		}
		if n.children == nil {
			n.children = map[byte]*prefixNode[T]{}
		}
		n.children[s[0]] = &prefixNode[T]{label: strings.Clone(s), value: v}
		return
	}
	common := commonPrefix(s, child.label)
	if common < len(child.label) {
		if v == nil {
			return
		}
		upper := &prefixNode[T]{label: child.label[:common], children: map[byte]*prefixNode[T]{child.label[common]: child}}
		child.label = child.label[common:]
		n.children[s[0]] = upper
		child = upper
	}
	child.set(s[common:], v)
	if v == nil {
		n.tidy(child)
	}
}

// tidy removes a child that holds nothing, or joins it with its only child.
func (n *prefixNode[T]) tidy(child *prefixNode[T]) {
	if child.value != nil || len(child.children) > 1 {
		return
	}
	key := child.label[0]
	delete(n.children, key)
	for _, only := range child.children {
		only.label = child.label + only.label
		n.children[key] = only
	}
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// wildcardNode is a node of a tree over components; the empty component of a pattern matches any one component.
type wildcardNode[T any] struct {
	literal map[string]*wildcardNode[T]
	any     *wildcardNode[T]
	value   *T
}

func (n *wildcardNode[T]) at(pattern string) *T {
	for more := true; more; {
		var part string
		part, pattern, more = strings.Cut(pattern, ".")
		if n = n.child(part); n == nil {
			return nil
		}
	}
	return n.value
}

func (n *wildcardNode[T]) child(part string) *wildcardNode[T] {
	if part == "" {
		return n.any
	}
	return n.literal[part]
}

// first returns the best match: a literal component is tried before the wildcard.
func (n *wildcardNode[T]) first(uri string) *T {
	part, rest, more := strings.Cut(uri, ".")
	for _, child := range [...]*wildcardNode[T]{n.literal[part], n.any} {
		if child == nil {
			continue
		}
		v := child.value
		if more {
			v = child.first(rest)
		}
		if v != nil {
			return v
		}
	}
	return nil
}

func (n *wildcardNode[T]) each(uri string, f func(*T, wampcore.Match)) {
	part, rest, more := strings.Cut(uri, ".")
	for _, child := range [...]*wildcardNode[T]{n.literal[part], n.any} {
		switch {
		case child == nil:
		case more:
			child.each(rest, f)
		case child.value != nil:
			f(child.value, wampcore.MatchWildcard)
		}
	}
}

func (n *wildcardNode[T]) set(pattern string, v *T) {
	part, rest, more := strings.Cut(pattern, ".")
	child := n.child(part)
	if child == nil {
		if v == nil {
			return
		}
		child = n.add(part)
	}
	if more {
		child.set(rest, v)
	} else {
		child.value = v
	}
	if child.value == nil && child.any == nil && len(child.literal) == 0 {
		if part == "" {
			n.any = nil
		} else {
			delete(n.literal, part)
		}
	}
}

func (n *wildcardNode[T]) add(part string) *wildcardNode[T] {
	child := &wildcardNode[T]{}
	if part == "" {
		n.any = child
		return child
	}
	if n.literal == nil {
		n.literal = map[string]*wildcardNode[T]{}
	}
	n.literal[strings.Clone(part)] = child
	return child
}

// matches reports whether uri is one of those that a pattern stands for. It is for what is looked through one by one;
// routing uses the index.
func matches(pattern wampcore.URI, match wampcore.Match, uri wampcore.URI) bool {
	switch match {
	case wampcore.MatchPrefix:
		return strings.HasPrefix(string(uri), string(pattern))
	case wampcore.MatchWildcard:
		p, u := string(pattern), string(uri)
		for {
			part, restP, moreP := strings.Cut(p, ".")
			component, restU, moreU := strings.Cut(u, ".")
			if moreP != moreU || part != "" && part != component {
				return false
			}
			if !moreP {
				return true
			}
			p, u = restP, restU
		}
	default:
		return pattern == uri
	}
}
