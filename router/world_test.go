package router_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
)

// world is a realm with peers that do random things, and what they may see of it. Every call carries a token that comes
// with its invocations, and goes back with their answers.
type world struct {
	t      *testing.T
	random *rand.Rand
	r      *router.Router
	peers  []*actor
	calls  map[string]*madeCall // by token
}

// actor is a peer. It has features or not.
type actor struct {
	t              wampcore.Transport
	able           bool
	request        wampcore.ID
	lastInvocation wampcore.ID
	registrations  map[wampcore.ID]bool
	registering    map[wampcore.ID]bool
	open           map[wampcore.ID]*taken // invocations
	gone           bool
}

type madeCall struct {
	caller      *actor
	request     wampcore.ID
	inPieces    bool
	progress    bool
	finals      int
	cancelled   bool
	lastPartial int // of the progressive results
}

// taken is an invocation that an actor got.
type taken struct {
	token       string
	partial     int
	interrupted bool
	asked       bool // for progress
	answered    bool
}

func TestEveryCallOfARandomWorldIsAnsweredOnce(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, random: rand.New(rand.NewPCG(seed, 1)), r: newRouter(t), calls: map[string]*madeCall{}}
				for i := range 5 {
					w.join(i%3 != 2)
				}
				for range 150 {
					w.act()
					w.settle()
				}
				w.end()
			})
		})
	}
}

func (w *world) join(able bool) {
	a := &actor{
		t: w.r.Dial(), able: able, registrations: map[wampcore.ID]bool{}, registering: map[wampcore.ID]bool{},
		open: map[wampcore.ID]*taken{},
	}
	greeting := hello
	if able {
		greeting = everything
	}
	m, err := new(wampcore.Decoder).Decode(wampcore.JSON, []byte(greeting))
	if err != nil {
		w.t.Fatal(err)
	}
	w.peers = append(w.peers, a)
	a.send(m)
	w.settle()
}

func (a *actor) send(m wampcore.Message) { _, _ = a.t.Write([]wampcore.Message{m}) }

func (a *actor) next() wampcore.ID {
	a.request++
	return a.request
}

// act has one peer do one thing.
func (w *world) act() {
	a := w.peers[w.random.IntN(len(w.peers))]
	if a.gone {
		return
	}
	procedure := wampcore.URI([]string{"p", "q", "q.x"}[w.random.IntN(3)])
	switch w.random.IntN(13) {
	case 0, 1:
		id := a.next()
		a.registering[id] = true
		a.send(&wampcore.Register{Request: id, Procedure: procedure, Options: wampcore.RegisterOptions{
			Match: wampcore.Match(w.random.IntN(2)), Invoke: wampcore.Invoke(w.random.IntN(6)),
		}})
	case 2:
		for id := range a.registrations {
			delete(a.registrations, id) // what was sent before is still to be taken: see invocation
			a.send(&wampcore.Unregister{Request: a.next(), Registration: id})
			break
		}
	case 3, 4, 5, 6:
		w.call(a, procedure)
	case 7:
		w.more(a)
	case 8:
		w.cancel(a)
	case 9:
		if w.random.IntN(6) == 0 && len(w.peers) < 12 {
			w.leave(a)
			w.join(w.random.IntN(2) == 0)
		}
	case 10:
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock: calls time out
	default:
		w.answer(a)
	}
}

func (w *world) call(a *actor, procedure wampcore.URI) {
	id := a.next()
	token := fmt.Sprintf("%p %d", a, id)
	c := &madeCall{caller: a, request: id, progress: w.random.IntN(2) == 0, inPieces: a.able && w.random.IntN(3) == 0}
	w.calls[token] = c
	o := wampcore.CallOptions{ReceiveProgress: c.progress, Progress: c.inPieces}
	if w.random.IntN(4) == 0 {
		o.Timeout = time.Duration(1+w.random.IntN(3)) * time.Second
	}
	a.send(&wampcore.Call{Request: id, Procedure: procedure, Options: o, Payload: args(fmt.Sprintf("[%q,0]", token))})
}

// more goes on with a call, or with one that is over.
func (w *world) more(a *actor) {
	for token, c := range w.calls {
		if c.caller == a && c.inPieces {
			last := w.random.IntN(2) == 0
			c.inPieces = !last
			a.send(&wampcore.Call{
				Request: c.request, Procedure: "p", Options: wampcore.CallOptions{Progress: !last},
				Payload: args(fmt.Sprintf("[%q,0]", token)),
			})
			return
		}
	}
}

func (w *world) cancel(a *actor) {
	for _, c := range w.calls {
		if c.caller == a && c.finals == 0 {
			c.cancelled = true
			a.send(&wampcore.Cancel{Request: c.request, Mode: wampcore.CancelMode(w.random.IntN(4))})
			return
		}
	}
	a.send(&wampcore.Cancel{Request: 1 << 40})
}

