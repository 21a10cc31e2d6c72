// Package wamptest has a scripted raw peer for tests of routers and clients.
package wamptest

import (
	"errors"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// patience is how long a peer waits for what is to come. Inside a synctest bubble it costs nothing.
const patience = 2 * time.Minute

// Peer is one end of a transport that does what a test says. One goroutine at a time uses it.
type Peer struct {
	tb testing.TB
	t  wampcore.Transport
}

// New returns a peer at this end of t, which the test's end closes.
func New(tb testing.TB, t wampcore.Transport) *Peer {
	tb.Helper()
	p := &Peer{tb: tb, t: t}
	tb.Cleanup(p.Close)
	return p
}

// Close cuts the transport.
func (p *Peer) Close() { _ = p.t.Close(0) }

// Send sends one message. That the other side has gone already is no failure: what it said last is still to be read.
func (p *Peer) Send(m wampcore.Message) {
	p.tb.Helper()
	sent, err := p.t.Write([]wampcore.Message{m})
	if err == nil && !sent {
		err = p.t.Flush()
	}
	if err != nil && !errors.Is(err, wampcore.ErrClosed) {
		p.tb.Errorf("send message %d: %v", m.Type(), err)
	}
}

// Receive returns the next message; it is valid until the next Receive. What takes too long ends the transport, and so
// the wait.
func (p *Peer) Receive() (wampcore.Message, error) {
	timer := time.AfterFunc(patience, p.Close)
	defer timer.Stop()
	return p.t.Receive()
}

// ExpectClosed fails the test if anything but the end comes.
func (p *Peer) ExpectClosed() {
	p.tb.Helper()
	if m, err := p.Receive(); err == nil {
		p.tb.Fatalf("got %T %+v, want the end", m, m)
	}
}

// Expect returns the next message, which has to be a T.
func Expect[T wampcore.Message](p *Peer) T {
	p.tb.Helper()
	m, err := p.Receive()
	if err != nil {
		p.tb.Fatalf("got %v, want %T", err, *new(T))
	}
	want, ok := m.(T)
	if !ok {
		p.tb.Fatalf("got %T %+v, want %T", m, m, want)
	}
	return want
}

// Join opens a session and returns what the router said.
func (p *Peer) Join(realm wampcore.URI, roles wampcore.Roles) *wampcore.Welcome {
	p.tb.Helper()
	p.Send(&wampcore.Hello{Realm: realm, Details: wampcore.HelloDetails{Roles: roles}})
	return Expect[*wampcore.Welcome](p)
}
