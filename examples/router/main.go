// Command router embeds a router, with a procedure of its own: WebSocket, RawSocket and long-poll peers reach it.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

func greet(_ context.Context, name string) (string, error) { return "Hello, " + name, nil }

func main() {
	ctx := context.Background()
	r := must(router.New(router.Config{Realms: []router.RealmConfig{{Name: "realm1"}}}))
	session := must(client.Join(ctx, r.Dial(), client.Config{Realm: "realm1"})) // no network between
	must(session.Register(ctx, "com.example.greet", client.Procedure(greet), wampcore.RegisterOptions{}))
	l := must(transport.Listen(ctx, "127.0.0.1:0", 0)) // port 0: a free one
	web, raw := transport.Split(l)                     // one port for HTTP and RawSocket
	go func() { log.Fatal(r.RawSocket(raw, transport.Config{})) }()
	http.Handle("/ws", r.WebSocket(transport.Config{}))
	http.Handle("/longpoll/", r.LongPoll(transport.Config{}, 1000, 0))
	fmt.Println("listening on", l.Addr())
	log.Fatal((&http.Server{ReadHeaderTimeout: 10 * time.Second}).Serve(web))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
