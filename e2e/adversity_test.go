package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// residentMiB is what a process holds in memory.
func residentMiB(tb testing.TB, p *process) int {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		tb.Skip("there is no /proc here")
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		tb.Fatal(err)
	}
	return kib >> 10
}

func TestReaderThatStopsIsEndedAndTheOthersGetAll(t *testing.T) {
	const events, size = 10_000, 4 << 10
	gw, base := gateway(t, "WAMPGATE_QUEUE_BYTES=2MiB", "WAMPGATE_HISTORY_AGE=0s")
	stuck, reader, publisher := join(t, base, wampcore.JSON), join(t, base, wampcore.MessagePack), join(t, base, wampcore.JSON)
	stuck.subscribe(1, "t")
	reader.subscribe(1, "t")
	before := residentMiB(t, gw)
	payload := strings.Repeat("x", size)
	for i := range events {
		publisher.send(&wampcore.Publish{
			Request: wampcore.ID(i + 1), Topic: "t", Options: wampcore.PublishOptions{Acknowledge: true},
			Payload: wampcore.Payload{Encoding: wampcore.JSON, Args: fmt.Appendf(nil, `[%d,%q]`, i, payload)},
		})
		expect[*wampcore.Published](publisher)
		e := expect[*wampcore.Event](reader)
		var n int
		if err := e.Payload.DecodeArgs(&n); err != nil || n != i {
			t.Fatalf("got event %d, %v, want %d", n, err, i)
		}
	}
	// 40 MiB were published; the race detector's allocator keeps some of what passes through.
	if grown := residentMiB(t, gw) - before; grown > 64 {
		t.Errorf("the gateway grew by %d MiB", grown)
	}
	gw.expect("session ended as slow")
	waitFor(t, func() bool {
		body, _ := curl(t, "-X", "POST", base+"/v1/call/wamp.session.count")
		return body == `{"args":[3]}` // the two that are well, and that of HTTP's calls
	})
}

func TestTwoThousandCallsAtOnceAreAllAnswered(t *testing.T) {
	const calls = 2000
	_, base := gateway(t)
	callee := session(t, base, wampcore.MessagePack)
	_, err := callee.Register(t.Context(), "double", func(_ context.Context, inv *client.Invocation) (wampcore.Payload, error) {
		var n int
		if err := inv.Payload.DecodeArgs(&n); err != nil {
			return wampcore.Payload{}, err
		}
		return wampcore.NewPayload(wampcore.JSON, []any{2 * n}, nil)
	}, wampcore.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	caller := session(t, base, wampcore.JSON)
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			in, _ := wampcore.NewPayload(wampcore.JSON, []any{i}, nil)
			out, err := caller.Call(t.Context(), "double", in, wampcore.CallOptions{})
			var n int
			if err != nil || out.DecodeArgs(&n) != nil || n != 2*i {
				t.Errorf("double(%d): %d, %v", i, n, err)
			}
		})
	}
	wg.Wait()
}

// session is a Go client's.
func session(tb testing.TB, base string, e wampcore.Encoding) *client.Session {
	tb.Helper()
	t, err := transport.Dial(tb.Context(), webSocket(base), transport.Config{Encodings: []wampcore.Encoding{e}})
	if err != nil {
		tb.Fatal(err)
	}
	// All calls may be open at once.
	s, err := client.Join(tb.Context(), t, client.Config{Realm: "realm1", Backlog: 10_000})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Close(ctx)
	})
	return s
}

func TestCalleeIsInterruptedWhenItsCallerVanishes(t *testing.T) {
	_, base := gateway(t)
	callee := join(t, base, wampcore.CBOR)
	callee.register(1, "p")
	caller := join(t, base, wampcore.JSON)
	caller.send(&wampcore.Call{Request: 1, Procedure: "p"})
	request := expect[*wampcore.Invocation](callee).Request
	_ = caller.t.Close(0)
	if i := expect[*wampcore.Interrupt](callee); i.Request != request || i.Mode != wampcore.CancelKillNoWait {
		t.Errorf("got %+v", i)
	}
	callee.send(&wampcore.Yield{Request: request}) // late

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/call/p", nil)
	if err != nil {
		t.Fatal(err)
	}
	abandoned := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		abandoned <- err
	}()
	request = expect[*wampcore.Invocation](callee).Request
	cancel()
	if i := expect[*wampcore.Interrupt](callee); i.Request != request {
		t.Errorf("got %+v, want one of %d", i, request)
	}
	callee.send(&wampcore.Yield{Request: request})
	if err := <-abandoned; err == nil {
		t.Error("the abandoned request was answered")
	}
	callee.alive()
}

