package transport_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore/transport"
)

func TestOnePortTakesHTTPAndRawSocket(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web, raw := transport.Split(l)
	srv := &http.Server{ReadHeaderTimeout: 100 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := transport.Accept(w, r, transport.Config{}); err == nil {
			go func() { _, _ = ws.Receive(); _ = ws.Close(0) }()
		}
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(web) }()
	accepted := make(chan *transport.Conn, 1)
	go func() {
		for {
			nc, err := raw.Accept()
			if err != nil {
				close(accepted)
				return
			}
			if s, err := transport.AcceptRaw(nc, transport.Config{}); err == nil {
				accepted <- s
			}
		}
	}()
	address := l.Addr().String()

	ws, err := transport.Dial(t.Context(), "ws://"+address, transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.Close(0)
	client, err := transport.Dial(t.Context(), "tcp://"+address, transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	near := <-accepted
	write(t, client, event(100))
	receive(t, near, near.Encoding())
	_ = client.Close(0)
	_ = near.Close(0)

	mute, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = mute.SetDeadline(time.Now().Add(patience))
	if _, err := mute.Read(make([]byte, 1)); err == nil {
		t.Error("who says nothing was answered")
	}
	_ = mute.Close()

	if err := raw.Close(); err != nil {
		t.Error(err)
	}
	if err := srv.Shutdown(context.Background()); err != nil { // it closes web, which is closed
		t.Error(err)
	}
	<-served
	if _, open := <-accepted; open {
		t.Error("the other listener is open")
	}
}
