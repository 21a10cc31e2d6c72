// Package transport carries WAMP messages over networks: WebSocket, at both ends.
//
// github.com/coder/websocket does the handshake, control frames, fragments and the close handshake. An accepted
// connection is put under it (conn), so that whole data frames are taken straight from the read buffer, and messages
// are framed and written together. While a connection is idle it holds no buffer and no goroutine but its reader's.
package transport
