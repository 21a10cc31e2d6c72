// Command call calls a procedure and prints its result.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // the callee is told of it
	defer cancel()
	conn, err := transport.Dial(ctx, url, transport.Config{})
	if err != nil {
		return err
	}
	session, err := client.Join(ctx, conn, client.Config{Realm: "realm1"})
	if err != nil {
		return err
	}
	greeting, err := client.Call[string](ctx, session, "com.example.greet", "Ada")
	if err != nil {
		return err
	}
	fmt.Println(greeting)
	return session.Close(ctx)
}
