package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
)

// plain is a WebSocket connection whose framing is left to coder/websocket: it only sees to it that messages are written
// together. A dialing end is one, of which there are not as many as a server has, and an accepting one that compresses.
type plain struct {
	ws         *websocket.Conn
	held       *heldConn
	encoding   wampcore.Encoding
	batch      *batch // nil: each frame is a message
	maxMessage int
	ping       time.Duration

	decoder     wampcore.Decoder
	interrupted atomic.Bool

	out    [][]byte // the writer's: frames not written yet
	mu     sync.Mutex
	timer  *time.Timer
	closed bool
}

func newPlain(p protocol, cfg Config, held *heldConn) *plain {
	return &plain{held: held, encoding: p.encoding, batch: newBatch(p), maxMessage: cfg.MaxMessage, ping: cfg.PingInterval}
}

func (c *plain) start(ws *websocket.Conn) {
	c.ws = ws
	ws.SetReadLimit(int64(c.maxMessage))
	if c.ping > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timer = time.AfterFunc(c.ping, c.keepalive)
	}
}

// keepalive pings the peer. It runs on the timer's goroutine, and ends with the connection at the latest.
func (c *plain) keepalive() {
	ctx, cancel := context.WithTimeout(context.Background(), c.ping)
	defer cancel()
	if err := c.ws.Ping(ctx); err != nil {
		_ = c.held.Close()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.timer.Reset(c.ping)
	}
}

// Receive returns the next message.
func (c *plain) Receive() (wampcore.Message, error) {
	if c.interrupted.Load() {
		return nil, wampcore.ErrInterrupted
	}
	if c.batch.pending() {
		return c.nextInBatch()
	}
	kind, b, err := c.ws.Read(context.Background())
	switch {
	case err != nil && c.interrupted.Load():
		return nil, wampcore.ErrInterrupted
	case err != nil:
		return nil, fmt.Errorf("receive: %w", err)
	}
	if err := checkKind(c.encoding, kind); err != nil {
		return nil, err
	}
	if c.batch != nil {
		c.batch.rest = b
		return c.nextInBatch()
	}
	return c.decoder.Decode(c.encoding, b)
}

func (c *plain) nextInBatch() (wampcore.Message, error) {
	b, err := c.batch.next()
	if err != nil {
		return nil, err
	}
	return c.decoder.Decode(c.encoding, b)
}

// Ready reports whether there is more of a batch; the rest is not known here.
func (c *plain) Ready() bool { return c.batch.pending() }

// Write encodes messages; Flush writes them.
func (c *plain) Write(ms []wampcore.Message) (bool, error) {
	for len(ms) > 0 {
		var b []byte
		if c.batch != nil {
			b, ms = c.batch.fill(nil, ms)
		} else {
			b = wampcore.Append(nil, c.encoding, ms[0])
			wampcore.Recycle(ms[0])
			ms = ms[1:]
		}
		c.out = append(c.out, b)
	}
	return len(c.out) == 0, nil
}

// Flush writes all messages together.
func (c *plain) Flush() error {
	c.held.hold()
	var err error
	for _, b := range c.out {
		if err = c.ws.Write(context.Background(), messageKind(c.encoding), b); err != nil {
			break
		}
	}
	c.out = nil
	return errors.Join(err, c.held.release())
}

// Interrupt wakes the reader.
func (c *plain) Interrupt() {
	c.interrupted.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		_ = c.held.SetReadDeadline(time.Unix(1, 0))
	}
}

// Close says goodbye as WebSocket has it, if there is time for that, and closes the connection.
func (c *plain) Close(grace time.Duration) error {
	c.mu.Lock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	if grace <= 0 {
		err := c.held.Close()
		_ = c.ws.CloseNow() // ends a Ping
		return err
	}
	cut := time.AfterFunc(grace, func() { _ = c.held.Close() })
	defer cut.Stop()
	_ = c.held.SetReadDeadline(time.Time{})
	err := c.ws.Close(websocket.StatusNormalClosure, "")
	_ = c.held.Close()
	return err
}

// heldConn collects what is written to it while it is held.
type heldConn struct {
	net.Conn

	writeTimeout time.Duration // of each write: an old deadline would fail later pings

	mu      sync.Mutex
	holding bool
	buf     []byte
}

func (h *heldConn) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holding {
		h.buf = append(h.buf, p...)
		return len(p), nil
	}
	return h.write(p)
}

func (h *heldConn) write(p []byte) (int, error) {
	_ = h.SetWriteDeadline(time.Now().Add(h.writeTimeout))
	return h.Conn.Write(p)
}

func (h *heldConn) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = true
}

func (h *heldConn) release() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = false
	if len(h.buf) == 0 {
		return nil
	}
	_, err := h.write(h.buf)
	h.buf = nil
	return err
}
