package router

import (
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

// metaProcedure answers a call of the router itself. It is no client: it gets the caller and locks for itself.
type metaProcedure func(caller *session, args wampcore.Payload) ([]any, error)

// metaProcedures is the meta API. [RFC session meta API]
var metaProcedures = map[wampcore.URI]metaProcedure{ //nolint:gochecknoglobals // a constant table
	"wamp.session.count": sessionCount,
	"wamp.session.list":  sessionList,
	"wamp.session.get":   sessionGet,
}

func (s *session) metaCall(b *batch, m *wampcore.Call) error {
	procedure := metaProcedures[m.Procedure]
	if procedure == nil {
		return s.reply(b, m.Type(), m.Request, &wampcore.Error{
			URI:     wampcore.ErrNoSuchProcedure,
			Message: "the router offers no " + string(m.Procedure),
		})
	}
	values, err := procedure(s, m.Payload)
	if err != nil {
		return s.reply(b, m.Type(), m.Request, err)
	}
	payload, err := wampcore.NewPayload(s.encoding(), values, nil)
	if err != nil {
		return s.reply(b, m.Type(), m.Request, err)
	}
	b.send(s, &wampcore.Result{Request: m.Request, Payload: payload})
	return nil
}

// sessionsOf returns the ids of the caller's realm's sessions, all or those with one of the roles that are the first
// argument, in rising order.
func sessionsOf(caller *session, args wampcore.Payload) ([]wampcore.ID, error) {
	var roles []string
	if err := args.DecodeArgs(&roles); err != nil {
		return nil, &wampcore.Error{
			URI:     wampcore.ErrInvalidArgument,
			Message: "the first argument is a list of the authroles to look for, if it is given",
		}
	}
	ids := []wampcore.ID{}
	caller.realm.mu.RLock()
	for id, s := range caller.realm.sessions {
		if roles == nil || slices.Contains(roles, s.authRole) {
			ids = append(ids, id)
		}
	}
	caller.realm.mu.RUnlock()
	slices.Sort(ids)
	return ids, nil
}

func sessionCount(caller *session, args wampcore.Payload) ([]any, error) {
	ids, err := sessionsOf(caller, args)
	return []any{len(ids)}, err
}

func sessionList(caller *session, args wampcore.Payload) ([]any, error) {
	ids, err := sessionsOf(caller, args)
	return []any{ids}, err
}

func sessionGet(caller *session, args wampcore.Payload) ([]any, error) {
	var id wampcore.ID
	if err := args.DecodeArgs(&id); err != nil || !id.Valid() {
		return nil, &wampcore.Error{URI: wampcore.ErrInvalidArgument, Message: "the first argument is a session's id"}
	}
	caller.realm.mu.RLock()
	s := caller.realm.sessions[id]
	caller.realm.mu.RUnlock()
	if s == nil {
		return nil, &wampcore.Error{URI: wampcore.ErrNoSuchSession}
	}
	return []any{s.describe()}, nil
}

// describe returns what the meta API says of a session. None of it ever changes.
func (s *session) describe() map[string]any {
	transport := map[string]any{"type": s.conn.peer.Transport}
	if s.conn.peer.Encoding != 0 {
		transport["serializer"] = s.conn.peer.Encoding.String()
	}
	return map[string]any{
		"session":      s.id,
		"authid":       s.authID,
		"authrole":     s.authRole,
		"authmethod":   s.authMeth,
		"authprovider": s.authProv,
		"transport":    transport,
	}
}
