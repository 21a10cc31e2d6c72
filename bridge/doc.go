// Package bridge gives HTTP requests their WAMP meaning: a call, a publication, a stream of events.
//
// It knows no http.ResponseWriter and no router: it reaches one through the dial function that it is given. The calls and
// publications of a realm's principal run on one WAMP session, made on first use and again after a loss; each stream is a
// session of its own, so that the meta API, eligibility and kill work on it as on any other. With a router elsewhere streams
// share another, and outlive it.
//
// Hooks are the other way round: HTTP endpoints that answer calls, and are sent events. Each is a session of its own, too. Egress is
// all that sends requests to others.
package bridge
