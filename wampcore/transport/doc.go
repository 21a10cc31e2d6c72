// Package transport carries WAMP messages over networks: WebSocket and RawSocket at both ends, HTTP long-poll at the
// router's.
//
// An accepted connection is one of ours (conn): messages are framed and written together, by whoever flushes, and while a
// connection is idle it holds no buffer and no goroutine but its reader's. For WebSocket, github.com/coder/websocket does the
// handshake, control frames, fragments and the close handshake over it; whole data frames are taken straight from the read
// buffer. Where messages are compressed, and at the dialing end, it does the framing, too (plain).
//
// Listeners come in layers: Listen (TCP or unix), tls.NewListener, Limit (how many), Split (HTTP or RawSocket).
package transport
