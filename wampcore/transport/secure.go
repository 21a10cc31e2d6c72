package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
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
	BoundUnsent(c)
	under := &socket{quietConn: newQuietConn(c)}
	return &tlsConn{tls.Server(under, l.cfg), under, l}, nil
}

type tlsConn struct {
	*tls.Conn

	under *socket
	l     *tlsListener
}

// forRefusal returns c as it is to be refused, before its handshake: in HTTP/1.1, which is all that a refusal speaks.
func forRefusal(c net.Conn) net.Conn {
	t, ok := c.(*tlsConn)
	if !ok {
		return c
	}
	cfg := t.l.cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	return tls.Server(t.under, cfg)
}

// socket is what a TLS connection is built on.
type socket struct {
	quietConn

	closed atomic.Pointer[func()] // is to be called when it is closed; nil: nothing is
}

// Close closes the connection.
func (s *socket) Close() error {
	err := s.Conn.Close()
	if f := s.closed.Swap(nil); f != nil {
		(*f)()
	}
	return err
}

const tlsHandshakeTimeout = 10 * time.Second

// tlsUnder returns the TLS connection that c is, or is built on, with the time for its handshake; nil: there is none.
func tlsUnder(c net.Conn) (*tls.Conn, time.Duration) {
	for {
		switch t := c.(type) {
		case *tlsConn:
			return t.Conn, cmp.Or(t.l.handshake, tlsHandshakeTimeout)
		case *tls.Conn:
			return t, tlsHandshakeTimeout
		case interface{ NetConn() net.Conn }:
			c = t.NetConn()
		default:
			return nil, 0
		}
	}
}

// HTTP2 returns two listeners, for one http.Server to serve both: web has the connections of l, h2 those of them whose clients have
// chosen HTTP/2 in their TLS handshake. net/http speaks that over a *tls.Conn alone, which whatever bounds and splits connections hides.
// The TLS is that of [TLS]; its configuration has to offer "h2". To close either listener closes l, and so both.
func HTTP2(l net.Listener) (web, h2 net.Listener) {
	s := newSplitter(l)
	return choosingListener{s}, passedListener{s}
}

type choosingListener struct{ *splitter }

// Accept returns the next connection, whatever it turns out to be.
func (l choosingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if t := securedUnder(c); t != nil {
		return &choosing{passing: passing{Conn: c}, s: l.splitter, tls: t}, nil
	}
	return c, nil
}

// choosing is a connection over TLS as an http.Server sees it. If its client has chosen HTTP/2, it is passed on.
type choosing struct {
	passing

	s   *splitter
	tls *tlsConn
}

// ConnectionState does the handshake first: an http.Server asks for it before it reads.
func (c *choosing) ConnectionState() tls.ConnectionState {
	state := (&secured{c.Conn, c.tls.Conn, cmp.Or(c.tls.l.handshake, tlsHandshakeTimeout)}).ConnectionState()
	if state.HandshakeComplete && state.NegotiatedProtocol == "h2" && !c.gone.Load() {
		outer := c.Conn
		over := func() { _ = outer.Close() } // with it, all that counts the connection
		c.tls.under.closed.Store(&over)
		c.pass(c.s, c.tls.Conn)
	}
	return state
}

// Read reads.
func (c *choosing) Read(b []byte) (int, error) {
	if c.gone.Load() {
		return 0, io.EOF
	}
	return c.Conn.Read(b)
}

// securedUnder returns the TLS connection of [TLS] that c is built on; nil: there is none.
func securedUnder(c net.Conn) *tlsConn {
	for {
		switch t := c.(type) {
		case *tlsConn:
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
