// Command subscribe prints the first three events of all topics that begin with com.example.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

func main() {
	ctx := context.Background()
	conn, err := transport.Dial(ctx, os.Args[1], transport.Config{})
	if err != nil {
		log.Fatal(err)
	}
	session, err := client.Join(ctx, conn, client.Config{Realm: "realm1"})
	if err != nil {
		log.Fatal(err)
	}
	events := make(chan *wampcore.Event, 3) // handlers run one after another: they should not wait for long
	heard := func(_ context.Context, e *wampcore.Event) { events <- e }
	opts := wampcore.SubscribeOptions{Match: wampcore.MatchPrefix}
	if _, err := session.Subscribe(ctx, "com.example", heard, opts); err != nil {
		log.Fatal(err)
	}
	fmt.Println("com.example is subscribed to")
	for range 3 {
		e := <-events
		fmt.Printf("%s: %s\n", e.Details.Topic, e.Payload.Transcode(wampcore.JSON).Args)
	}
	_ = session.Close(ctx)
}
