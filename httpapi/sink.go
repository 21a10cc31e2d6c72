package httpapi

import (
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
