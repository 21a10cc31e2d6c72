package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// invocation is what a service reads.
type invocation struct {
	Kind, Cursor string

	Invocation, Procedure, Reason string
	Args, Kwargs                  json.RawMessage
	Details                       map[string]any
}

// service is an HTTP service's side of an offer.
type service struct {
	*network
	r *bridge.OfferReader
}

func (n *network) offer(req bridge.OfferRequest, last string) service {
	n.Helper()
	r, err := n.b.Offer(n.Context(), anybody, req, last)
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(r.Close)
	return service{n, r}
}

func (s service) read(want int) (all []invocation) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	for len(all) < want {
		notices, err := s.r.Next(ctx)
		if err != nil {
			s.Fatal(err)
		}
		for _, notice := range notices {
			inv := invocation{Kind: notice.Kind, Cursor: notice.ID}
			if err := json.Unmarshal(notice.Data, &inv); err != nil {
				s.Fatalf("%s: %v", notice.Data, err)
			}
			all = append(all, inv)
		}
	}
	return all
}

func (s service) ready() (ready struct {
	Resume string
	Open   []string
},
) {
	s.Helper()
	_, data := s.r.Ready()
	if err := json.Unmarshal(data, &ready); err != nil {
		s.Fatal(err)
	}
	return ready
}

func (n *network) answer(id, body string) error {
	n.Helper()
	req, err := bridge.ParseYield(wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte(body)}, bridge.AsEnvelope)
	if err != nil {
		n.Fatal(err)
	}
	return n.b.Yield(n.Context(), anybody, id, req)
}

func (n *network) join() *client.Session {
	n.Helper()
	s, err := client.Join(n.Context(), n.router.Dial(), client.Config{Realm: realm1})
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Close(ctx)
	})
	return s
}

type result struct {
	args string
	err  error
}

// call calls a procedure, by JSON, in the background.
func call(ctx context.Context, s *client.Session, procedure wampcore.URI, args string) <-chan result {
	got := make(chan result, 1)
	go func() {
		p, err := s.Call(ctx, procedure, wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(args)}, wampcore.CallOptions{})
		got <- result{string(p.Transcode(wampcore.JSON).Args), err}
	}()
	return got
}

func wait(tb testing.TB, got <-chan result) result {
	tb.Helper()
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case r := <-got:
		return r
	case <-timeout.C:
		tb.Fatal("no answer came")
		return result{}
	}
}

func isError(err error, uri wampcore.URI) bool {
	e, ok := errors.AsType[*wampcore.Error](err)
	return ok && e.URI == uri
}

