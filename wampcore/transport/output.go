package transport

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// Output is a connection of HTTP/1.1 that was taken over, to be written to without waiting for the peer. One goroutine, not always
// the same, calls Send, Flush and Finish; another one Wait. Wake and Cut may be called by anyone at any time.
type Output struct {
	conn    conn
	dropped int // bytes that the peer sent; the waiter's

	mu    sync.Mutex
	woken bool
}

// Hijack takes over the connection of a request. timeout is how long Flush waits each time.
func Hijack(w http.ResponseWriter, timeout time.Duration) (*Output, error) {
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("hijack: %w", err)
	}
	_ = nc.SetDeadline(time.Time{})
	o := &Output{dropped: brw.Reader.Buffered()}
	o.conn.writeTimeout = timeout
	o.conn.attach(nc)
	return o, nil
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

// Wait waits until the peer is gone, which is its error, or Wake is called.
func (o *Output) Wait() error {
	for !o.wasWoken() {
		err := o.conn.fill()
		o.dropped += o.conn.w
		o.conn.free()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded): // woken
		case err != nil:
			return err
		case o.dropped > maxDropped:
			return errTalks
		}
	}
	return nil
}

func (o *Output) wasWoken() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.woken {
		return false
	}
	o.woken = false
	_ = o.conn.SetReadDeadline(time.Time{})
	return true
}

// Wake makes Wait return, now or when it is called next.
func (o *Output) Wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.woken {
		o.woken = true
		_ = o.conn.SetReadDeadline(time.Unix(1, 0))
	}
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
	_ = o.conn.SetReadDeadline(time.Now().Add(grace))
	var sink [512]byte
	for err == nil {
		_, err = o.conn.Conn.Read(sink[:])
	}
}

// Cut closes the connection.
func (o *Output) Cut() { _ = o.conn.Close() }
