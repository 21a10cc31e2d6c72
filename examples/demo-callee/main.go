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
	session := client.Redial(client.RedialConfig{
		Dial: func(ctx context.Context) (wampcore.Transport, error) {
			return transport.Dial(ctx, *url, transport.Config{})
		},
		Session: client.Config{Realm: wampcore.URI(*realm), Agent: "demo-callee"},
		OnUp:    func(*client.Session) { log.Printf("joined %s at %s", *realm, *url) },
		OnDown:  func(err error) { log.Print(err) },
	})
	if _, err := session.Register(ctx, "com.example.add", add, wampcore.RegisterOptions{}); err == nil {
		log.Print("com.example.add is registered")
		<-ctx.Done()
	} else if ctx.Err() == nil {
		log.Print(err)
	}
	farewell, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := session.Close(farewell); err != nil {
		log.Print(err)
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
