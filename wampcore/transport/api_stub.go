// Package transport carries WAMP messages over networks.
package transport

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// Config bounds a connection. Its zero value has good defaults.
type Config struct {
	MaxMessage       int                 // bytes of one received message; default 16 MiB
	HandshakeTimeout time.Duration       // default 10 s
	WriteTimeout     time.Duration       // of one Flush; default 10 s
	PingInterval     time.Duration       // silence after which the peer is pinged; default 30 s, negative: never. Unanswered for as long again, it is gone
	Encodings        []wampcore.Encoding // accepted or offered, best first; default all
	OriginPatterns   []string            // accepting: browsers' origins besides the own host (coder/websocket's AcceptOptions)
	HTTPClient       *http.Client        // dialing: TLS and proxies; optional
}

// WebSocket is a WebSocket connection as a wampcore.Transport.
type WebSocket struct{ wampcore.Transport }

// Encoding returns the encoding that was agreed on.
func (*WebSocket) Encoding() wampcore.Encoding { return 0 }

// Accept upgrades an HTTP request. If that is not possible it answers with an HTTP error itself. Serve the transport on another goroutine and return from the
// handler: that frees net/http's buffers.
func Accept(w http.ResponseWriter, r *http.Request, cfg Config) (*WebSocket, error) {
	return nil, errors.New("stub")
}

// Dial connects to ws:// or wss://.
func Dial(ctx context.Context, url string, cfg Config) (*WebSocket, error) {
	return nil, errors.New("stub")
}