func TestFramesThatAreNoMessagesAreAborted(t *testing.T) {
	_, base := gateway(t)
	bystander := join(t, base, wampcore.JSON)
	deep := map[wampcore.Encoding]string{
		wampcore.JSON:        `[16,1,{},"t",` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `]`,
		wampcore.MessagePack: "\x95\x10\x01\x80\xa1t" + strings.Repeat("\x91", 10_000) + "\x90",
		wampcore.CBOR:        "\x85\x10\x01\xa0\x61t" + strings.Repeat("\x81", 10_000) + "\x80",
	}
	vast := map[wampcore.Encoding]string{
		wampcore.JSON:        `[16,1,{},"t",[1`,
		wampcore.MessagePack: "\x95\x10\x01\x80\xa1t\xdd\xff\xff\xff\xff",
		wampcore.CBOR:        "\x85\x10\x01\xa0\x61t\x9a\xff\xff\xff\xff",
	}
	for _, e := range encodings {
		as := func(s string) []byte {
			return wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(s)}.Transcode(e).Args
		}
		whole := as(`[32,1,{},"t"]`)
		for name, c := range map[string]struct {
			frame   []byte
			swapped bool
		}{
			"text as binary, or binary as text": {whole, true},
			"cut short":                         {whole[:len(whole)-1], false},
			"more behind it":                    {append(append([]byte{}, whole...), whole...), false},
			"nothing":                           {nil, false},
			"no list":                           {as(`{"a":1}`), false},
			"an empty list":                     {as(`[]`), false},
			"no such type":                      {as(`[99,1,{}]`), false},
			"an id that is a string":            {as(`[32,"1",{},"t"]`), false},
			"an id of 0":                        {as(`[32,0,{},"t"]`), false},
			"too few elements":                  {as(`[32,1,{}]`), false},
			"options that are none":             {as(`[32,1,[],"t"]`), false},
			"a bogus policy":                    {as(`[64,1,{"invoke":"bogus"},"p"]`), false},
			"nested deep":                       {[]byte(deep[e]), false},
			"a length of 2^32":                  {[]byte(vast[e]), false},
		} {
			t.Run(e.String()+" "+name, func(t *testing.T) {
				f := dialFrames(t, base, e)
				f.hello()
				f.send(f.kind(c.swapped), c.frame)
				m, err := f.receive()
				abort, ok := m.(*wampcore.Abort)
				if !ok || abort.Reason != wampcore.ErrProtocolViolation || abort.Details.Message == "" {
					t.Fatalf("got %T %+v, %v, want ABORT", m, m, err)
				}
				if m, err := f.receive(); err == nil {
					t.Errorf("got %T, want the end", m)
				}
			})
		}
	}
	bystander.alive()
}

func TestMessageOverTheLimitEndsItsSessionAlone(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_MAX_MESSAGE=64KiB")
	bystander := join(t, base, wampcore.JSON)
	for _, e := range encodings {
		f := dialFrames(t, base, e)
		f.hello()
		f.send(f.kind(false), []byte(strings.Repeat("x", 70_000)))
		_, err := f.receive()
		if websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
			t.Errorf("%s: got %v, want the status %d", e, err, websocket.StatusMessageTooBig)
		}
	}
	bystander.alive()
}

func TestPeerThatSaysNoHelloIsToldAndClosed(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_HELLO_TIMEOUT=200ms")
	p := dial(t, base, wampcore.JSON)
	if a := expect[*wampcore.Abort](p); a.Reason != wampcore.ErrProtocolViolation {
		t.Errorf("got %+v", a)
	}
	if m, err := p.receive(); err == nil {
		t.Errorf("got %T, want the end", m)
	}
}

func TestTransportTakesANewSessionAfterGoodbye(t *testing.T) {
	_, base := gateway(t)
	p := dial(t, base, wampcore.CBOR)
	first := p.hello().Session
	p.subscribe(1, "t")
	p.send(&wampcore.Goodbye{Reason: wampcore.CloseRealm})
	if g := expect[*wampcore.Goodbye](p); g.Reason != wampcore.CloseGoodbyeAndOut {
		t.Errorf("got %+v", g)
	}
	if second := p.hello().Session; second == first {
		t.Error("the session is the same")
	}
	p.alive()
}

