package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// writerSink is an answer that net/http writes: over HTTP/2, TLS, or where connections cannot be taken over. What there is to write is
// written on goroutines that end with it, so that an idle stream has net/http's alone, on the smallest stack that there is.
type writerSink struct {
	w       http.ResponseWriter
	stream  *bridge.Stream
	timeout time.Duration
	over    chan struct{} // closed when the stream is over
	work    sync.WaitGroup

	mu      sync.Mutex
	out     *bytes.Buffer // what waits; nil: nothing
	writing bool
	full    bool // Send has said that it has enough
	cut     bool // nothing more is written
	ended   bool // the handler has returned
}

func (a *api) newWriterSink(w http.ResponseWriter, s *bridge.Stream, f framing) *writerSink {
	h := w.Header()
	streamHeaders(h, f.format)
	h.Set("X-Request-Id", h.Get("X-Request-Id")) // net/http holds the headers until the answer is over: not all facts with them
	w.WriteHeader(http.StatusOK)
	return &writerSink{w: recorded(w), stream: s, timeout: a.cfg.WriteTimeout, over: make(chan struct{})}
}

type connKey struct{}

// WithConn is for the ConnContext of an http.Server that speaks HTTP/2 without TLS, so that little waits in the system for slow readers of
// streams. Over TLS, see [transport.TLS], and where the connection is taken over, it does not anyway.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// boundUnsent does that. Only now it is known what the connection is for.
func boundUnsent(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		transport.BoundUnsent(c)
	}
}

// recorded returns what a recorder writes to: what goes on is not recorded.
func recorded(w http.ResponseWriter) http.ResponseWriter {
	if rec, ok := w.(*recorder); ok {
		return rec.ResponseWriter
	}
	return w
}

// maxUnsent is how much may wait to be written before a sink has enough.
const maxUnsent = 64 << 10

// unsent are buffers of what is to be written. A stream has one while there is any.
var unsent = sync.Pool{New: func() any { return new(bytes.Buffer) }} //nolint:gochecknoglobals // pools are shared

func newUnsent() *bytes.Buffer {
	b, _ := unsent.Get().(*bytes.Buffer)
	return b
}

func releaseUnsent(b *bytes.Buffer) {
	if b.Cap() <= 2*maxUnsent {
		b.Reset()
		unsent.Put(b)
	}
}

var errCut = errors.New("the answer was cut")

// Send has frames written.
func (k *writerSink) Send(frames [][]byte) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cut {
		return false, errCut
	}
	if k.out == nil {
		k.out = newUnsent()
	}
	for _, f := range frames {
		k.out.Write(f)
	}
	k.full = k.out.Len() > maxUnsent
	if !k.writing {
		k.writing = true
		k.work.Go(k.drain)
	}
	return !k.full, nil
}

// drain writes until there is nothing left.
func (k *writerSink) drain() {
	for {
		k.mu.Lock()
		out, full := k.out, k.full
		k.out, k.full = nil, false
		k.writing = out != nil && !k.cut
		goOn, cut := k.writing, k.cut
		k.mu.Unlock()
		if cut {
			k.stream.End(fmt.Errorf("%w: %w", bridge.ErrHungUp, errCut))
		}
		if !goOn {
			return
		}
		err := k.write(out.Bytes())
		releaseUnsent(out)
		switch {
		case err != nil:
			k.Cut()
			k.stream.End(fmt.Errorf("%w: %w", bridge.ErrHungUp, err))
		case full:
			k.stream.Drained(nil)
		}
	}
}

// write writes within the time for it. A writer of the program's own that panics costs one stream only, as it would on net/http's goroutine.
func (k *writerSink) write(b []byte) (err error) {
	late := cutAfter(k.timeout, k)
	defer late.stop()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the writer panicked: %v", v)
		}
	}()
	if _, err := k.w.Write(b); err != nil {
		return err
	}
	return http.NewResponseController(k.w).Flush()
}

// Finish has the last words written.
func (k *writerSink) Finish(last []byte) {
	late := cutAfter(finishTimeout, k)
	defer late.stop()
	_, _ = k.Send([][]byte{last})
	k.work.Wait()
}

// Cut ends it without.
func (k *writerSink) Cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.cut && !k.ended {
		_ = http.NewResponseController(k.w).SetWriteDeadline(time.Unix(1, 0))
	}
	k.cut = true
}

// hungUp is called when the reader is gone.
func (k *writerSink) hungUp() { k.stream.End(fmt.Errorf("%w: %w", bridge.ErrHungUp, context.Canceled)) }

// end has the handler return, when nobody writes any more.
func (k *writerSink) end() {
	k.work.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	close(k.over)
}

// cutTimer cuts a sink that takes too long. Over HTTP/2 it costs less than net/http's deadlines, two of which a write would need.
type cutTimer struct {
	timer *time.Timer
	k     *writerSink
}

var cutTimers sync.Pool //nolint:gochecknoglobals // pools are shared

func cutAfter(d time.Duration, k *writerSink) *cutTimer {
	t, ok := cutTimers.Get().(*cutTimer)
	if !ok {
		t = &cutTimer{k: k}
		t.timer = time.AfterFunc(d, func() { t.k.Cut() })
		return t
	}
	t.k = k
	t.timer.Reset(d)
	return t
}

// stop ends the time. A timer that has rung is not used again: it may not have looked whom it is for.
func (t *cutTimer) stop() {
	if t.timer.Stop() {
		t.k = nil
		cutTimers.Put(t)
	}
}
