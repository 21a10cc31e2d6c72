// Package router routes WAMP messages between the sessions of a realm.
package router

import (
	"context"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// Config says what a router serves. Only Realms is required.
type Config struct {
	Realms          []RealmConfig
	Agent           string         // sent in WELCOME; default "wampgate"
	Log             zerolog.Logger // the zero value is silent
	HelloTimeout    time.Duration  // for a HELLO on a new transport; default 10 s
	IdleTimeout     time.Duration  // for a new HELLO after a session on the same transport; default 60 s
	FarewellTimeout time.Duration  // for what is queued and the last word when a session ends; default 2 s
	QueueMessages   int            // of one session, outbound; default 8192
	QueueBytes      int            // of one session, outbound; default 64 MiB (so that any one message fits)
}

// RealmConfig is one realm.
type RealmConfig struct {
	Name   wampcore.URI
	Strict bool // ids and progress by the letter of the RFC; see CLIENTS.md
}

// Peer is what is known of the other end of a transport.
type Peer struct {
	Transport string // websocket, rawsocket, pipe
	Encoding  wampcore.Encoding
	Address   string
}

// Router attaches peers to realms.
type Router struct{}

// New returns a router with no peers.
func New(cfg Config) (*Router, error) { return &Router{}, nil }

// Attach serves the sessions of t, one after another, until it is over. It closes t.
func (r *Router) Attach(t wampcore.Transport, peer Peer) error { return nil }

// Dial attaches an in-process peer, which is a peer like any other.
func (r *Router) Dial() wampcore.Transport { return nil }

// WebSocket accepts WebSocket peers.
func (r *Router) WebSocket(cfg transport.Config) http.Handler { return nil }

// Shutdown ends every session with GOODBYE wamp.close.system_shutdown and waits until all are gone, or for ctx, when it cuts what is left.
func (r *Router) Shutdown(ctx context.Context) error { return nil }
