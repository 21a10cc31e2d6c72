package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// finishTimeout is how long the last words of a stream may take.
const finishTimeout = 2 * time.Second

// rawSink is a connection of HTTP/1.1 that was taken over: whoever has something for the reader writes it. What the socket does not
// take is left to a goroutine that lives until it is gone.
type rawSink struct {
	transport.Output // here, and not elsewhere: what each event looks at is in few places

	stream *bridge.Stream
	work   sync.WaitGroup
}

// newRawSink answers a request by taking over its connection.
func (a *api) newRawSink(w http.ResponseWriter, r *http.Request, s *bridge.Stream, f framing) (*rawSink, error) {
	streamHeaders(w.Header(), f.format)
	w.Header().Set("Connection", "close")
	w.Header()["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	if f.chunked {
		w.Header().Set("Transfer-Encoding", "chunked")
	}
	head := "HTTP/1.1 200 OK\r\n"
	if r.ProtoMinor == 0 {
		head = "HTTP/1.0 200 OK\r\n"
	}
	header := headerBytes(head, w.Header())
	k := &rawSink{stream: s}
	if err := k.Hijack(w, a.cfg.WriteTimeout); err != nil {
		return nil, err
	}
	if _, err := k.Send([][]byte{header}); err != nil {
		k.Cut()
		return nil, err
	}
	k.Watch(k.gone)
	return k, nil
}

func (k *rawSink) gone(err error) { k.stream.End(fmt.Errorf("%w: %w", bridge.ErrHungUp, err)) }

func headerBytes(status string, h http.Header) []byte {
	b := &bytesWriter{b: []byte(status)}
	_ = h.Write(b) // into memory
	return append(b.b, "\r\n"...)
}

type bytesWriter struct{ b []byte }

func (w *bytesWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// Send writes what the socket takes.
func (k *rawSink) Send(frames [][]byte) (bool, error) {
	sent, err := k.Output.Send(frames)
	if err == nil && !sent {
		k.work.Go(func() { k.stream.Drained(k.Flush()) })
	}
	return sent, err
}

// Finish sends the last words and closes the connection.
func (k *rawSink) Finish(last []byte) {
	k.Output.Finish(last, finishTimeout)
	k.work.Wait()
}

// Cut closes the connection.
func (k *rawSink) Cut() { k.Output.Cut() }

// maxUnsent is how much may wait to be written before a sink has enough.
const maxUnsent = 64 << 10

// writerSink is an answer that net/http writes: over HTTP/2, TLS, or where connections cannot be taken over. The handler's goroutine
// writes, while it waits for the reader to go.
type writerSink struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	stream  *bridge.Stream
	wake    chan struct{} // of size 1
	written chan struct{} // closed when nothing more will be written

	mu       sync.Mutex
	timeout  time.Duration
	out      []byte
	spare    []byte // the writer's
	full     bool   // Send has said that it has enough
	finished bool   // what is to be written is all
	cut      bool
}

func (a *api) newWriterSink(w http.ResponseWriter, s *bridge.Stream, f framing) *writerSink {
	streamHeaders(w.Header(), f.format)
	w.WriteHeader(http.StatusOK)
	return &writerSink{
		w: w, rc: http.NewResponseController(w), stream: s, timeout: a.cfg.WriteTimeout, wake: make(chan struct{}, 1), written: make(chan struct{}),
	}
}

// Send leaves frames to the handler.
func (k *writerSink) Send(frames [][]byte) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range frames {
		k.out = append(k.out, f...)
	}
	k.full = len(k.out) > maxUnsent
	k.notify()
	return !k.full, nil
}

func (k *writerSink) notify() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// serve writes what there is, until that is all or the reader is gone.
func (k *writerSink) serve(gone <-chan struct{}) {
	defer close(k.written)
	for {
		if err := k.flush(); err != nil {
			k.stream.End(fmt.Errorf("%w: %w", bridge.ErrHungUp, err))
			return
		}
		if k.isOver() {
			return
		}
		select {
		case <-k.wake:
		case <-gone:
			k.stream.End(fmt.Errorf("%w: %w", bridge.ErrHungUp, context.Canceled))
			return
		}
	}
}

// isOver reports whether nothing more is to be written.
func (k *writerSink) isOver() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cut || k.finished && len(k.out) == 0
}

// flush writes until there is nothing left.
func (k *writerSink) flush() error {
	for {
		k.mu.Lock()
		out, full := k.out, k.full
		k.out, k.spare, k.full = k.spare[:0], nil, false
		k.mu.Unlock()
		if len(out) == 0 {
			k.rest(out)
			return nil
		}
		if err := k.write(out); err != nil {
			return err
		}
		k.rest(out)
		if full {
			k.stream.Drained(nil)
		}
	}
}

// keepSpare is how much memory a sink keeps for what it writes next.
const keepSpare = 4 << 10

func (k *writerSink) rest(b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if cap(b) <= keepSpare {
		k.spare = b
	}
}

func (k *writerSink) write(b []byte) error {
	k.mu.Lock()
	timeout := k.timeout
	k.mu.Unlock()
	_ = k.rc.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := k.w.Write(b); err != nil {
		return err
	}
	if err := k.rc.Flush(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.cut { // HTTP/2 would end the stream when it passes
		_ = k.rc.SetWriteDeadline(time.Time{})
	}
	return nil
}

// Finish has the last words written.
func (k *writerSink) Finish(last []byte) {
	k.mu.Lock()
	k.timeout = min(k.timeout, finishTimeout)
	k.finished = true
	k.mu.Unlock()
	_, _ = k.Send([][]byte{last})
	<-k.written
}

// Cut ends it without.
func (k *writerSink) Cut() {
	k.mu.Lock()
	k.cut = true
	k.notify()
	k.mu.Unlock()
	_ = k.rc.SetWriteDeadline(time.Unix(1, 0))
}
