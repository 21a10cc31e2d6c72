// Command watch embeds a router and is told of the sessions that come and go, and of what they register.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

func main() {
	ctx := context.Background()
	r, err := router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1"}}})
	check(err)
	session, err := client.Join(ctx, r.Dial(), client.Config{Realm: "realm1"})
	check(err)
	told := func(_ context.Context, e *wampcore.Event) {
		fmt.Printf("%s %s\n", e.Details.Topic, e.Payload.Transcode(wampcore.JSON).Args)
	}
	// wamp.session.on_join and on_leave, wamp.registration.on_create and on_register, and so on
	_, err = session.Subscribe(ctx, "wamp", told, wampcore.SubscribeOptions{Match: wampcore.MatchPrefix})
	check(err)
	l, err := transport.Listen(ctx, "127.0.0.1:0", 0)
	check(err)
	fmt.Println("listening on", l.Addr())
	check(r.RawSocket(l, transport.Config{}))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
