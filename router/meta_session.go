package router

import (
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

// sessionsOf returns the caller's realm's sessions, all or those with one of the roles that are the first argument, in
// rising order.
func sessionsOf(caller *session, in wampcore.Payload) ([]wampcore.ID, error) {
	var roles []string
	if err := in.DecodeArgs(&roles); err != nil {
		return nil, invalidArgument("the first argument is a list of the authroles to look for, if it is given")
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

func sessionCount(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	ids, err := sessionsOf(caller, in)
	return values(len(ids)), err
}

func sessionList(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	ids, err := sessionsOf(caller, in)
	return values(ids), err
}

func sessionGet(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	id, err := argID(in, "session")
	if err != nil {
		return reply{}, err
	}
	caller.realm.mu.RLock()
	s := caller.realm.sessions[id]
	caller.realm.mu.RUnlock()
	if s == nil {
		return reply{}, errNoSuchSession
	}
	return values(s.describe()), nil
}

var errNoSuchSession = &wampcore.Error{URI: wampcore.ErrNoSuchSession}

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

// kill ends the sessions of the caller's realm that pick picks, but not the caller's, and returns their ids in order.
func kill(caller *session, in wampcore.Payload, bury bool, pick func(*session) bool) ([]wampcore.ID, error) {
	var why struct {
		Reason  *wampcore.URI `codec:"reason"`
		Message string        `codec:"message"`
	}
	if err := in.DecodeKwargs(&why); err != nil {
		return nil, invalidArgument("reason is a URI and message a string, if they are given")
	}
	cause := &wampcore.Error{URI: wampcore.CloseKilled, Message: why.Message}
	if why.Reason != nil {
		if cause.URI = *why.Reason; !cause.URI.Valid(caller.realm.strict.Load()) {
			return nil, invalidURI("reason", cause.URI)
		}
	}
	ids := []wampcore.ID{}
	caller.realm.mu.Lock()
	defer caller.realm.mu.Unlock()
	for id, s := range caller.realm.sessions {
		if s != caller && pick(s) {
			s.buried = s.buried || bury
			s.conn.stop(cause)
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func sessionKill(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	id, err := argID(in, "session")
	if err != nil {
		return reply{}, err
	}
	ids, err := kill(caller, in, false, func(s *session) bool { return s.id == id })
	if err == nil && len(ids) == 0 {
		err = errNoSuchSession
	}
	return reply{}, err
}

func sessionKillByAuthID(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	var authID string
	if err := in.DecodeArgs(&authID); err != nil || len(in.Args) == 0 {
		return reply{}, invalidArgument("the first argument is an authid")
	}
	ids, err := kill(caller, in, false, func(s *session) bool { return s.authID == authID })
	return values(ids), err
}

func sessionKillByAuthRole(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	var role string
	if err := in.DecodeArgs(&role); err != nil || len(in.Args) == 0 {
		return reply{}, invalidArgument("the first argument is an authrole")
	}
	ids, err := kill(caller, in, false, func(s *session) bool { return s.authRole == role })
	return values(len(ids)), err
}

// sessionKillAll has no testaments published, and nothing said of those who leave. [RFC session meta API]
func sessionKillAll(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	ids, err := kill(caller, in, true, func(*session) bool { return true })
	return values(len(ids)), err
}
