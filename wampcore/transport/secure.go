package transport

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// tlsUnder returns the TLS connection that c is, or is built on; nil: there is none.
func tlsUnder(c net.Conn) *tls.Conn {
	for {
		switch t := c.(type) {
		case *tls.Conn:
			return t
		case interface{ NetConn() net.Conn }:
			c = t.NetConn()
		default:
			return nil
		}
	}
}

// stateOf returns what there is to know of the TLS under c, whose handshake is done; nil: there is none.
func stateOf(c net.Conn) *tls.ConnectionState {
	t := tlsUnder(c)
	if t == nil {
		return nil
	}
	state := t.ConnectionState()
	return &state
}

// secured is a connection over TLS as an http.Server wants it, which asks before it reads.
type secured struct {
	net.Conn

	tls *tls.Conn
}

// tlsHandshakeTimeout is for peers that come by HTTP.
const tlsHandshakeTimeout = 10 * time.Second

// ConnectionState does the handshake first. Where that fails, so does the first Read.
func (s secured) ConnectionState() tls.ConnectionState {
	ctx, cancel := context.WithTimeout(context.Background(), tlsHandshakeTimeout)
	defer cancel()
	_ = s.tls.HandshakeContext(ctx)
	return s.tls.ConnectionState()
}

// forHTTP returns c, with what an http.Server wants to know of its TLS.
func forHTTP(c net.Conn) net.Conn {
	if t := tlsUnder(c); t != nil {
		return &secured{c, t}
	}
	return c
}

// NetConn returns what is underneath.
func (s *secured) NetConn() net.Conn { return s.Conn }

// CloseWrite ends one direction.
func (s *secured) CloseWrite() error { return closeWrite(s.Conn) }
