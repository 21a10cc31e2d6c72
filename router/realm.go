package router

import (
	"strings"
	"sync"

	"github.com/wampgate/wampgate/wampcore"
)

// realm routes between its sessions.
type realm struct {
	name   wampcore.URI
	strict bool

	// mu guards everything below, and what sessions hold in the realm. Messages are queued while it is held, so peers see
	// one order of things.
	mu       sync.RWMutex
	sessions map[wampcore.ID]*session
	broker   broker
	dealer   dealer
}

func newRealm(cfg RealmConfig) *realm {
	return &realm{
		name:     cfg.Name,
		strict:   cfg.Strict,
		sessions: map[wampcore.ID]*session{},
		broker:   newBroker(),
		dealer:   newDealer(cfg.Strict),
	}
}

func (r *realm) join(b *batch, s *session, welcome *wampcore.Welcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[s.id] = s
	b.send(s, welcome)
}

func (r *realm) leave(b *batch, s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s.id)
	r.broker.remove(s)
	r.dealer.remove(b, s)
}

func (r *realm) subscribe(b *batch, s *session, m *wampcore.Subscribe) error {
	if !m.Topic.ValidPattern(m.Options.Match, r.strict) || tooDeep(m.Topic, m.Options.Match) {
		return invalidURI("topic", m.Topic)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broker.subscribe(b, s, m)
	return nil
}

// maxComponents bounds a wildcard pattern, and so the depth of the tree it goes into.
const maxComponents = 64

func tooDeep(uri wampcore.URI, match wampcore.Match) bool {
	return match == wampcore.MatchWildcard && strings.Count(string(uri), ".") >= maxComponents
}

func (r *realm) unsubscribe(b *batch, s *session, m *wampcore.Unsubscribe) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broker.unsubscribe(b, s, m)
}

func (r *realm) register(b *batch, s *session, m *wampcore.Register) error {
	if !m.Procedure.ValidPattern(m.Options.Match, r.strict) || m.Procedure.Reserved() ||
		tooDeep(m.Procedure, m.Options.Match) {
		return invalidURI("procedure", m.Procedure)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dealer.register(b, s, m)
}

func (r *realm) unregister(b *batch, s *session, m *wampcore.Unregister) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dealer.unregister(b, s, m)
}

func (r *realm) cancel(b *batch, s *session, m *wampcore.Cancel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dealer.cancel(b, s, m)
}

// publish queues the events of m. Unless it was asked for, there is no answer, not even an error.
func (s *session) publish(b *batch, m *wampcore.Publish) error {
	if err := s.checkRequest(m.Request); err != nil {
		return err
	}
	if m.Options.Passthru.Scheme != "" {
		return errPassthru
	}
	if !m.Topic.Valid(s.realm.strict) || m.Topic.Reserved() {
		if !m.Options.Acknowledge {
			return nil
		}
		return s.reply(b, m.Type(), m.Request, invalidURI("topic", m.Topic))
	}
	publication := wampcore.NewID()
	s.realm.mu.RLock()
	defer s.realm.mu.RUnlock()
	if m.Options.Acknowledge { // before an event that the publisher gets itself
		b.send(s, &wampcore.Published{Request: m.Request, Publication: publication})
	}
	s.realm.broker.publish(b, s, m, publication)
	return nil
}

var errPassthru = wampcore.Violation("ppt_scheme is given, but payload_passthru_mode was not announced")

func (s *session) call(b *batch, m *wampcore.Call) error {
	if err := s.checkRequest(m.Request); err != nil {
		return err
	}
	switch {
	case m.Options.Passthru.Scheme != "":
		return errPassthru
	case m.Options.Progress:
		return wampcore.Violation("progress is given, but progressive_call_invocations was not announced")
	case !m.Procedure.Valid(s.realm.strict):
		return s.reply(b, m.Type(), m.Request, invalidURI("procedure", m.Procedure))
	case m.Procedure.Reserved():
		return s.metaCall(b, m)
	}
	s.realm.mu.Lock()
	err := s.realm.dealer.call(b, s, m)
	s.realm.mu.Unlock()
	return s.reply(b, m.Type(), m.Request, err)
}

func (s *session) yield(b *batch, m *wampcore.Yield) error {
	if m.Options.Passthru.Scheme != "" {
		return errPassthru
	}
	s.realm.mu.Lock()
	defer s.realm.mu.Unlock()
	return s.realm.dealer.yield(b, s, m)
}

func (s *session) fail(b *batch, m *wampcore.ErrorMsg) error {
	if m.RequestType != wampcore.TypeInvocation {
		return wampcore.Violation("ERROR for request type %d; a client fails invocations (68) only", m.RequestType)
	}
	s.realm.mu.Lock()
	defer s.realm.mu.Unlock()
	return s.realm.dealer.fail(b, s, m)
}

func invalidURI(what string, uri wampcore.URI) error {
	msg := what + " is no valid URI"
	if uri.Reserved() {
		msg = what + " is reserved: URIs that begin with wamp. belong to the router"
	}
	return &wampcore.Error{URI: wampcore.ErrInvalidURI, Message: msg}
}
