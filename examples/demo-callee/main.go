// Command demo-callee is a native WAMP client that offers com.example.add, the sum of its arguments.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

func main() {
	url := flag.String("url", "ws://localhost:8080/ws", "the router's address")
	realm := flag.String("realm", "realm1", "the realm to join")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	again := time.NewTicker(time.Second)
	defer again.Stop()
	for ctx.Err() == nil {
		if err := serve(ctx, *url, wampcore.URI(*realm)); err != nil {
			log.Print(err)
		}
		select {
		case <-ctx.Done():
		case <-again.C: // the router is not there yet, or went: try again
		}
	}
}

// serve offers the procedure until the session or ctx ends.
func serve(ctx context.Context, url string, realm wampcore.URI) error {
	ws, err := transport.Dial(ctx, url, transport.Config{})
	if err != nil {
		return err
	}
	session, err := client.Join(ctx, ws, client.Config{Realm: realm, Agent: "demo-callee"})
	if err != nil {
		return err
	}
	if _, err := session.Register(ctx, "com.example.add", add, wampcore.RegisterOptions{}); err != nil {
		_ = session.Close(ctx)
		return err
	}
	log.Printf("com.example.add is registered at %s", url)
	select {
	case <-session.Done():
		return session.Err()
	case <-ctx.Done():
		farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		return session.Close(farewell)
	}
}

// add answers with the sum of two numbers, an integer if both are.
func add(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
	var i, j int64
	if inv.Payload.DecodeArgs(&i, &j) == nil {
		return wampcore.NewPayload(inv.Payload.Encoding, []any{i + j}, nil)
	}
	var a, b float64
	if err := inv.Payload.DecodeArgs(&a, &b); err != nil {
		return wampcore.Payload{}, &wampcore.Error{URI: wampcore.ErrInvalidArgument, Message: "want two numbers"}
	}
	return wampcore.NewPayload(inv.Payload.Encoding, []any{a + b}, nil)
}
