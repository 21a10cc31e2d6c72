package transport

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// readSize is how much is read at once.
const readSize = 16 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }} //nolint:gochecknoglobals // pools are shared

// writeBuffers has buffers of up to maxWriteBuffer bytes; larger ones are left to the collector.
var writeBuffers = sync.Pool{New: func() any { return new([]byte) }} //nolint:gochecknoglobals // pools are shared

const maxWriteBuffer = 1 << 20

// conn is the connection that coder/websocket is given: its reads come from our buffer, and what it writes, control
// frames, is put in order with our data frames.
type conn struct {
	net.Conn

	raw          syscall.RawConn       // nil where there is none: TLS, other systems than Unix
	rawRead      func(fd uintptr) bool // readSome, made once
	rawWrite     func(fd uintptr) bool // writeSome, made once
	writeTimeout time.Duration
	heard        atomic.Bool // something came since this was last cleared

	// The reader's. No buffer is held while it waits.
	coder *bufio.Reader // coder/websocket's
	buf   *[readSize]byte
	r, w  int   // what is in buf and was not used yet
	err   error // of readSome

	// Writing: out is what has not gone out yet, whole frames but for its beginning.
	mu       sync.Mutex
	out      *[]byte
	sent     int  // of out
	flushing bool // a Flush writes what it took out of out
	waiting  bool // a goroutine flushes control frames
	failed   error

	flush   sync.Mutex     // held by the one who flushes
	control sync.WaitGroup // the goroutine that flushes control frames that found the socket full
}

func (c *conn) attach(nc net.Conn) {
	c.Conn = nc
	if c.raw = rawConn(nc); c.raw != nil {
		c.rawRead, c.rawWrite = c.readSome, c.writeSome
	}
}

// unread puts bytes in front of all that is still to be read. They fit: net/http's buffer is smaller than ours.
func (c *conn) unread(b []byte) {
	c.buf, _ = readBuffers.Get().(*[readSize]byte)
	c.r, c.w = 0, copy(c.buf[:], b)
}

