// Command session opens a session with a router, shows what the router says of it, and ends it in good order.
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
	if err := run(os.Args[1]); err != nil { // such as ws://localhost:8080/ws, tcp://localhost:8080 or unix:///run/router.sock
		log.Fatal(err)
	}
}

func run(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := transport.Dial(ctx, url, transport.Config{})
	if err != nil {
		return err
	}
	session, err := client.Join(ctx, conn, client.Config{Realm: "realm1"})
	if err != nil {
		return err
	}
	details := session.Welcome().Details
	fmt.Printf("session %d: %s as %s, role %s\n", session.ID(), details.Agent, details.AuthMethod, details.AuthRole)
	return session.Close(ctx) // open calls may finish; then GOODBYE
}