func TestStrictRealmInsistsOnSequentialRequestIDs(t *testing.T) {
	for strict, want := range map[string]wampcore.MessageType{"true": wampcore.TypeAbort, "false": wampcore.TypeSubscribed} {
		_, base := gateway(t, "WAMPGATE_STRICT="+strict)
		p := join(t, base, wampcore.JSON)
		p.subscribe(1, "t")
		p.send(&wampcore.Subscribe{Request: 3, Topic: "t"})
		if m, err := p.receive(); err != nil || m.Type() != want {
			t.Errorf("strict=%s: got %T, %v", strict, m, err)
		}
	}
}

func TestShutdownSaysGoodbyeToAll(t *testing.T) {
	gw, base := gateway(t)
	peers := make([]*peer, 0, len(encodings))
	for _, e := range encodings {
		peers = append(peers, join(t, base, e))
	}
	stream := start(t, nil, need(t, "curl"), "-sN", base+"/v1/subscribe/t")
	stream.expect("wamp.ready")
	_ = gw.cmd.Process.Signal(syscall.SIGTERM)
	for _, p := range peers {
		if g := expect[*wampcore.Goodbye](p); g.Reason != wampcore.CloseSystemShutdown {
			t.Errorf("got %+v", g)
		}
		p.send(&wampcore.Goodbye{Reason: wampcore.CloseGoodbyeAndOut})
	}
	stream.expect("wamp.bye")
	if status := gw.exit(); status != 0 {
		t.Errorf("the exit status is %d", status)
	}
}

func TestSecondSignalCutsTheShutdownShort(t *testing.T) {
	gw, base := gateway(t, "WAMPGATE_SHUTDOWN_TIMEOUT=10m")
	callee := join(t, base, wampcore.JSON)
	callee.register(1, "p")
	answered := make(chan string, 1)
	go func() {
		res, err := http.Post(base+"/v1/call/p", "", nil)
		if err != nil {
			answered <- err.Error()
			return
		}
		_ = res.Body.Close()
		answered <- res.Status
	}()
	expect[*wampcore.Invocation](callee) // and no answer: the request keeps the gateway
	_ = gw.cmd.Process.Signal(syscall.SIGTERM)
	waitFor(t, func() bool {
		res, err := http.Get(base + "/readyz")
		if err != nil {
			return true
		}
		defer func() { _ = res.Body.Close() }()
		return res.StatusCode != http.StatusOK
	})
	began := time.Now()
	_ = gw.cmd.Process.Signal(syscall.SIGTERM)
	if status := gw.exit(); status == 0 {
		t.Error("the exit status says that all ended in good order")
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %s", took)
	}
	<-answered
}

func TestValuesAreExactAcrossEncodings(t *testing.T) {
	const values = `[9007199254740993,-9223372036854775808,18446744073709551615,1.0,0.1,true,null,"\u0000AAH/","ä\n",[],{"k":[-1,1e+300]}]`
	_, base := gateway(t)
	for _, e := range encodings {
		callee := join(t, base, e)
		procedure := wampcore.URI("com.example.echo." + e.String())
		callee.register(1, procedure)
		go func() {
			for {
				m, err := callee.t.Receive()
				if err != nil {
					return
				}
				if inv, ok := m.(*wampcore.Invocation); ok {
					_, _ = callee.t.Write([]wampcore.Message{&wampcore.Yield{Request: inv.Request, Payload: inv.Payload.Clone()}})
					_ = callee.t.Flush()
				}
			}
		}()
		if body, status := post(t, base+"/v1/call/"+string(procedure), `{"args":`+values+`}`); body != `{"args":`+values+`}` {
			t.Errorf("HTTP to %s: %s %s", e, status, body)
		}
		for _, from := range encodings {
			caller := join(t, base, from)
			in := wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(values)}
			caller.send(&wampcore.Call{Request: 1, Procedure: procedure, Payload: in})
			r := expect[*wampcore.Result](caller)
			if got := r.Payload.Transcode(wampcore.JSON).Args; string(got) != values {
				t.Errorf("%s to %s: %s", from, e, got)
			}
		}
	}
}