// extend reads more behind what is in the buffer, which has room.
func (c *conn) extend() error {
	if c.r > 0 {
		c.w = copy(c.buf[:], c.buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.Conn.Read(c.buf[c.w:])
	if c.w += n; n > 0 {
		c.heard.Store(true)
		return nil
	}
	return err
}

// takeBack returns to the buffer what coder/websocket has read ahead: at most the rest of its own, small one.
func (c *conn) takeBack() {
	if n := c.coder.Buffered(); n > 0 {
		_, _ = c.coder.Discard(n)
		c.r -= n
	}
}

func (c *conn) free() {
	if c.buf != nil {
		readBuffers.Put(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	}
}

// fill waits for something to read, when all before was used.
func (c *conn) fill() error {
	c.free()
	if err := c.read(); err != nil {
		c.free()
		return err
	}
	c.heard.Store(true)
	return nil
}

func (c *conn) read() error {
	if c.raw == nil {
		c.buf, _ = readBuffers.Get().(*[readSize]byte)
		c.w, c.err = c.Conn.Read(c.buf[:])
	} else if err := c.raw.Read(c.rawRead); err != nil {
		return err
	}
	switch {
	case c.w > 0:
		return nil
	case c.err == nil:
		return io.EOF
	default:
		return c.err
	}
}

// readSome reads into a buffer, which is not held where there is nothing to read. It returns false then.
func (c *conn) readSome(fd uintptr) bool {
	c.buf, _ = readBuffers.Get().(*[readSize]byte)
	var again bool
	if c.w, again, c.err = rawRead(fd, c.buf[:]); again {
		c.free()
	}
	return !again
}

// Read is for coder/websocket.
func (c *conn) Read(p []byte) (int, error) {
	if c.r == c.w {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

// drain moves what is in the buffer to p, as far as that fits, and says how much that was.
func (c *conn) drain(p []byte) int {
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n
}

// firstLarge is how much memory a large message gets at first, and growLarge by what it grows each time when that is full: a header alone
// costs little.
const (
	firstLarge = 68 << 10
	growLarge  = 4
)

// readLarge reads n bytes past the buffer, for large frames. failed turns what a read failed with into why that is the end, nil if it goes on.
func (c *conn) readLarge(n int, failed func(error) error) (*wampcore.Buffer, error) {
	b := wampcore.NewBuffer(min(n, firstLarge))
	got := c.drain(b.B)
	c.free()
	for got < n {
		if got == len(b.B) {
			b = enlarged(b, n)
		}
		k, err := c.Conn.Read(b.B[got:])
		if got += k; k > 0 {
			c.heard.Store(true)
		}
		if err == nil || got == n {
			continue
		}
		if err = failed(err); err != nil {
			b.Release()
			return nil, err
		}
	}
	return b, nil
}

// enlarged returns a buffer of n bytes, or some more than those of b, with what is in that.
func enlarged(b *wampcore.Buffer, n int) *wampcore.Buffer {
	more := wampcore.NewBuffer(min(n, growLarge*len(b.B)))
	more.B = more.B[:min(n, cap(more.B))]
	copy(more.B, b.B)
	b.Release()
	return more
}

// maxControl is how many bytes may wait to be written before who writes a control frame has to wait, too.
const maxControl = 64 << 10

// Write is for control frames. They take their turn among what waits; if the socket is full, a goroutine waits for it.
// Behind much that waits the writer waits itself: pings of a peer that does not read the answers are then not read.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.ensure()
	*c.out = append(*c.out, p...)
	sent := c.try()
	err := c.failed
	much := c.out != nil && len(*c.out)-c.sent > maxControl
	begin := !sent && err == nil && !much && !c.waiting
	c.waiting = c.waiting || begin
	c.mu.Unlock()
	switch {
	case begin:
		c.control.Go(c.flushControl)
	case !sent && err == nil && much:
		err = c.Flush()
	}
	return len(p), err
}

// flushControl flushes until nothing is left: one goroutine for all control frames that wait.
func (c *conn) flushControl() {
	for {
		_ = c.Flush()
		c.mu.Lock()
		c.waiting = c.out != nil && c.failed == nil
		again := c.waiting
		c.mu.Unlock()
		if !again {
			return
		}
	}
}

// append lets f append frames, and writes what the socket takes. It reports whether that was all.
func (c *conn) append(f func([]byte) []byte) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ensure()
	*c.out = f(*c.out)
	sent := c.try()
	return sent, c.failed
}

func (c *conn) ensure() {
	if c.out == nil {
		c.out, _ = writeBuffers.Get().(*[]byte)
	}
}

// try writes without waiting and reports whether nothing is left. mu is held.
func (c *conn) try() bool {
	if c.failed != nil {
		c.drop()
		return true
	}
	if c.flushing || c.raw == nil {
		return false
	}
	err := c.raw.Write(c.rawWrite)
	if err != nil && c.failed == nil {
		c.failed = err
	}
	if c.failed != nil || c.sent == len(*c.out) {
		c.drop()
		return true
	}
	return false
}

// writeSome writes what the socket takes. It never waits for more. mu is held.
func (c *conn) writeSome(fd uintptr) bool {
	for c.sent < len(*c.out) {
		n, again, err := rawWrite(fd, (*c.out)[c.sent:])
		if err != nil {
			c.failed = err
		}
		if again || err != nil {
			break
		}
		c.sent += n
	}
	return true
}

func (c *conn) drop() {
	if c.out != nil {
		recycle(c.out)
		c.out, c.sent = nil, 0
	}
}

func recycle(b *[]byte) {
	if cap(*b) <= maxWriteBuffer {
		*b = (*b)[:0]
		writeBuffers.Put(b)
	}
}

// Flush waits until all is written, each time for writeTimeout at the most.
func (c *conn) Flush() error {
	c.flush.Lock()
	defer c.flush.Unlock()
	for {
		c.mu.Lock()
		out, sent := c.out, c.sent
		c.out, c.sent = nil, 0
		c.flushing = out != nil && c.failed == nil
		if !c.flushing {
			err := c.failed
			c.mu.Unlock()
			return err
		}
		c.mu.Unlock()
		_ = c.SetWriteDeadline(time.Now().Add(c.writeTimeout))
		_, err := c.Conn.Write((*out)[sent:])
		_ = c.SetWriteDeadline(time.Time{}) // or try would fail once it has passed
		recycle(out)
		c.mu.Lock()
		c.flushing = false
		if err != nil {
			c.failed = err
			c.drop()
		}
		c.mu.Unlock()
	}
}
