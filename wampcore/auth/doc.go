// Package auth is the arithmetic of WAMP's methods of authentication, for both ends, and what a client does with it.
//
// A router's side of each method is in package router. Nothing here knows of a network, or waits, but for its turn to hash a password.
package auth
