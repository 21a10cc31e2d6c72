// Command permissions embeds a router where anybody may call com.example…, and joe, who has a ticket, may serve it, and what a function allows.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// rules are what is asked where no permission decides, and who may log in.
type rules struct{ ticket string }

// Authorize lets everybody do everything below the own name. Sessions remember it.
func (rules) Authorize(_ context.Context, q *router.Question) (router.Decision, error) {
	return router.Decision{Allow: strings.HasPrefix(string(q.URI), "user."+q.Session.AuthID+"."), Cache: true}, nil
}

// Principal knows joe.
func (r rules) Principal(_ context.Context, _ wampcore.URI, authID string) (*router.Principal, error) {
	return map[string]*router.Principal{"joe": {AuthRole: "backend", Ticket: r.ticket}}[authID], nil
}

func main() {
	own := rules{os.Getenv("TICKET")}
	call := []router.Permission{{URI: "com.example.", Match: wampcore.MatchPrefix, Allow: router.ActionCall}}
	serve := []router.Permission{{URI: "com.example.", Match: wampcore.MatchPrefix, Allow: router.ActionRegister}}
	roles := map[string]router.Role{"anonymous": {Permissions: call}, "backend": {Permissions: serve, Authorizer: own}}
	methods := map[string]router.Authenticator{"anonymous": router.Anonymous{}, "ticket": router.Ticket{Principals: own}}
	r, _ := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1", Roles: roles, Authenticators: methods}}})
	l, _ := transport.Listen(context.Background(), "127.0.0.1:0", 0)
	fmt.Println("listening on", l.Addr())
	log.Fatal(r.RawSocket(l, transport.Config{}))
}
