// Package router routes WAMP messages between the sessions of a realm.
//
// A connection (conn) is a transport with its outbound queue; it serves sessions one after another. One goroutine, the
// reader, belongs to it: it receives, routes, and afterwards flushes the connections it has queued messages for.
//
// Each realm has one lock (realm.mu). It guards everything the realm holds, and what sessions hold in it; what is done
// under it is looking up and queueing, never encoding, logging, I/O or a caller's code; but for the router's own events,
// which are small, and encoded only where somebody listens. Publishing only reads, and takes realm.publishing inside, so
// that the event history has the order in which things were sent. Broker and dealer are plain structs without a lock of
// their own. Lock order: Router.mu, realm.mu, realm.publishing, then a connection's queue.
//
// The meta API (meta.go) is a table of functions that get the calling session: it is no client.
//
// Order: a session's messages are routed one after another, and queued while the realm is locked. Hence SUBSCRIBED
// reaches a peer before any EVENT of that subscription, and what one peer sends to another arrives in order.
//
// Nobody waits for a peer: one that does not read fast enough to stay within the bounds of its queue is ended.
package router
