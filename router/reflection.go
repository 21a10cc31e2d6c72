package router

import (
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

// What sessions may say of a realm's URIs: so many definitions each, of such a size.
const (
	maxDefinitions     = 256
	maxDefinitionBytes = 64 << 10
)

// catalog holds what peers have defined of the realm's topics, procedures and errors: dicts that people and tools read.
// Their form is the peers' own affair, but for "type", which is topic, procedure or error. A definition is there as long
// as the session that gave it. The realm's lock guards it.
type catalog struct {
	definitions map[wampcore.URI]definition
}

type definition struct {
	owner *session
	kind  string
	dict  wampcore.Raw
}

// remove forgets what a leaving session has defined.
func (c *catalog) remove(b *batch, s *session) {
	for len(s.defined) > 0 {
		c.undefine(b, s, s.defined[len(s.defined)-1])
	}
}

func (c *catalog) undefine(b *batch, s *session, uri wampcore.URI) {
	delete(c.definitions, uri)
	s.defined = slices.DeleteFunc(s.defined, func(other wampcore.URI) bool { return other == uri })
	s.realm.announce(b, "wamp.reflect.on_undefine", func() []any { return []any{uri} })
}

var errDefinition = invalidArgument("the arguments are a URI and its definition: a dict of at most 64 KiB " +
	"whose type is topic, procedure or error; or null, which takes it back")

// reflectDefine gives, replaces or takes back the definition of a URI: [uri, dict or null]. What another session has
// defined is not to be changed.
func reflectDefine(b *batch, caller *session, in wampcore.Payload) (reply, error) {
	var uri wampcore.URI
	var dict wampcore.Raw
	if err := in.DecodeArgs(&uri, &dict); err != nil || len(dict.Bytes) > maxDefinitionBytes {
		return reply{}, errDefinition
	}
	if !uri.Valid(caller.realm.strict.Load()) || uri.Reserved() || oversized(uri, wampcore.MatchExact) {
		return reply{}, invalidURI("uri", uri)
	}
	var what *struct {
		Type string `codec:"type"`
	}
	if err := dict.Decode(&what); err != nil {
		return reply{}, errDefinition
	}
	r := caller.realm
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.catalog.definitions[uri]
	switch {
	case known && before.owner != caller:
		return reply{}, &wampcore.Error{URI: wampcore.ErrNotAuthorized, Message: "another session has defined " + string(uri)}
	case what == nil:
		if known {
			r.catalog.undefine(b, caller, uri)
		}
		return reply{}, nil
	case what.Type != "topic" && what.Type != "procedure" && what.Type != "error":
		return reply{}, errDefinition
	case !known && len(caller.defined) >= maxDefinitions:
		return reply{}, errTooMany
	}
	if !known {
		caller.defined = append(caller.defined, uri)
	}
	if r.catalog.definitions == nil {
		r.catalog.definitions = map[wampcore.URI]definition{}
	}
	r.catalog.definitions[uri] = definition{caller, what.Type, dict}
	r.announce(b, "wamp.reflect.on_define", func() []any { return []any{uri, dict} })
	return reply{}, nil
}

// reflectDescribe returns a URI's definition, null if it has none.
func reflectDescribe(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	uri, _, err := argURI(in, "URI")
	if err != nil {
		return reply{}, err
	}
	caller.realm.mu.RLock()
	defer caller.realm.mu.RUnlock()
	return values(caller.realm.catalog.definitions[uri].dict), nil
}

// reflectionList returns a procedure that lists the URIs of one kind, those that are in use and those that are defined, in
// order: at most limit (keyword; default 1,000, at most 10,000) behind after (keyword).
func reflectionList(kind string) metaProcedure {
	return func(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
		var page struct {
			After wampcore.URI `codec:"after"`
			Limit int          `codec:"limit"`
		}
		if err := in.DecodeKwargs(&page); err != nil || page.Limit < 0 {
			return reply{}, invalidArgument("after is a URI and limit a positive number, if they are given")
		}
		if page.Limit == 0 {
			page.Limit = 1000
		}
		uris := caller.realm.uris(kind)
		at, exact := slices.BinarySearch(uris, page.After)
		if exact {
			at++
		}
		uris = uris[at:]
		return values(uris[:min(len(uris), page.Limit, 10_000)]), nil
	}
}

// uris returns the URIs of one kind in order.
func (r *realm) uris(kind string) []wampcore.URI {
	uris := []wampcore.URI{}
	r.mu.RLock()
	for uri, d := range r.catalog.definitions {
		if d.kind == kind {
			uris = append(uris, uri)
		}
	}
	switch kind {
	case "procedure":
		for _, reg := range r.dealer.byID {
			uris = append(uris, reg.procedure)
		}
	case "topic":
		for _, sub := range r.broker.byID {
			uris = append(uris, sub.topic)
		}
	}
	r.mu.RUnlock()
	slices.Sort(uris)
	return slices.Compact(uris)
}

// reflectionDescribe returns a procedure that describes one URI of a kind: a dict of the URI, its definition (null if it
// has none), and where it is in use the registrations or subscriptions under it. It returns null for what is neither.
func reflectionDescribe(kind string) metaProcedure {
	return func(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
		uri, _, err := argURI(in, kind)
		if err != nil {
			return reply{}, err
		}
		r := caller.realm
		r.mu.RLock()
		defer r.mu.RUnlock()
		d, known := r.catalog.definitions[uri]
		if d.kind != kind {
			d, known = definition{}, false
		}
		uses := r.uses(kind, uri)
		if !known && len(uses) == 0 {
			return values(nil), nil
		}
		description := map[string]any{"uri": uri, "definition": d.dict}
		switch kind {
		case "procedure":
			description["registrations"] = uses
		case "topic":
			description["subscriptions"] = uses
		}
		return values(description), nil
	}
}

// uses describes the registrations of a procedure, or the subscriptions of a topic. mu is held.
func (r *realm) uses(kind string, uri wampcore.URI) []any {
	uses := []any{}
	for match := wampcore.MatchExact; match <= wampcore.MatchWildcard; match++ {
		switch kind {
		case "procedure":
			if reg := r.dealer.index.at(uri, match); reg != nil {
				uses = append(uses, reg.describe())
			}
		case "topic":
			if sub := r.broker.index.at(uri, match); sub != nil {
				uses = append(uses, sub.describe())
			}
		}
	}
	return uses
}
