// Command publish publishes three events, the last one acknowledged by the router.
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
	for n := 1; n <= 3; n++ {
		payload, _ := wampcore.NewPayload(wampcore.JSON, []any{n}, map[string]any{"price": 9.5})
		id, err := session.Publish(ctx, "com.example.news", payload, wampcore.PublishOptions{Acknowledge: n == 3})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("published", n, "acknowledged:", id != 0)
	}
	_ = session.Close(ctx)
}
