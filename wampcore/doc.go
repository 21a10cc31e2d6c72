// Package wampcore is the WAMP v2 protocol: messages, encodings, payloads, URIs, ids and the seam to a transport.
//
// It is pure: no goroutine, no network, no clock, no log. Routers and clients are built on it.
//
// The rules that the rest of the program relies on:
//
//   - A message is a value. Once sent it is never changed, so any number of receivers may share one.
//   - A payload stays in the bytes and the encoding in which it arrived. It goes out untouched to a peer of the same
//     encoding and is transcoded, streaming, for any other.
//   - Nothing that a peer sends is believed: a frame is scanned whole (syntax, depth, lengths) before any part of it is
//     looked at, so what the decoder allocates is bounded by what was really sent.
//   - A message that a Decoder returns is valid until its next use. Its payload can be taken over with Payload.Take.
package wampcore
