package wampcore

import (
	"sync"
	"time"
)

// Transport is one end of a connection between two WAMP peers.
//
// One goroutine, the reader, calls Receive, Ready and Close with a grace. At any time one goroutine, not always the same,
// calls Write or Flush. Interrupt and Close(0) may be called by anyone at any time, more than once.
type Transport interface {
	// Receive waits for the peer's next message. The message is valid until the next Receive; its payload may be taken
	// over. A *ProtocolError means that what came is no message; ErrInterrupted that Interrupt was called; ErrResting that nothing
	// has come yet, of a transport that does not wait; any other error that the peer is gone.
	Receive() (Message, error)
	// Ready reports whether a whole message is here already, so that Receive would not wait.
	Ready() bool
	// Write encodes messages and sends them without waiting for the peer; the messages then belong to the transport. It
	// reports whether all that was ever written is on its way; if not, Flush must be called before the next Write.
	Write(ms []Message) (sent bool, err error)
	// Flush waits until what was written is on its way, for as long as the transport's write timeout allows.
	Flush() error
	// Interrupt makes Receive return ErrInterrupted, now and from now on. Writing goes on.
	Interrupt()
	// Close ends the connection. What was flushed still reaches the peer if it reads it within grace; with a grace of 0 the
	// connection is cut, and every method returns.
	Close(grace time.Duration) error
}

// pipeSize is how many messages a pipe holds in each direction before Write has to wait.
const pipeSize = 256

// Pipe returns two connected in-process transports. Messages pass by reference, unencoded.
func Pipe() (Transport, Transport) {
	ab, ba := newPipeHalf(), newPipeHalf()
	return &pipe{in: ba, out: ab}, &pipe{in: ab, out: ba}
}

type pipe struct {
	in, out *pipeHalf

	batch []Message // the reader's: taken from in, not yet returned
	spare []Message // the reader's: memory for the next batch
	rest  []Message // the writer's: what out had no room for
}

// pipeHalf carries messages one way.
type pipeHalf struct {
	readable, writable chan struct{} // of size 1: a wake-up is not lost, nor kept twice
	done               chan struct{} // closed when either end closes

	mu          sync.Mutex
	queue       []Message
	closed      bool
	interrupted bool
}

func newPipeHalf() *pipeHalf {
	return &pipeHalf{
		readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (p *pipe) Receive() (Message, error) {
	for {
		p.in.mu.Lock()
		interrupted := p.in.interrupted
		p.in.mu.Unlock()
		if interrupted {
			return nil, ErrInterrupted
		}
		if len(p.batch) > 0 {
			m := p.batch[0]
			p.batch[0] = nil
			p.batch = p.batch[1:]
			return m, nil
		}
		if err := p.fill(); err != nil {
			return nil, err
		}
	}
}

// fill waits for messages and moves them into batch.
func (p *pipe) fill() error {
	in := p.in
	for {
		in.mu.Lock()
		if len(in.queue) > 0 && !in.interrupted {
			p.batch, in.queue = in.queue, p.spare[:0]
			p.spare = p.batch
			in.mu.Unlock()
			wake(in.writable)
			return nil
		}
		closed, interrupted := in.closed, in.interrupted
		in.mu.Unlock()
		switch {
		case interrupted:
			return ErrInterrupted
		case closed:
			return ErrClosed
		}
		select {
		case <-in.readable:
		case <-in.done:
		}
	}
}

func (p *pipe) Ready() bool {
	if len(p.batch) > 0 {
		return true
	}
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return len(p.in.queue) > 0
}

func (p *pipe) Write(ms []Message) (bool, error) {
	n, err := p.out.put(ms)
	if err != nil {
		return false, err
	}
	p.rest = append(p.rest, ms[n:]...)
	return len(p.rest) == 0, nil
}

func (p *pipe) Flush() error {
	for {
		n, err := p.out.put(p.rest)
		if err != nil {
			return err
		}
		if n == len(p.rest) {
			clear(p.rest)
			p.rest = p.rest[:0]
			return nil
		}
		p.rest = p.rest[n:]
		select {
		case <-p.out.writable:
		case <-p.out.done:
		}
	}
}

// put queues as many of ms as there is room for and says how many that was.
func (h *pipeHalf) put(ms []Message) (int, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return 0, ErrClosed
	}
	n := min(len(ms), pipeSize-len(h.queue))
	n = max(n, 0)
	h.queue = append(h.queue, ms[:n]...)
	h.mu.Unlock()
	if n > 0 {
		wake(h.readable)
	}
	return n, nil
}

func (p *pipe) Interrupt() {
	p.in.mu.Lock()
	p.in.interrupted = true
	p.in.mu.Unlock()
	wake(p.in.readable)
}

// Close closes both directions. The peer still receives what was written before.
func (p *pipe) Close(time.Duration) error {
	p.in.close()
	p.out.close()
	return nil
}

func (h *pipeHalf) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.done)
	}
}
