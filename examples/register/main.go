// Command register offers a procedure until it is interrupted.
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
	conn, err := transport.Dial(ctx, os.Args[1], transport.Config{})
	if err != nil {
		log.Fatal(err)
	}
	session, err := client.Join(ctx, conn, client.Config{Realm: "realm1"})
	if err != nil {
		log.Fatal(err)
	}
	greet := client.Procedure(func(_ context.Context, name string) (string, error) { return "Hello, " + name, nil })
	if _, err := session.Register(ctx, "com.example.greet", greet, wampcore.RegisterOptions{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("com.example.greet is registered")
	<-ctx.Done()
	if err := session.Close(context.Background()); err != nil { // calls that run may finish
		log.Fatal(err)
	}
}
