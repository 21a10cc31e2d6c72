package router

import (
	"github.com/wampgate/wampgate/wampcore"
)

func (reg *registration) ident() wampcore.ID     { return reg.id }
func (reg *registration) policy() wampcore.Match { return reg.match }

func (reg *registration) describe() map[string]any {
	return map[string]any{
		"id": reg.id, "created": timestamp(reg.created), "uri": reg.procedure,
		"match": reg.match.String(), "invoke": reg.invoke.String(),
	}
}

func registrationList(_ *batch, caller *session, _ wampcore.Payload) (reply, error) {
	caller.realm.mu.RLock()
	lists := byMatch(caller.realm.dealer.byID, (*registration).policy)
	caller.realm.mu.RUnlock()
	return lists.reply(), nil
}

func registrationLookup(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	uri, match, err := argURI(in, "procedure")
	if err != nil {
		return reply{}, err
	}
	caller.realm.mu.RLock()
	defer caller.realm.mu.RUnlock()
	return found(caller.realm.dealer.index.at(uri, match), (*registration).ident), nil
}

func registrationMatch(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	uri, _, err := argURI(in, "procedure")
	if err != nil {
		return reply{}, err
	}
	if uri.Reserved() { // patterns do not serve what is the router's
		return values(nil), nil
	}
	caller.realm.mu.RLock()
	defer caller.realm.mu.RUnlock()
	return found(caller.realm.dealer.index.best(uri), (*registration).ident), nil
}

// registrationOf calls f with the registration that the first argument names, under the lock for reading.
func registrationOf(caller *session, in wampcore.Payload, f func(*registration) reply) (reply, error) {
	id, err := argID(in, "registration")
	if err != nil {
		return reply{}, err
	}
	caller.realm.mu.RLock()
	defer caller.realm.mu.RUnlock()
	reg := caller.realm.dealer.byID[id]
	if reg == nil {
		return reply{}, &wampcore.Error{URI: wampcore.ErrNoSuchRegistration}
	}
	return f(reg), nil
}

func registrationGet(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	return registrationOf(caller, in, func(reg *registration) reply { return values(reg.describe()) })
}

func registrationListCallees(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	return registrationOf(caller, in, func(reg *registration) reply {
		ids := make([]wampcore.ID, len(reg.callees))
		for i, c := range reg.callees {
			ids[i] = c.s.id
		}
		return values(ids)
	})
}

func registrationCountCallees(_ *batch, caller *session, in wampcore.Payload) (reply, error) {
	return registrationOf(caller, in, func(reg *registration) reply { return values(len(reg.callees)) })
}

func registrationRemoveCallee(b *batch, caller *session, in wampcore.Payload) (reply, error) {
	id, from, reason, err := removal(in)
	if err != nil {
		return reply{}, err
	}
	r := caller.realm
	r.mu.Lock()
	defer r.mu.Unlock()
	reg, s := r.dealer.byID[id], r.sessions[from]
	switch {
	case reg == nil:
		return reply{}, &wampcore.Error{URI: wampcore.ErrNoSuchRegistration}
	case s == nil || s.registrations[id] == nil:
		return reply{}, errNoSuchSession
	}
	r.dealer.revoke(b, s, reg, reason)
	return reply{}, nil
}
