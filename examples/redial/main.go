// Command redial keeps a procedure on offer, also when the router goes away and comes back.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	session := client.Redial(client.RedialConfig{
		Dial: func(ctx context.Context) (wampcore.Transport, error) {
			return transport.Dial(ctx, os.Args[1], transport.Config{})
		},
		Session: client.Config{Realm: "realm1"},
		OnUp:    func(s *client.Session) { fmt.Println("up: session", s.ID()) },
		OnDown:  func(err error) { fmt.Println("down:", err) },
	})
	double := client.Procedure(func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	if _, err := session.Register(ctx, "com.example.double", double, wampcore.RegisterOptions{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("com.example.double is registered")
	<-ctx.Done()
	if err := session.Close(context.Background()); err != nil {
		log.Print(err)
	}
}
