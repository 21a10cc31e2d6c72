package transport

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// quota counts connections, in all and by the address that they come from.
type quota struct {
	total, perAddress int // 0: no limit

	mu sync.Mutex
	n  int
	by map[source]int // only with perAddress
}

// source is who a connection counts for: an IPv4 address, an IPv6 network of 64 bits, or, all zero, nobody.
type source [16]byte

func sourceOf(address string) source {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return source{} // a unix socket
	}
	ip := ap.Addr().Unmap().WithZone("")
	p, _ := ip.Prefix(min(ip.BitLen(), 64))
	return p.Addr().As16()
}

// take counts one more, if there is room.
func (q *quota) take(from source) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total > 0 && q.n >= q.total {
		return false
	}
	if q.perAddress > 0 && from != (source{}) {
		if q.by[from] >= q.perAddress {
			return false
		}
		if q.by == nil {
			q.by = map[source]int{}
		}
		q.by[from]++
	}
	q.n++
	return true
}

func (q *quota) give(from source) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n--
	if q.perAddress > 0 && from != (source{}) {
		if q.by[from]--; q.by[from] == 0 {
			delete(q.by, from)
		}
	}
}

// Limit bounds the connections of a listener, in all and from one address, or IPv6 network of 64 bits; 0 is no bound.
// One more is told so in its own words, RawSocket's error 4 or HTTP's 503, and closed.
func Limit(l net.Listener, total, perAddress int) net.Listener {
	return &limited{Listener: l, quota: quota{total: total, perAddress: perAddress}, refusing: map[net.Conn]struct{}{}}
}

type limited struct {
	net.Listener

	quota quota

	mu       sync.Mutex
	refusing map[net.Conn]struct{}
	closed   bool
	work     sync.WaitGroup
}

// What refused connections may cost: so many at once get an answer, each within this time.
const (
	maxRefusing   = 64
	refuseTimeout = 2 * time.Second
)

// Accept returns the next connection that is within the bounds.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := sourceOf(c.RemoteAddr().String())
		if l.quota.take(from) {
			return forHTTP(&counted{quietConn: newQuietConn(c), l: l, from: from}), nil
		}
		l.refuse(c)
	}
}

// Close closes the listener, and the connections that are being refused.
func (l *limited) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	l.closed = true
	for c := range l.refusing {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.work.Wait()
	return err
}

func (l *limited) refuse(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.refusing) >= maxRefusing {
		_ = c.Close()
		return
	}
	l.refusing[c] = struct{}{}
	l.work.Go(func() {
		refuse(forRefusal(c))
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.refusing, c)
	})
}

// refuse answers what c turns out to speak.
func refuse(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(refuseTimeout))
	defer func() { _ = c.Close() }()
	request := make([]byte, 4<<10) // most requests, whole: what is not read when the connection closes takes the answer with it
	n, err := c.Read(request)
	switch {
	case err != nil || n == 0:
		return
	case request[0] == RawSocketMagic:
		_, err = c.Write([]byte{RawSocketMagic, rawErrConnections << 4, 0, 0})
	default:
		_, err = c.Write([]byte("HTTP/1.1 503 " + http.StatusText(http.StatusServiceUnavailable) + "\r\n" +
			"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 31\r\nRetry-After: 5\r\nConnection: close\r\n\r\n" +
			"there are too many connections\n"))
	}
	if err == nil && closeWrite(c) == nil {
		for err == nil { // until the peer has read it
			_, err = c.Read(request)
		}
	}
}

// counted is a connection within the bounds.
type counted struct {
	quietConn

	l      *limited
	from   source
	closed atomic.Bool
}

// Close closes the connection and makes room for another.
func (c *counted) Close() error {
	if !c.closed.Swap(true) {
		defer c.l.quota.give(c.from)
	}
	return c.Conn.Close()
}

// NetConn returns what is underneath.
func (c *counted) NetConn() net.Conn { return c.Conn }

// CloseWrite ends one direction.
func (c *counted) CloseWrite() error { return closeWrite(c.Conn) }

// SyscallConn returns the socket, if there is one.
func (c *counted) SyscallConn() (syscall.RawConn, error) { return syscallConn(c.Conn) }

func syscallConn(c net.Conn) (syscall.RawConn, error) {
	if sc, ok := c.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errNoSocket
}
