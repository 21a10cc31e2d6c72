package router

import (
	"context"
	"errors"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// TicketVerifier decides whether a ticket lets somebody in, and as whom: a JWT, for one. A ticket that it does not take is an error with
// wamp.error.authentication_denied.
type TicketVerifier interface {
	VerifyTicket(ctx context.Context, l *Login, ticket string) (Identity, error)
}

// Ticket compares tickets. [RFC ticket-based authentication]
type Ticket struct {
	Principals Principals // optional
	// Verifiers are asked, in turn, about tickets that are no principal's.
	Verifiers []TicketVerifier
}

// Authenticate asks for the ticket.
func (t Ticket) Authenticate(ctx context.Context, l *Login) (Identity, error) {
	p, known, err := find(ctx, t.Principals, l, l.AuthID)
	if err != nil {
		return Identity{}, err
	}
	answer, err := l.Challenge(ctx, wampcore.Raw{})
	if err != nil {
		return Identity{}, err
	}
	if equal := auth.Equal(answer.Signature, p.Ticket); !equal || !known || p.Ticket == "" {
		return t.verify(ctx, l, answer.Signature)
	}
	return p.identity(l.AuthID), nil
}

func (t Ticket) verify(ctx context.Context, l *Login, ticket string) (Identity, error) {
	for _, v := range t.Verifiers {
		id, err := v.VerifyTicket(ctx, l, ticket)
		if e, ok := errors.AsType[*wampcore.Error](err); ok && e.URI == wampcore.ErrAuthenticationDenied {
			continue
		}
		if id.Provider == "" {
			id.Provider = dynamic
		}
		return id, err
	}
	return Identity{}, errDenied
}

// Holds reports whether the principal is still there, or who has verified the ticket would still do it. A TicketVerifier that is no Holder
// would.
func (t Ticket) Holds(ctx context.Context, who SessionDetails) (bool, error) {
	if ok, err := holds(ctx, t.Principals, who); who.Provider == static || ok || err != nil {
		return ok, err
	}
	for _, v := range t.Verifiers {
		h, ok := v.(Holder)
		if !ok {
			return true, nil
		}
		if ok, err := h.Holds(ctx, who); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
