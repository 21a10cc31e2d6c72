package transport

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// decoders are held by connections only while they have something to read.
var decoders = sync.Pool{New: func() any { return new(wampcore.Decoder) }} //nolint:gochecknoglobals // pools are shared

// link is what the transports over a connection of ours have in common: memory that is held only while there is something
// to read, the keepalive, and the ways to end.
type link struct {
	conn       *conn
	encoding   wampcore.Encoding
	maxMessage int
	ping       time.Duration
	pingFrame  string

	decoder     *wampcore.Decoder // the reader's; nil while it waits
	interrupted atomic.Bool

	mu     sync.Mutex
	timer  *time.Timer // of the keepalive; nil: none
	pinged bool        // a ping was sent, and nothing came since
	closed bool
}

// start begins the keepalive.
func (l *link) start() {
	if l.ping <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(l.ping, l.keepalive)
}

// keepalive pings a silent peer, and cuts one that does not answer for as long again.
func (l *link) keepalive() {
	switch l.silence() {
	case silent:
		_, _ = l.conn.Write([]byte(l.pingFrame)) // without mu: it may have to wait
	case dead:
		_ = l.conn.Close()
	}
}

const (
	heard = iota
	silent
	dead
)

func (l *link) silence() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return heard
	}
	if l.conn.heard.Swap(false) {
		l.pinged = false
		l.timer.Reset(l.ping)
		return heard
	}
	if l.pinged {
		return dead
	}
	l.pinged = true
	l.timer.Reset(l.ping)
	return silent
}

// fill waits for something to read, when all before was used.
func (l *link) fill() error {
	l.rest()
	if err := l.conn.fill(); err != nil {
		return l.failure(err)
	}
	return nil
}

// decode decodes a message that is in the buffer.
func (l *link) decode(b []byte) (wampcore.Message, error) {
	l.needDecoder()
	return l.decoder.Decode(l.encoding, b)
}

func (l *link) needDecoder() {
	if l.decoder == nil {
		l.decoder, _ = decoders.Get().(*wampcore.Decoder)
	}
}

// rest gives everything back that is not needed while there is nothing to read.
func (l *link) rest() {
	l.conn.free()
	if l.decoder != nil {
		l.decoder.Reset()
		decoders.Put(l.decoder)
		l.decoder = nil
	}
}

func (l *link) failure(err error) error {
	if l.interrupted.Load() {
		return wampcore.ErrInterrupted
	}
	return fmt.Errorf("receive: %w", err)
}

// Flush waits until the socket has taken everything.
func (l *link) Flush() error { return l.conn.Flush() }

// Interrupt wakes the reader.
func (l *link) Interrupt() {
	l.interrupted.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed { // Close waits for the peer
		_ = l.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// halfClose ends what is sent, and reads until the peer has ended, too, or grace is over.
func (l *link) halfClose(grace time.Duration) error {
	defer func() {
		_ = l.conn.Close()
		l.conn.control.Wait()
	}()
	half, ok := l.conn.Conn.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	err := half.CloseWrite()
	_ = l.conn.SetReadDeadline(time.Now().Add(grace))
	l.rest()
	var sink [512]byte
	for err == nil {
		_, err = l.conn.Conn.Read(sink[:])
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// end stops the keepalive.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
}
