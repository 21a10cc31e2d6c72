// Package httpapi is the HTTP face: it decodes requests, has the bridge do them, and encodes what comes of it.
//
// All routes are in one function, api.routes. A handler decodes, calls, encodes, and returns an error instead of choosing
// a status: that is problem.go's, which has the one table from WAMP's errors to HTTP's.
package httpapi
