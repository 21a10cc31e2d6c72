package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

var encodings = []wampcore.Encoding{wampcore.JSON, wampcore.MessagePack, wampcore.CBOR} //nolint:gochecknoglobals // a constant

// allFeatures is what a peer announces.
func allFeatures() wampcore.Roles {
	roles := wampcore.NewRoles(wampcore.RolePublisher, wampcore.RoleSubscriber, wampcore.RoleCaller)
	roles.Add(wampcore.RoleCallee, wampcore.CallCanceling)
	return roles
}

// peer is a native client that does just what a test says.
type peer struct {
	tb testing.TB
	t  wampcore.Transport
}

// dial connects without a session.
func dial(tb testing.TB, base string, e wampcore.Encoding) *peer {
	tb.Helper()
	t, err := transport.Dial(tb.Context(), webSocket(base), transport.Config{Encodings: []wampcore.Encoding{e}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = t.Close(0) })
	return &peer{tb, t}
}

// join connects and opens a session.
func join(tb testing.TB, base string, e wampcore.Encoding) *peer {
	tb.Helper()
	p := dial(tb, base, e)
	p.hello()
	return p
}

func (p *peer) hello() *wampcore.Welcome {
	p.tb.Helper()
	p.send(&wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{Roles: allFeatures()}})
	return expect[*wampcore.Welcome](p)
}

func (p *peer) send(ms ...wampcore.Message) {
	p.tb.Helper()
	sent, err := p.t.Write(ms)
	if err == nil && !sent {
		err = p.t.Flush()
	}
	if err != nil {
		p.tb.Errorf("send: %v", err)
	}
}

// receive returns what comes next. It waits no longer than patience.
func (p *peer) receive() (wampcore.Message, error) {
	timer := time.AfterFunc(patience, func() { _ = p.t.Close(0) })
	defer timer.Stop()
	return p.t.Receive()
}

func expect[T wampcore.Message](p *peer) T {
	p.tb.Helper()
	m, err := p.receive()
	got, ok := m.(T)
	if err != nil || !ok {
		p.tb.Fatalf("got %T, %v, want %T", m, err, got)
	}
	return got
}

func (p *peer) register(request wampcore.ID, procedure wampcore.URI) {
	p.tb.Helper()
	p.send(&wampcore.Register{Request: request, Procedure: procedure})
	expect[*wampcore.Registered](p)
}

func (p *peer) subscribe(request wampcore.ID, topic wampcore.URI) {
	p.tb.Helper()
	p.send(&wampcore.Subscribe{Request: request, Topic: topic})
	expect[*wampcore.Subscribed](p)
}

// alive checks that the session still answers.
func (p *peer) alive() {
	p.tb.Helper()
	p.send(&wampcore.Call{Request: 1 << 40, Procedure: "wamp.session.count"})
	if r := expect[*wampcore.Result](p); r.Request != 1<<40 {
		p.tb.Errorf("got a result of %d", r.Request)
	}
}

// frames is a connection on which a test sends what it likes.
type frames struct {
	tb testing.TB
	ws *websocket.Conn
	e  wampcore.Encoding
}

func dialFrames(tb testing.TB, base string, e wampcore.Encoding) *frames {
	tb.Helper()
	ws, _, err := websocket.Dial(tb.Context(), webSocket(base), &websocket.DialOptions{ //nolint:bodyclose // it has none
		Subprotocols: []string{"wamp.2." + e.String()},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ws.CloseNow() })
	return &frames{tb, ws, e}
}

func (f *frames) kind(swapped bool) websocket.MessageType {
	if f.e.Text() != swapped {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

func (f *frames) send(kind websocket.MessageType, b []byte) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(f.tb.Context(), patience)
	defer cancel()
	_ = f.ws.Write(ctx, kind, b) // the other side may have hung up already: what it said is looked at
}

// hello opens a session.
func (f *frames) hello() {
	f.tb.Helper()
	m := &wampcore.Hello{Realm: "realm1", Details: wampcore.HelloDetails{Roles: allFeatures()}}
	f.send(f.kind(false), wampcore.Append(nil, f.e, m))
	if m, _ := f.receive(); m == nil || m.Type() != wampcore.TypeWelcome {
		f.tb.Fatalf("got %T, want WELCOME", m)
	}
}

func (f *frames) receive() (wampcore.Message, error) {
	ctx, cancel := context.WithTimeout(f.tb.Context(), patience)
	defer cancel()
	_, b, err := f.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	return new(wampcore.Decoder).Decode(f.e, b)
}
