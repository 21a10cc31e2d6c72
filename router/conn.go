package router

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
)

var (
	errShutdown = &wampcore.Error{URI: wampcore.CloseSystemShutdown, Message: "the router shuts down"}
	errSlow     = &wampcore.Error{URI: wampcore.CloseSlowConsumer, Message: "the peer does not read fast enough"}

	errExpired = &wampcore.Error{URI: wampcore.ErrAuthenticationRequired, Message: "the login has expired"}

	errGoodbye = errors.New("router: peer said goodbye")
	errAbort   = errors.New("router: peer aborted")
	errIdle    = errors.New("router: no session was opened")
)

// flushEvery is how many messages are routed at the most before what they queued is flushed.
const flushEvery = 256

// conn is a transport with its outbound queue. It serves sessions one after another.
type conn struct {
	// Set before serve, never changed after.
	router   *Router
	t        wampcore.Transport
	peer     Peer
	identity *Identity // of a peer that the program vouches for; nil: it is authenticated

	out queue

	// Owned by the reader.
	batch   batch
	routed  int           // since the last flush
	now     time.Duration // by the router's clock, which is read once for all messages that are routed between two flushes
	session *session      // that serve goes on with; nil: it begins one
	expiry  *time.Timer

	mu      sync.Mutex
	cause   error  // why the connection has to end; the first one counts
	stopped func() // called by stop; may be nil
}

func newConn(r *Router, t wampcore.Transport, peer Peer) *conn {
	c := &conn{router: r, t: t, peer: peer}
	c.out.maxMessages, c.out.maxBytes = r.cfg.QueueMessages, r.cfg.QueueBytes
	return c
}

// stop makes the reader end the connection. It does not wait and may be called with any lock held.
func (c *conn) stop(cause error) {
	c.mu.Lock()
	first := c.cause == nil
	if first {
		c.cause = cause
		if c.stopped != nil {
			c.stopped()
		}
	}
	c.mu.Unlock()
	if first {
		c.t.Interrupt()
	}
}

// onStop has f, which must not wait, called when the connection is stopped. It returns false if it was.
func (c *conn) onStop(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = f
	return c.cause == nil
}

// reason returns why the connection has to end, nil if it has not.
func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// serve runs the connection's sessions. When it returns, no goroutine of the connection is left; with ErrResting it goes on when it is called again.
func (c *conn) serve() error {
	wait := c.router.cfg.HelloTimeout
	timeout := error(wampcore.Violation("no HELLO came within %s", wait))
	for {
		s, err := c.session, error(nil)
		if s == nil {
			s, err = c.begin(wait, timeout)
		}
		if err == nil {
			err = c.run(s)
		}
		c.session = nil
		if errors.Is(err, wampcore.ErrResting) {
			c.session = s
			return err
		}
		if !errors.Is(err, errGoodbye) {
			c.end(s, err)
			return err
		}
		c.batch.send(s, &wampcore.Goodbye{Reason: wampcore.CloseGoodbyeAndOut})
		wait, timeout = c.router.cfg.IdleTimeout, errIdle
	}
}

// begin does the handshake on a goroutine of its own: the stack that it takes would stay with the session.
func (c *conn) begin(wait time.Duration, timeout error) (s *session, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil { // a bug of ours, or of an Authenticator: it costs this connection, not the process
				c.router.cfg.Log.WithLevel(zerolog.ErrorLevel).Interface("panic", p).Bytes("stack", debug.Stack()).
					Str("peer", c.peer.Address).Msg("handshake panicked")
				s, err = nil, fmt.Errorf("router: panic: %v", p)
			}
		}()
		if s, err = c.handshake(wait, timeout); err == nil {
			s.log(zerolog.InfoLevel).Msg("session joined")
			c.batch.flush()
		}
	}()
	<-done
	return s, err
}

// run serves one session until something ends it, and then takes it out of its realm; or until its transport rests.
func (c *conn) run(s *session) (err error) {
	if !s.expires.IsZero() && c.expiry == nil {
		c.expiry = time.AfterFunc(time.Until(s.expires), func() { c.stop(errExpired) })
	}
	defer func() {
		if errors.Is(err, wampcore.ErrResting) {
			return
		}
		if c.expiry != nil {
			c.expiry.Stop()
			c.expiry = nil
		}
		if p := recover(); p != nil { // a bug of ours: it costs this session, not the process
			s.log(zerolog.ErrorLevel).Interface("panic", p).Bytes("stack", debug.Stack()).Msg("routing panicked")
			err = fmt.Errorf("router: panic: %v", p)
		}
		s.realm.leave(&c.batch, s)
		s.logEnd(err, time.Since(s.joined))
	}()
	for {
		m, err := c.receive()
		if err != nil {
			return err
		}
		if err := s.route(&c.batch, m); err != nil {
			return err
		}
	}
}

