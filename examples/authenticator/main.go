// Command authenticator embeds a router that lets in who knows a ticket, by RawSocket in MessagePack alone.
package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log"
	"os"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// tickets are by authid.
type tickets map[string]string

// Authenticate asks for the ticket. [RFC ticket-based authentication]
func (t tickets) Authenticate(ctx context.Context, l *router.Login) (router.Identity, error) {
	answer, err := l.Challenge(ctx, wampcore.Raw{})
	if err != nil {
		return router.Identity{}, err
	}
	ticket, known := t[l.AuthID]
	if subtle.ConstantTimeCompare([]byte(answer.Signature), []byte(ticket)) != 1 || !known {
		return router.Identity{}, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied}
	}
	return router.Identity{AuthID: l.AuthID, AuthRole: "backend"}, nil
}

func main() {
	methods := map[string]router.Authenticator{"ticket": tickets{"joe": os.Getenv("TICKET")}}
	r, _ := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1", Authenticators: methods}}})
	l, _ := transport.Listen(context.Background(), "127.0.0.1:0", 0)
	fmt.Println("listening on", l.Addr())
	log.Fatal(r.RawSocket(l, transport.Config{Encodings: []wampcore.Encoding{wampcore.MessagePack}}))
}
