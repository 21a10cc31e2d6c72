package transport

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

var quiet atomic.Bool //nolint:gochecknoglobals // what is told to the scheduler is the process's

// ReadQuietly has all sockets of this process read, and those of [Limit] and [TLS] written as well, without telling Go's scheduler of it, but for one time
// of about a thousand. A program that is mostly idle then takes about half of the processor time for what it does: each time when it begins to do
// something the scheduler's monitor would be woken, and look every 20 microseconds what it does. The price is that a program that is quiet and then
// computes on all of its processors for long, without a system call, is not preempted meanwhile. So this is for programs that do not, as the gateway;
// it is to be called once, before there are any connections. It has an effect on Linux only, and on connections that are the net package's:
// what a listener of the program's own makes of them is read and written by its methods.
func ReadQuietly() { quiet.Store(true) }

// quietConn is a connection that is read and written quietly, where there is a socket and that is wanted.
type quietConn struct {
	net.Conn

	raw syscall.RawConn // nil: it is not
}

func newQuietConn(c net.Conn) quietConn {
	if !quiet.Load() {
		return quietConn{c, nil}
	}
	return quietConn{c, rawConn(c)}
}

// Read reads.
func (c *quietConn) Read(b []byte) (int, error) {
	if c.raw == nil || len(b) == 0 {
		return c.Conn.Read(b)
	}
	o := newTransfer(b)
	defer o.release()
	if err := c.raw.Read(o.read); err != nil {
		return 0, err
	}
	if o.n == 0 && o.err == nil {
		return 0, io.EOF
	}
	return o.n, o.err
}

// Write writes all, or as much as it can.
func (c *quietConn) Write(b []byte) (int, error) {
	if c.raw == nil {
		return c.Conn.Write(b)
	}
	o := newTransfer(b)
	defer o.release()
	if err := c.raw.Write(o.write); err != nil {
		return o.n, err
	}
	return o.n, o.err
}

// transfer is one call of Read or Write. Its functions are made once.
type transfer struct {
	b           []byte
	n           int
	err         error
	read, write func(fd uintptr) bool
}

var transfers = sync.Pool{New: func() any { //nolint:gochecknoglobals // pools are shared
	o := new(transfer)
	o.read, o.write = o.readSome, o.writeAll
	return o
}}

func newTransfer(b []byte) *transfer {
	o, _ := transfers.Get().(*transfer)
	o.b = b
	return o
}

func (o *transfer) release() {
	o.b, o.n, o.err = nil, 0, nil
	transfers.Put(o)
}

// readSome returns false when there is nothing to read yet.
func (o *transfer) readSome(fd uintptr) bool {
	var again bool
	o.n, again, o.err = rawRead(fd, o.b)
	return !again
}

// writeAll returns false when the socket is full.
func (o *transfer) writeAll(fd uintptr) bool {
	for o.err == nil && o.n < len(o.b) {
		n, again, err := rawWrite(fd, o.b[o.n:])
		if again {
			return false
		}
		o.n, o.err = o.n+n, err
	}
	return true
}
