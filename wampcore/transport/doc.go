// Package transport carries WAMP messages over networks: WebSocket and RawSocket, at both ends.
//
// An accepted connection of either kind is one of ours (conn): messages are framed and written together, by whoever
// flushes, and while a connection is idle it holds no buffer and no goroutine but its reader's. For WebSocket,
// github.com/coder/websocket does the handshake, control frames, fragments and the close handshake over it; whole data
// frames are taken straight from the read buffer. Split lets RawSocket and HTTP share a port.
package transport