// receive returns the next message. Before it waits for one, it flushes what the last ones queued. A busy peer's reader
// lets the others go first: the answers may be here when it looks for them, which spares it to wait and be woken.
func (c *conn) receive() (wampcore.Message, error) {
	if c.routed++; c.routed >= flushEvery || !c.t.Ready() {
		c.batch.flush()
		if c.routed > 1 {
			runtime.Gosched()
		}
		c.routed = 0
	}
	m, err := c.t.Receive()
	switch {
	case errors.Is(err, wampcore.ErrInterrupted):
		return nil, c.reason()
	case errors.Is(err, wampcore.ErrResting):
		c.routed = flushEvery // for it is later when it goes on
	case c.routed == 0:
		c.now = c.router.clock()
	}
	return m, err
}

// flush writes what is queued, unless somebody else does. It never waits for the peer: if that has to be, a goroutine
// does it, which ends when the queue is empty or the transport fails.
func (c *conn) flush() {
	if ms := c.out.begin(); !c.write(ms) {
		go func() {
			for c.flushed(c.t.Flush()) && !c.write(c.out.next()) {
			}
		}()
	}
}

// write writes ms, and what comes after them until there is nothing left, or until the transport has to be waited for: then
// it returns false.
func (c *conn) write(ms []wampcore.Message) bool {
	for ; len(ms) > 0; ms = c.out.next() {
		sent, err := c.t.Write(ms)
		if !c.flushed(err) {
			return true
		}
		if !sent {
			return false
		}
	}
	return true
}

// flushed reports whether writing went well. If not, the connection is over.
func (c *conn) flushed(err error) bool {
	if err == nil {
		return true
	}
	c.out.fail()
	c.stop(fmt.Errorf("write: %w", err))
	return false
}

// end says the last word, sees to it that it reaches the peer if that listens, and closes the transport. s is nil where
// there was no session.
func (c *conn) end(s *session, cause error) {
	if errors.Is(cause, errSlow) {
		c.router.counters.slow.Add(1)
	}
	if _, ok := errors.AsType[*wampcore.ProtocolError](cause); ok {
		c.router.counters.violations.Add(1)
	}
	last := farewell(s, cause)
	c.out.close(last, errors.Is(cause, errSlow))
	cut := time.AfterFunc(c.router.cfg.FarewellTimeout, func() { _ = c.t.Close(0) })
	c.batch.flush()
	c.flush()
	c.out.wait()
	cut.Stop()
	grace := c.router.cfg.FarewellTimeout
	if last == nil && !errors.Is(cause, errIdle) {
		grace = 0 // the peer is gone, or does not want to hear from us
	}
	_ = c.t.Close(grace)
}

// farewell returns the message that tells the peer why it is ended, nil where nobody listens. ABORT is never answered.
func farewell(s *session, cause error) wampcore.Message {
	if e, ok := errors.AsType[*wampcore.ProtocolError](cause); ok {
		reason := e.URI
		if reason == "" {
			reason = wampcore.ErrProtocolViolation
		}
		return &wampcore.Abort{Details: wampcore.CloseDetails{Message: e.Message}, Reason: reason}
	}
	e, ok := errors.AsType[*wampcore.Error](cause)
	switch {
	case !ok:
		return nil
	case s == nil:
		return &wampcore.Abort{Details: wampcore.CloseDetails{Message: e.Message}, Reason: e.URI}
	default:
		return &wampcore.Goodbye{Details: wampcore.CloseDetails{Message: e.Message}, Reason: e.URI}
	}
}

// log begins a line about the session. A logger of its own would be a tenth of what an idle session takes.
func (s *session) log(level zerolog.Level) *zerolog.Event {
	return s.conn.router.cfg.Log.WithLevel(level). //nolint:zerologlint // whoever asked for it sends it
							Str("realm", string(s.realm.name)).
							Uint64("session", uint64(s.id)).
							Str("authid", s.authID).
							Str("transport", s.conn.peer.Transport).
							Str("peer", s.conn.peer.Address)
}
