package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Split tells RawSocket connections from HTTP's by their first octet, so that both can have one port: web is for an
// http.Server, raw for a router. It costs HTTP nothing: the octet is looked at when the server reads its first request;
// how long that may take is the server's ReadHeaderTimeout. To close either listener closes l, and so both.
func Split(l net.Listener) (web, raw net.Listener) {
	s := newSplitter(l)
	return webListener{s}, passedListener{s}
}

type splitter struct {
	net.Listener

	conns chan net.Conn // that are passed on
	done  chan struct{} // closed by Close
	once  sync.Once
	err   error // of Close
}

func newSplitter(l net.Listener) *splitter {
	return &splitter{Listener: l, conns: make(chan net.Conn), done: make(chan struct{})}
}

// Close closes both. Whoever does so later is told the same.
func (s *splitter) Close() error {
	s.once.Do(func() {
		close(s.done)
		s.err = s.Listener.Close()
	})
	return s.err
}

type webListener struct{ *splitter }

// Accept returns the next connection, whatever it turns out to be.
func (w webListener) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return forHTTP(&sniffed{passing: passing{Conn: c}, s: w.splitter}), nil
}

type passedListener struct{ *splitter }

// Accept returns the next connection that was passed on.
func (r passedListener) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.done:
		return nil, net.ErrClosed
	}
}

// sniffed is a connection as an http.Server sees it. If it is RawSocket's, its first Read passes it on.
type sniffed struct {
	passing

	s     *splitter
	known bool // the reader's: the first octet was read
}

// Read reads, and looks at the first octet.
func (c *sniffed) Read(b []byte) (int, error) {
	if c.gone.Load() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(b)
	if c.known || n == 0 {
		return n, err
	}
	c.known = true
	if b[0] != RawSocketMagic {
		return n, err
	}
	c.pass(c.s, &prefixed{Conn: c.Conn, prefix: bytes.Clone(b[:n])})
	return 0, io.EOF
}

// passing is a connection that may be passed on from one listener to another. Then it is over for those who had it: nothing that they
// still do to it has an effect.
type passing struct {
	net.Conn

	gone atomic.Bool // it was passed on
}

// pass passes the connection on, as what it is for others.
func (c *passing) pass(to *splitter, as net.Conn) {
	c.gone.Store(true)
	_ = c.Conn.SetDeadline(time.Time{})
	select {
	case to.conns <- as:
	case <-to.done:
		_ = c.Conn.Close()
	}
}

// Close closes the connection, if it was not passed on.
func (c *passing) Close() error {
	if c.gone.Load() {
		return nil
	}
	return c.Conn.Close()
}

// SetDeadline sets it, if the connection was not passed on.
func (c *passing) SetDeadline(t time.Time) error {
	if c.gone.Load() {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline sets it, if the connection was not passed on.
func (c *passing) SetReadDeadline(t time.Time) error {
	if c.gone.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline sets it, if the connection was not passed on.
func (c *passing) SetWriteDeadline(t time.Time) error {
	if c.gone.Load() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// NetConn returns what is underneath.
func (c *passing) NetConn() net.Conn { return c.Conn }

var errNoSocket = errors.New("no raw socket")

// SyscallConn returns the socket, for what was upgraded.
func (c *sniffed) SyscallConn() (syscall.RawConn, error) {
	if !c.known {
		return nil, errNoSocket
	}
	return syscallConn(c.Conn)
}

// CloseWrite ends one direction.
func (c *passing) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// prefixed is a connection of which something was read before.
type prefixed struct {
	net.Conn

	prefix []byte // the reader's
}

// Read returns what was read before, and then the rest.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.prefix)
	p.prefix = p.prefix[n:]
	return n, nil
}

// NetConn returns what is underneath.
func (p *prefixed) NetConn() net.Conn { return p.Conn }

// CloseWrite ends one direction.
func (p *prefixed) CloseWrite() error { return closeWrite(p.Conn) }
