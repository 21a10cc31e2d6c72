package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"
)

// TLS returns a listener that speaks TLS. A handshake takes no longer than the time for it; 0 is 10 s.
func TLS(l net.Listener, cfg *tls.Config, handshake time.Duration) net.Listener {
	return &tlsListener{l, cfg, handshake}
}

type tlsListener struct {
	net.Listener

	cfg       *tls.Config
	handshake time.Duration
}

// Accept returns the next connection, whose handshake is done when somebody reads from it, or asks for it.
func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tlsConn{tls.Server(c, l.cfg), l.handshake}, nil
}

type tlsConn struct {
	*tls.Conn

	handshake time.Duration
}

const tlsHandshakeTimeout = 10 * time.Second

// tlsUnder returns the TLS connection that c is, or is built on, with the time for its handshake; nil: there is none.
func tlsUnder(c net.Conn) (*tls.Conn, time.Duration) {
	for {
		switch t := c.(type) {
		case *tlsConn:
			return t.Conn, cmp.Or(t.handshake, tlsHandshakeTimeout)
		case *tls.Conn:
			return t, tlsHandshakeTimeout
		case interface{ NetConn() net.Conn }:
			c = t.NetConn()
		default:
			return nil, 0
		}
	}
}

// stateOf returns what there is to know of the TLS under c, whose handshake is done; nil: there is none.
func stateOf(c net.Conn) *tls.ConnectionState {
	t, _ := tlsUnder(c)
	if t == nil {
		return nil
	}
	state := t.ConnectionState()
	return &state
}

// secured is a connection over TLS as an http.Server wants it, which asks before it reads.
type secured struct {
	net.Conn

	tls       *tls.Conn
	handshake time.Duration
}

// ConnectionState does the handshake first. Where that fails, so does the first Read.
func (s secured) ConnectionState() tls.ConnectionState {
	ctx, cancel := context.WithTimeout(context.Background(), s.handshake)
	defer cancel()
	_ = s.tls.HandshakeContext(ctx)
	return s.tls.ConnectionState()
}

// forHTTP returns c, with what an http.Server wants to know of its TLS.
func forHTTP(c net.Conn) net.Conn {
	if t, handshake := tlsUnder(c); t != nil {
		return &secured{c, t, handshake}
	}
	return c
}

// NetConn returns what is underneath.
func (s *secured) NetConn() net.Conn { return s.Conn }

// CloseWrite ends one direction.
func (s *secured) CloseWrite() error { return closeWrite(s.Conn) }