func TestServiceAnswersTheInvocationsOfItsStream(t *testing.T) {
	n := connect(t, false)
	s := n.offer(bridge.OfferRequest{Procedure: "com.shop", Match: wampcore.MatchPrefix}, "")
	got := call(t.Context(), n.join(), "com.shop.add", `[2, 18446744073709551615]`)
	inv := s.read(1)[0]
	if inv.Kind != "invocation" || inv.Procedure != "com.shop.add" || string(inv.Args) != `[2,18446744073709551615]` {
		t.Errorf("got %+v", inv)
	}
	if err := n.answer(inv.Invocation, `{"args":[5]}`); err != nil {
		t.Error(err)
	}
	if r := wait(t, got); r.args != `[5]` || r.err != nil {
		t.Errorf("got %+v", r)
	}
	got = call(t.Context(), n.join(), "com.shop.fail", `[]`)
	e, err := bridge.ParseError(wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte(`{"error":"com.shop.sold_out","args":["no more"]}`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.b.Fail(t.Context(), anybody, s.read(1)[0].Invocation, e); err != nil {
		t.Error(err)
	}
	if r := wait(t, got); !isError(r.err, "com.shop.sold_out") {
		t.Errorf("got %+v", r)
	}
	if got := n.b.Stats().Services; got.Offers != 1 || got.Invocations != 2 || got.Answered != 1 || got.Failed != 1 || got.Open != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestInvocationIsAnsweredOnceAndByItsPrincipalAlone(t *testing.T) {
	n := connect(t, false)
	s := n.offer(bridge.OfferRequest{Procedure: "p"}, "")
	got := call(t.Context(), n.join(), "p", `[]`)
	id := s.read(1)[0].Invocation
	for name, p := range map[string]bridge.Principal{
		"another realm": {Realm: "realm2"}, "another name": {Realm: realm1, AuthID: "eve"}, "another role": {Realm: realm1, AuthRole: "x"},
	} {
		if err := n.b.Yield(t.Context(), p, id, bridge.YieldRequest{}); !errors.Is(err, bridge.ErrNoInvocation) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, wrong := range []string{"", "1", "A" + id, id + "A", id[:len(id)-1]} {
		if err := n.answer(wrong, ""); !errors.Is(err, bridge.ErrNoInvocation) {
			t.Errorf("%q: got %v", wrong, err)
		}
	}
	if err := n.answer(id, ""); err != nil {
		t.Error(err)
	}
	wait(t, got)
	if err := n.answer(id, ""); !errors.Is(err, bridge.ErrGone) {
		t.Errorf("the second answer: got %v", err)
	}
	if err := n.answer(id, `{"options":{"progress":true}}`); !errors.Is(err, bridge.ErrGone) {
		t.Errorf("progress after the answer: got %v", err)
	}
}

func TestServiceSendsProgressiveResults(t *testing.T) {
	n := connect(t, false)
	s := n.offer(bridge.OfferRequest{Procedure: "p"}, "")
	caller := n.join()
	parts := make(chan string, 10)
	go func() {
		defer close(parts)
		for part, err := range caller.CallParts(context.Background(), "p", wampcore.Payload{}, wampcore.CallOptions{}) {
			if err != nil {
				parts <- err.Error()
				return
			}
			parts <- string(part.Payload.Transcode(wampcore.JSON).Args)
		}
	}()
	inv := s.read(1)[0]
	if inv.Details["receive_progress"] != true {
		t.Errorf("got %+v", inv)
	}
	for _, body := range []string{`{"args":[1],"options":{"progress":true}}`, `{"args":[2],"options":{"progress":true}}`, `{"args":[3]}`} {
		if err := n.answer(inv.Invocation, body); err != nil {
			t.Error(err)
		}
	}
	for _, want := range []string{"[1]", "[2]", "[3]"} {
		if got := <-parts; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCallInPartsReachesTheServiceInParts(t *testing.T) {
	n := connect(t, false)
	s := n.offer(bridge.OfferRequest{Procedure: "p"}, "")
	caller, more := n.join(), make(chan struct{})
	parts := func(context.Context) iter.Seq[client.Part] {
		return func(yield func(client.Part) bool) {
			if yield(client.Part{Payload: wampcore.Payload{Encoding: wampcore.JSON, Args: []byte("[1]")}}) {
				<-more
				yield(client.Part{Payload: wampcore.Payload{Encoding: wampcore.JSON, Args: []byte("[2]")}, Final: true})
			}
		}
	}
	got := make(chan result, 1)
	go func() {
		for part, err := range caller.Exchange(context.Background(), "p", parts, wampcore.CallOptions{}) {
			got <- result{string(part.Payload.Transcode(wampcore.JSON).Args), err}
		}
	}()
	first := s.read(1)[0]
	close(more)
	second := s.read(1)[0]
	if first.Invocation != second.Invocation || first.Details["progress"] != true || second.Details["progress"] != nil || string(second.Args) != "[2]" {
		t.Errorf("got %+v, then %+v", first, second)
	}
	if err := n.answer(first.Invocation, `{"args":[3]}`); err != nil {
		t.Error(err)
	}
	if r := wait(t, got); r.args != "[3]" || r.err != nil {
		t.Errorf("got %+v", r)
	}
}

func TestServiceIsToldOfACallThatIsGivenUp(t *testing.T) {
	n := connect(t, false)
	s := n.offer(bridge.OfferRequest{Procedure: "p"}, "")
	ctx, giveUp := context.WithCancel(t.Context())
	got := call(ctx, n.join(), "p", `[]`)
	inv := s.read(1)[0]
	giveUp()
	wait(t, got)
	over := s.read(1)[0]
	if over.Kind != "interrupt" || over.Invocation != inv.Invocation || over.Reason != "wamp.error.canceled" {
		t.Errorf("got %+v", over)
	}
	if err := n.answer(inv.Invocation, ""); !errors.Is(err, bridge.ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestCallsBeyondTheConcurrencyWaitAndBeyondThatAreRefused(t *testing.T) {
	n := connect(t, false)
	s := n.offer(bridge.OfferRequest{Procedure: "p", Concurrency: 1}, "")
	caller := n.join()
	const calls = 300
	got := make(chan result, calls)
	var all sync.WaitGroup
	for range calls {
		all.Go(func() { got <- <-call(context.Background(), caller, "p", `[]`) })
	}
	for range calls - 257 {
		if r := wait(t, got); !isError(r.err, wampcore.ErrNoAvailableCallee) { // the router has no other
			t.Fatalf("got %+v", r)
		}
	}
	for range 257 {
		open := s.read(1)
		if len(open) != 1 {
			t.Fatalf("%d are open at once", len(open))
		}
		if err := n.answer(open[0].Invocation, ""); err != nil {
			t.Fatal(err)
		}
		if r := wait(t, got); r.err != nil {
			t.Fatal(r.err)
		}
	}
	all.Wait()
}

func TestServiceThatComesBackAnswersWhatWasOpen(t *testing.T) {
	n := connect(t, false)
	req := bridge.OfferRequest{Procedure: "p"}
	s := n.offer(req, "")
	caller := n.join()
	got := call(t.Context(), caller, "p", `[1]`)
	inv := s.read(1)[0]
	s.r.Close()
	meanwhile := call(t.Context(), caller, "p", `[2]`)
	s = n.offer(req, "")
	if ready := s.ready(); ready.Resume != "resumed" || len(ready.Open) != 1 || ready.Open[0] != inv.Invocation {
		t.Errorf("got %+v", ready)
	}
	next := s.read(1)[0]
	if string(next.Args) != `[2]` {
		t.Errorf("got %+v", next)
	}
	for _, id := range []string{inv.Invocation, next.Invocation} {
		if err := n.answer(id, ""); err != nil {
			t.Error(err)
		}
	}
	if a, b := wait(t, got), wait(t, meanwhile); a.err != nil || b.err != nil {
		t.Errorf("got %v, %v", a.err, b.err)
	}
}

func TestServiceThatSaysWhatItHasReadLosesNothing(t *testing.T) {
	n := connect(t, false)
	req := bridge.OfferRequest{Procedure: "p", Invoke: wampcore.InvokeRoundRobin}
	s := n.offer(req, "")
	caller := n.join()
	first := call(t.Context(), caller, "p", `[1]`)
	read := s.read(1)[0]
	second := call(t.Context(), caller, "p", `[2]`)
	lost := s.read(1)[0] // as far as the service knows, it never came
	old := s
	s = n.offer(req, read.Cursor) // the old stream is still there
	if _, err := old.r.Next(t.Context()); !errors.Is(err, bridge.ErrReplaced) {
		t.Errorf("the old stream ended with %v", err)
	}
	old.r.Close()
	if ready := s.ready(); len(ready.Open) != 1 || ready.Open[0] != read.Invocation {
		t.Errorf("got %+v", ready)
	}
	if again := s.read(1)[0]; again.Invocation != lost.Invocation || again.Cursor != lost.Cursor {
		t.Errorf("got %+v, want %+v", again, lost)
	}
	for _, id := range []string{read.Invocation, lost.Invocation} {
		if err := n.answer(id, ""); err != nil {
			t.Error(err)
		}
	}
	if a, b := wait(t, first), wait(t, second); a.err != nil || b.err != nil {
		t.Errorf("got %v, %v", a.err, b.err)
	}
	if got := sessions(n); got != 2 {
		t.Errorf("there are %d sessions, want the caller's and the service's", got)
	}
}

func TestServiceThatDoesNotComeBackIsUnregistered(t *testing.T) {
	n := connect(t, false)
	n.b = bridge.New(bridge.Config{Dial: n.dial, Grace: time.Millisecond})
	defer func() {
		if err := n.b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	s := n.offer(bridge.OfferRequest{Procedure: "p", Concurrency: 1}, "")
	caller := n.join()
	first := call(t.Context(), caller, "p", `[1]`)
	id := s.read(1)[0].Invocation
	second := call(t.Context(), caller, "p", `[2]`)
	if _, err := caller.Call(t.Context(), "wamp.session.count", wampcore.Payload{}, wampcore.CallOptions{}); err != nil { // the second is there
		t.Fatal(err)
	}
	s.r.Close()
	if r := wait(t, first); !isError(r.err, wampcore.ErrCanceled) {
		t.Errorf("what it had read: got %+v", r)
	}
	if r := wait(t, second); !isError(r.err, wampcore.ErrUnavailable) && !isError(r.err, wampcore.ErrNoAvailableCallee) {
		t.Errorf("what it had not read: got %+v", r)
	}
	if err := n.answer(id, ""); !errors.Is(err, bridge.ErrGone) {
		t.Errorf("got %v", err)
	}
	for sessions(n) != 1 {
	}
	if r := wait(t, call(t.Context(), caller, "p", `[]`)); !isError(r.err, wampcore.ErrNoSuchProcedure) {
		t.Errorf("got %+v", r)
	}
	if got := n.b.Stats().Services; got.Expired != 1 || got.Offers != 0 || got.Detached != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestOpenInvocationsAreAnsweredWhileTheBridgeCloses(t *testing.T) {
	n := connect(t, false)
	s := n.offer(bridge.OfferRequest{Procedure: "p"}, "")
	got := call(t.Context(), n.join(), "p", `[]`)
	id := s.read(1)[0].Invocation
	if err := n.b.Withdraw(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if _, err := s.r.Next(t.Context()); !errors.Is(err, bridge.ErrDraining) {
		t.Errorf("got %v", err)
	}
	if _, err := n.b.Offer(t.Context(), anybody, bridge.OfferRequest{Procedure: "q"}, ""); !errors.Is(err, bridge.ErrDraining) {
		t.Errorf("got %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- n.b.Close(context.Background()) }()
	if err := n.answer(id, `{"args":[7]}`); err != nil {
		t.Error(err)
	}
	if r := wait(t, got); r.args != "[7]" {
		t.Errorf("got %+v", r)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestOfferEndsWithItsSessionAndWithItsRegistration(t *testing.T) {
	n := connect(t, false)
	operator := n.join()
	for _, end := range []func(service) error{
		func(s service) error {
			id, err := client.Call[wampcore.ID](t.Context(), operator, "wamp.registration.lookup", "p")
			if err != nil {
				return err
			}
			var ids []wampcore.ID
			if ids, err = client.Call[[]wampcore.ID](t.Context(), operator, "wamp.registration.list_callees", id); err != nil {
				return err
			}
			_, err = client.Call[any](t.Context(), operator, "wamp.registration.remove_callee", id, ids[0])
			return err
		},
		func(service) error {
			_, err := client.Call[any](t.Context(), operator, "wamp.session.kill_all")
			return err
		},
	} {
		s := n.offer(bridge.OfferRequest{Procedure: "p"}, "")
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, err := s.r.Next(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("got %v", err)
		}
		cancel()
		s.r.Close()
	}
}

func TestProcedureThatIsTakenIsRefused(t *testing.T) {
	n := connect(t, false)
	n.offer(bridge.OfferRequest{Procedure: "p"}, "")
	if _, err := n.b.Offer(t.Context(), anybody, bridge.OfferRequest{Procedure: "p"}, ""); !isError(err, wampcore.ErrProcedureAlreadyExists) {
		t.Errorf("got %v", err)
	}
}
