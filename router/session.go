package router

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
)

// session is one peer's stay in a realm.
type session struct {
	// Set before it joins, never changed after.
	conn     *conn
	realm    *realm
	id       wampcore.ID
	roles    wampcore.Roles
	agent    string
	authID   string
	authRole string
	authMeth string
	authProv string
	meter    meter
	joined   time.Time
	expires  time.Time // the zero time: it does not
	login    string    // the authenticator that let it in; empty: the program vouches for it

	rules atomic.Pointer[rules] // changed under the realm's lock

	// Owned by the reader.
	lastRequest     wampcore.ID
	credit          credit // of meter
	principalCredit credit
	creditedBy      *rules
	decisions       map[decisionKey]Decision // remembered, of decidedBy
	decidedBy       *rules

	// Guarded by the realm's lock. Maps are made when they are first needed.
	lastInvocation wampcore.ID
	subscriptions  map[wampcore.ID]*subscription
	registrations  map[wampcore.ID]*registration
	calls          map[wampcore.ID]*invocation // open, by CALL.Request
	invocations    map[wampcore.ID]*invocation // open, by INVOCATION.Request
	unfinished     []wampcore.ID               // calls that were answered before their caller had sent all of them
	testaments     testaments
	principal      *principal     // set when it joins
	defined        []wampcore.URI // in the realm's catalog
	buried         bool           // ended by kill_all: nothing is said of it
	leaving        bool           // it gets no more calls, and makes none; it ends when those that are open are answered
}

func (s *session) welcome(extra wampcore.Raw) *wampcore.Welcome {
	return &wampcore.Welcome{Session: s.id, Details: wampcore.WelcomeDetails{
		Roles:        routerRoles(),
		Agent:        s.conn.router.cfg.Agent,
		Realm:        string(s.realm.name),
		AuthID:       s.authID,
		AuthRole:     s.authRole,
		AuthMethod:   s.authMeth,
		AuthProvider: s.authProv,
		AuthExtra:    extra,
	}}
}

// route handles one message. An error it returns ends the session; a request that merely fails is answered instead.
func (s *session) route(b *batch, m wampcore.Message) error {
	refused, err := s.admission(s.rules.Load(), m)
	if err != nil {
		return err
	}
	if refused != nil {
		if done, err := s.turnDown(b, m, refused); done {
			return err
		}
	}
	switch m := m.(type) {
	case *wampcore.Publish:
		return s.publish(b, m)
	case *wampcore.Call:
		return s.call(b, m)
	case *wampcore.Yield:
		return s.yield(b, m)
	case *wampcore.ErrorMsg:
		return s.fail(b, m)
	case *wampcore.Subscribe:
		return s.answer(b, m.Type(), m.Request, func() error { return s.realm.subscribe(b, s, m) })
	case *wampcore.Unsubscribe:
		return s.answer(b, m.Type(), m.Request, func() error { return s.realm.unsubscribe(b, s, m) })
	case *wampcore.Register:
		return s.answer(b, m.Type(), m.Request, func() error { return s.realm.register(b, s, m) })
	case *wampcore.Unregister:
		return s.answer(b, m.Type(), m.Request, func() error { return s.realm.unregister(b, s, m) })
	case *wampcore.Cancel:
		s.realm.cancel(b, s, m)
		return nil
	case *wampcore.Goodbye:
		return errGoodbye
	case *wampcore.Abort:
		return errAbort
	default:
		return wampcore.Violation("message %d is not for a router with an open session", m.Type())
	}
}

// answer does a request and answers it with ERROR if it fails.
func (s *session) answer(b *batch, kind wampcore.MessageType, request wampcore.ID, do func() error) error {
	if err := s.checkRequest(request); err != nil {
		return err
	}
	return s.reply(b, kind, request, do())
}

// checkRequest checks a new request's id. [WAMP ids] They are 1, 2, 3 and so on; but clients in the field leave gaps, so
// that only a strict realm insists.
func (s *session) checkRequest(id wampcore.ID) error {
	if s.realm.strict.Load() && id != s.lastRequest.Next() {
		return wampcore.Violation("request id %d does not follow %d", id, s.lastRequest)
	}
	s.lastRequest = id
	return nil
}

// reply is where a failed request becomes an ERROR message. A ProtocolError is passed on.
func (s *session) reply(b *batch, kind wampcore.MessageType, request wampcore.ID, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*wampcore.ProtocolError](err); ok {
		return err
	}
	e, ok := errors.AsType[*wampcore.Error](err)
	if !ok { // ours, and none of the peer's business
		s.log(zerolog.ErrorLevel).Err(err).Uint16("request_type", uint16(kind)).Msg("request failed")
		e = &wampcore.Error{URI: wampcore.ErrRuntime, Message: "internal error"}
	}
	b.send(s, s.errorMsg(kind, request, e))
	return nil
}

func (s *session) errorMsg(kind wampcore.MessageType, request wampcore.ID, e *wampcore.Error) *wampcore.ErrorMsg {
	m := wampcore.NewErrorMsg()
	m.RequestType, m.Request, m.URI, m.Payload = kind, request, e.URI, e.Payload
	if e.Message != "" && m.Payload.Empty() {
		m.Payload, _ = wampcore.NewPayload(s.encoding(), []any{e.Message}, nil) // a string: it cannot fail
	}
	return m
}

// encoding is the one for payloads that the router makes for this peer.
func (s *session) encoding() wampcore.Encoding {
	if s.conn.peer.Encoding == 0 {
		return wampcore.JSON // a pipe takes any
	}
	return s.conn.peer.Encoding
}

func (s *session) logEnd(cause error, lasted time.Duration) {
	_, violation := errors.AsType[*wampcore.ProtocolError](cause)
	switch {
	case violation:
		s.log(zerolog.WarnLevel).Err(cause).Dur("for_ms", lasted).Msg("session broke the protocol")
	case errors.Is(cause, errSlow):
		s.log(zerolog.WarnLevel).Dur("for_ms", lasted).Msg("session ended as slow")
	case errors.Is(cause, errGoodbye), errors.Is(cause, io.EOF), errors.Is(cause, wampcore.ErrClosed):
		s.log(zerolog.InfoLevel).Dur("for_ms", lasted).Msg("session left")
	default:
		s.log(zerolog.InfoLevel).AnErr("cause", cause).Dur("for_ms", lasted).Msg("session left")
	}
}
