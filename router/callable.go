package router

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// What one answer of wamp.reflection.procedure.list_callable has at the most.
const (
	maxCallable      = 1000
	maxCallableBytes = 4 << 20 // of definitions
)

// callable is a procedure that somebody may call.
type callable struct {
	uri        wampcore.URI
	match      wampcore.Match
	definition wampcore.Raw
}

// procedureListCallable lists the registrations whose procedures the caller may call, in the order of their URIs: a list of
// {uri, match, definition}, with the keyword more if there are others behind. It needs no permission: it shows what the caller may call anyway.
func procedureListCallable(b *batch, caller *session, _ wampcore.Payload) (reply, error) {
	r := caller.rules.Load()
	until := time.Now().Add(caller.conn.router.cfg.AuthorizeTimeout) // of all that is asked
	list, size, more := []any{}, 0, false
	for _, c := range caller.realm.registered() {
		d, err := caller.decision(b, r, question{action: ActionCall, uri: c.uri, match: c.match})
		switch {
		case err != nil || !d.Allow:
		case len(list) == maxCallable || size+len(c.definition.Bytes) > maxCallableBytes:
			more = true
		default:
			size += len(c.definition.Bytes)
			list = append(list, map[string]any{"uri": c.uri, "match": c.match.String(), "definition": c.definition})
		}
		if more = more || time.Now().After(until); more {
			break
		}
	}
	out := values(list)
	if more {
		out.kwargs = map[string]any{"more": true}
	}
	return out, nil
}

// registered returns what is registered, in order.
func (r *realm) registered() []callable {
	r.mu.RLock()
	all := make([]callable, 0, len(r.dealer.byID))
	for _, reg := range r.dealer.byID {
		c := callable{uri: reg.procedure, match: reg.match}
		if d := r.catalog.definitions[reg.procedure]; d.kind == "procedure" {
			c.definition = d.dict
		}
		all = append(all, c)
	}
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b callable) int {
		return cmp.Or(strings.Compare(string(a.uri), string(b.uri)), cmp.Compare(a.match, b.match))
	})
	return all
}
