package transport

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Output is a connection of HTTP/1.1 that was taken over by Hijack, to be written to without waiting for the peer. One goroutine, not always
// the same, calls Send, Flush and Finish. Cut may be called by anyone at any time.
type Output struct {
	conn     conn
	dropped  int // bytes that the peer sent; the watcher's
	watching sync.WaitGroup
	gone     func(error)
	key      uint64 // of the watcher
}

// Hijack takes over the connection of a request, once. timeout is how long Flush waits each time.
func (o *Output) Hijack(w http.ResponseWriter, timeout time.Duration) error {
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("hijack: %w", err)
	}
	_ = nc.SetDeadline(time.Time{})
	o.dropped = brw.Reader.Buffered()
	o.conn.writeTimeout = timeout
	o.conn.attach(nc)
	BoundUnsent(nc)
	return nil
}

// Send queues what parts consists of behind what waits, and writes what the socket takes. It reports whether that was all; if not,
// Flush waits for the rest.
func (o *Output) Send(parts [][]byte) (sent bool, err error) {
	return o.conn.append(func(b []byte) []byte {
		for _, part := range parts {
			b = append(b, part...)
		}
		return b
	})
}

// Flush waits until the socket has taken everything.
func (o *Output) Flush() error { return o.conn.Flush() }

// maxDropped is how much a peer may send to a connection on which it is only to listen.
const maxDropped = 64 << 10

var errTalks = errors.New("the peer sends where it is to listen")

// Watch has gone, which must not wait, called when the peer is gone; not where it is cut.
func (o *Output) Watch(gone func(error)) {
	o.gone = gone
	o.watching.Add(1)
	if !outputs.add(o) {
		go o.watch()
	}
}

// watch does nothing else: the goroutine's stack is the smallest that there is.
func (o *Output) watch() {
	err := o.drop()
	o.watching.Done()
	o.gone(err)
}

// drop reads, and returns why that is over.
func (o *Output) drop() error {
	if o.conn.raw != nil {
		var failed error
		if err := o.conn.raw.Read(func(fd uintptr) bool {
			var done bool
			done, failed = o.dropSome(fd)
			return done
		}); err != nil {
			return err
		}
		return failed
	}
	var b [512]byte
	for o.dropped <= maxDropped {
		n, err := o.conn.Conn.Read(b[:])
		if o.dropped += n; err != nil {
			return err
		}
	}
	return errTalks
}

// dropSome reads what there is. It reports whether that was the end, and why.
func (o *Output) dropSome(fd uintptr) (bool, error) {
	for o.dropped <= maxDropped {
		n, again, err := rawDrop(fd)
		switch {
		case again:
			return false, nil
		case err != nil:
			return true, err
		case n == 0:
			return true, io.EOF
		}
		o.dropped += n
	}
	return true, errTalks
}

// Finish sends the last words behind what waits, and closes the connection when the peer has read them, or has ended it, or
// grace is over.
func (o *Output) Finish(last []byte, grace time.Duration) {
	cut := time.AfterFunc(grace, o.Cut)
	defer cut.Stop()
	defer o.Cut()
	sent, err := o.Send([][]byte{last})
	if err == nil && !sent {
		err = o.Flush()
	}
	if err != nil || closeWrite(o.conn.Conn) != nil {
		return
	}
	o.watching.Wait() // until the peer closes its end, too, or grace is over
}

// Cut closes the connection.
func (o *Output) Cut() {
	_ = o.conn.Close()
	outputs.forget(o)
}
