package client

import (
	"crypto/tls"
	"fmt"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// login is what a session says of itself while it is opened.
type login struct {
	names  []string
	extra  wampcore.Raw
	logins map[string]auth.Login
	used   string // the method of the last challenge
}

func beginLogin(cfg Config, channel *tls.ConnectionState) (*login, error) {
	l := &login{logins: map[string]auth.Login{}}
	extra := map[string]any{}
	for _, m := range cfg.Auth {
		one := m.Begin(cfg.AuthID, channel)
		l.names = append(l.names, m.Name)
		l.logins[m.Name] = one
		for key, v := range one.Extra {
			if v != nil || extra[key] == nil { // that one method has no channel binding does not take it from another
				extra[key] = v
			}
		}
	}
	if len(extra) == 0 {
		return l, nil
	}
	var err error
	l.extra, err = wampcore.NewRaw(wampcore.MessagePack, extra)
	return l, err
}

func (l *login) answer(m *wampcore.Challenge) (*wampcore.Authenticate, error) {
	one, ok := l.logins[m.AuthMethod]
	if !ok || one.Answer == nil {
		return nil, wampcore.Violation("CHALLENGE by %q, which was not offered", m.AuthMethod)
	}
	l.used = m.AuthMethod
	signature, extra, err := one.Answer(m.Extra)
	if err != nil {
		return nil, err
	}
	answer := &wampcore.Authenticate{Signature: signature}
	if len(extra) > 0 {
		answer.Extra, err = wampcore.NewRaw(wampcore.MessagePack, extra)
	}
	return answer, err
}

// check checks that the client was let in as it asked to be, and by whom.
func (l *login) check(m *wampcore.Welcome) error {
	if len(l.names) == 0 {
		return nil
	}
	used := l.used
	if used == "" {
		used = m.Details.AuthMethod
	}
	one, ok := l.logins[used]
	switch {
	case !ok, l.used == "" && one.Answer != nil:
		return fmt.Errorf("client: the router lets the client in by %q, unasked", m.Details.AuthMethod)
	case one.Check == nil:
		return nil
	default:
		return one.Check(m)
	}
}

// refuseRouter tells a router that it is not believed.
func (s *Session) refuseRouter(err error) error {
	s.out.last(&wampcore.Abort{
		Reason: wampcore.ErrAuthenticationFailed, Details: wampcore.CloseDetails{Message: "the router could not be authenticated"},
	})
	return err
}
