// Package client is a WAMP client session: caller, callee, publisher and subscriber.
//
// A session owns its transport. One goroutine, the reader, receives; handlers of events run one after another for each
// subscription, those of invocations side by side up to a bound. Requests are numbered in the order in which they are
// written. Nothing a router sends makes the session grow without bound: what overflows ends it, or is refused.
package client