// answer has a callee say something to one of its invocations, which may be over for the router.
func (w *world) answer(a *actor) {
	for id, inv := range a.open {
		switch w.random.IntN(5) {
		case 0:
			inv.partial++
			a.send(&wampcore.Yield{
				Request: id, Options: wampcore.YieldOptions{Progress: true}, Payload: args(fmt.Sprintf("[%q,%d]", inv.token, inv.partial)),
			})
			return
		case 1:
			a.send(&wampcore.ErrorMsg{RequestType: wampcore.TypeInvocation, Request: id, URI: wampcore.ErrUnavailable})
		case 2:
			a.send(&wampcore.ErrorMsg{RequestType: wampcore.TypeInvocation, Request: id, URI: "com.example.failed"})
		default:
			a.send(&wampcore.Yield{Request: id, Payload: args(fmt.Sprintf("[%q,0]", inv.token))})
		}
		inv.answered = true
		delete(a.open, id)
		return
	}
}

func (w *world) leave(a *actor) {
	a.gone = true
	for token, c := range w.calls {
		if c.caller == a {
			delete(w.calls, token) // nobody is there to be answered
		}
	}
	if w.random.IntN(2) == 0 {
		a.send(&wampcore.Goodbye{Reason: wampcore.CloseRealm})
	}
	_ = a.t.Close(0)
}

// settle lets the router do all that it has to, and has everybody look at what came.
func (w *world) settle() {
	synctest.Wait()
	for _, a := range w.peers {
		for !a.gone && a.t.Ready() {
			m, err := a.t.Receive()
			if err != nil {
				w.t.Fatal(err)
			}
			w.see(a, m)
		}
	}
}

func (w *world) see(a *actor, m wampcore.Message) {
	switch m := m.(type) {
	case *wampcore.Registered:
		if !a.registering[m.Request] {
			w.t.Fatalf("REGISTERED for request %d, which was none", m.Request)
		}
		a.registrations[m.Registration] = true
	case *wampcore.Invocation:
		w.invocation(a, m)
	case *wampcore.Interrupt:
		inv := a.open[m.Request]
		if !a.able {
			w.t.Fatal("a callee that cannot be interrupted was")
		}
		if inv != nil && inv.interrupted {
			w.t.Fatalf("INTERRUPT %d came twice", m.Request)
		}
		if inv != nil {
			inv.interrupted = true
		}
	case *wampcore.Result:
		token, n := tokenOf(w.t, m.Payload)
		c := w.calls[token]
		if c == nil || c.caller != a || c.request != m.Request {
			w.t.Fatalf("RESULT %d has the token %q", m.Request, token)
		}
		w.result(c, m.Details.Progress, n)
	case *wampcore.ErrorMsg:
		if m.RequestType != wampcore.TypeCall {
			return
		}
		for _, c := range w.calls {
			if c.caller == a && c.request == m.Request {
				w.result(c, false, 0)
				return
			}
		}
		w.t.Fatalf("ERROR for call %d, which was none", m.Request)
	case *wampcore.Abort, *wampcore.Goodbye:
		w.t.Fatalf("got %+v", m)
	}
}

func (w *world) result(c *madeCall, progress bool, n int) {
	switch {
	case c.finals > 0:
		w.t.Fatalf("call %d was answered after its end", c.request)
	case !progress:
		c.finals++
	case !c.progress:
		w.t.Fatalf("call %d got progress that it did not ask for", c.request)
	case n <= c.lastPartial:
		w.t.Fatalf("call %d got part %d after %d", c.request, n, c.lastPartial)
	default:
		c.lastPartial = n
	}
}

func (w *world) invocation(a *actor, m *wampcore.Invocation) {
	token, _ := tokenOf(w.t, m.Payload)
	if c := w.calls[token]; c != nil && c.caller.gone {
		w.t.Fatal("an invocation of a caller that had left")
	}
	if inv := a.open[m.Request]; inv != nil { // another piece
		if inv.token != token {
			w.t.Fatalf("invocation %d goes on with %q", m.Request, token)
		}
		return
	}
	if m.Request <= a.lastInvocation {
		w.t.Fatalf("INVOCATION %d came after %d", m.Request, a.lastInvocation)
	}
	if m.Details.Progress && !a.able || m.Details.ReceiveProgress && !a.able {
		w.t.Fatalf("a callee got details %+v that it does not know", m.Details)
	}
	a.lastInvocation = m.Request
	a.open[m.Request] = &taken{token: token, asked: m.Details.ReceiveProgress}
}

func tokenOf(t *testing.T, p wampcore.Payload) (token string, n int) {
	t.Helper()
	if err := p.DecodeArgs(&token, &n); err != nil || token == "" {
		t.Fatalf("payload %s: %v", p.Args, err)
	}
	return token, n
}

// end has all callees leave: then every call is answered, once.
func (w *world) end() {
	for _, a := range w.peers {
		if a.gone {
			continue
		}
		for id := range a.registrations {
			a.send(&wampcore.Unregister{Request: a.next(), Registration: id})
		}
	}
	w.settle()
	for range 100 { // re-routing may make new ones
		open := 0
		for _, a := range w.peers {
			for id, inv := range a.open {
				a.send(&wampcore.Yield{Request: id, Payload: args(fmt.Sprintf("[%q,0]", inv.token))})
				delete(a.open, id)
				open++
			}
		}
		w.settle()
		if open == 0 {
			break
		}
	}
	for token, c := range w.calls {
		if c.finals != 1 {
			w.t.Errorf("call %q was answered %d times (in pieces %t, cancelled %t)", token, c.finals, c.inPieces, c.cancelled)
		}
	}
	for _, a := range w.peers {
		_ = a.t.Close(0)
	}
}
