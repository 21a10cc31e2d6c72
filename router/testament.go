package router

import (
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

// maxTestaments bounds what one session may leave behind, and maxTestamentBytes its size.
const (
	maxTestaments     = 64
	maxTestamentBytes = 1 << 20
)

// testaments are what is published when a session ends. [RFC session testament] Sessions are not resumed here: both scopes
// come to their end together, the detached one first.
type testaments struct {
	detached, destroyed []willed
	bytes               int
}

func (t *testaments) all() []willed { return append(t.detached, t.destroyed...) }

// keep drops all but those that f holds for.
func (t *testaments) keep(f func(willed) bool) {
	for _, scope := range []*[]willed{&t.detached, &t.destroyed} {
		*scope = slices.DeleteFunc(*scope, func(p willed) bool {
			if f(p) {
				return false
			}
			t.bytes -= p.size()
			return true
		})
	}
}

// scope returns the list of a scope's name, nil if there is no such scope.
func (t *testaments) scope(name string) *[]willed {
	switch name {
	case "", "destroyed":
		return &t.destroyed
	case "detached":
		return &t.detached
	}
	return nil
}

var errScope = &wampcore.Error{URI: wampcore.ErrInvalidArgument, Message: "scope is destroyed or detached"}

func addTestament(b *batch, caller *session, in wampcore.Payload) (reply, error) {
	var topic wampcore.URI
	var args, kwargs wampcore.Raw
	var more struct {
		Options wampcore.Raw `codec:"publish_options"`
		Scope   string       `codec:"scope"`
	}
	if in.DecodeArgs(&topic, &args, &kwargs) != nil || in.DecodeKwargs(&more) != nil {
		return reply{}, &wampcore.Error{
			URI:     wampcore.ErrInvalidArgument,
			Message: "the arguments are a topic, a list and a dict; the keywords publish_options, a dict, and scope",
		}
	}
	m, err := wampcore.NewPublish(topic, args, kwargs, more.Options)
	if err != nil {
		return reply{}, &wampcore.Error{URI: wampcore.ErrInvalidArgument, Message: err.Error()}
	}
	admitted, err := caller.admit(b, &caller.realm.mu, m)
	if err != nil {
		return reply{}, err
	}
	defer caller.realm.mu.Unlock()
	p := willed{admitted, m.Options.Retain}
	t := &caller.testaments
	scope := t.scope(more.Scope)
	switch {
	case scope == nil:
		return reply{}, errScope
	case len(t.detached)+len(t.destroyed) >= maxTestaments, t.bytes+p.size() > maxTestamentBytes:
		return reply{}, errTooMany
	}
	t.bytes += p.size()
	*scope = append(*scope, p)
	return reply{}, nil
}

func flushTestaments(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	var more struct {
		Scope string `codec:"scope"`
	}
	if in.DecodeKwargs(&more) != nil {
		return reply{}, errScope
	}
	caller.realm.mu.Lock()
	defer caller.realm.mu.Unlock()
	t := &caller.testaments
	scope := t.scope(more.Scope)
	if scope == nil {
		return reply{}, errScope
	}
	for _, p := range *scope {
		t.bytes -= p.size()
	}
	*scope = nil
	return reply{}, nil
}
