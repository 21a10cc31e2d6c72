package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// badNetwork is a proxy that cuts, stalls and delays.
type badNetwork struct {
	net.Listener

	to   string
	done sync.WaitGroup

	mu    sync.Mutex
	pairs map[*through]struct{}
}

// through is one connection.
type through struct {
	near, far *net.TCPConn
	stalled   atomic.Bool
}

func (c *through) cut(reset bool) {
	for _, end := range []*net.TCPConn{c.near, c.far} {
		if reset {
			_ = end.SetLinger(0)
		}
		_ = end.Close()
	}
}

func newBadNetwork(tb testing.TB, to string) *badNetwork {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	n := &badNetwork{Listener: l, to: to, pairs: map[*through]struct{}{}}
	n.done.Go(n.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		n.each(func(c *through) { c.cut(true) })
		n.done.Wait()
	})
	return n
}

func (n *badNetwork) accept() {
	for {
		near, err := n.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", n.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		c := &through{near: near.(*net.TCPConn), far: far.(*net.TCPConn)}
		n.mu.Lock()
		n.pairs[c] = struct{}{}
		n.mu.Unlock()
		n.done.Go(func() {
			defer func() {
				n.mu.Lock()
				delete(n.pairs, c)
				n.mu.Unlock()
			}()
			var ways sync.WaitGroup
			ways.Go(func() { c.copy(c.far, c.near) })
			ways.Go(func() { c.copy(c.near, c.far) })
			ways.Wait()
			c.cut(false)
		})
	}
}

// copy forwards one direction, a little late; what comes while it is stalled is swallowed.
func (c *through) copy(to, from *net.TCPConn) {
	b := make([]byte, 4<<10)
	late := time.NewTimer(0)
	defer late.Stop()
	for {
		k, err := from.Read(b)
		if err != nil {
			_ = to.CloseWrite()
			return
		}
		if rand.IntN(20) == 0 {
			late.Reset(time.Duration(rand.IntN(5)) * time.Millisecond)
			<-late.C
		}
		if c.stalled.Load() {
			continue
		}
		if _, err := to.Write(b[:k]); err != nil {
			return
		}
	}
}

func (n *badNetwork) each(f func(*through)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.pairs {
		f(c)
	}
}

func TestAfterAHundredCutsEverythingIsBackAndNoCallHangs(t *testing.T) {
	_, base := gateway(t, "WAMPGATE_PING_INTERVAL=200ms")
	_, address, _ := strings.Cut(base, "://")
	for _, c := range []struct {
		url string
		e   wampcore.Encoding
	}{{"ws://%s/ws", wampcore.JSON}, {"tcp://%s", wampcore.MessagePack}} {
		t.Run(c.url, func(t *testing.T) {
			network := newBadNetwork(t, address)
			prefix := "com.example." + c.e.String()
			ups := make(chan struct{}, 1000)
			r := client.Redial(client.RedialConfig{
				Dial: func(ctx context.Context) (wampcore.Transport, error) {
					return transport.Dial(ctx, fmt.Sprintf(c.url, network.Addr()), transport.Config{
						Encodings: []wampcore.Encoding{c.e}, PingInterval: 200 * time.Millisecond, HandshakeTimeout: 2 * time.Second,
					})
				},
				Session:  client.Config{Realm: "realm1"},
				MinDelay: 5 * time.Millisecond, MaxDelay: 50 * time.Millisecond, Timeout: 2 * time.Second,
				OnUp: func(*client.Session) { ups <- struct{}{} },
			})
			heard := make([]atomic.Int64, 10)
			for i := range heard {
				uri := wampcore.URI(fmt.Sprintf("%s.%d", prefix, i))
				add := func(context.Context, *wampcore.Event) { heard[i].Add(1) }
				if _, err := r.Subscribe(t.Context(), uri, add, wampcore.SubscribeOptions{}); err != nil {
					t.Fatal(err)
				}
				echo := client.Procedure(func(_ context.Context, n int) (int, error) { return n, nil })
				if _, err := r.Register(t.Context(), uri, echo, wampcore.RegisterOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			var busy sync.WaitGroup
			for range 4 {
				busy.Go(func() { callAllTheTime(ctx, t, r) })
			}
			cutAHundredTimes(t, network, ups)
			stop()
			busy.Wait()

			direct := sessionAt(t, "ws://"+address+"/ws", transport.Config{})
			for i := range heard {
				uri := wampcore.URI(fmt.Sprintf("%s.%d", prefix, i))
				waitFor(t, func() bool {
					n, err := client.Call[int](t.Context(), direct, uri, i)
					return err == nil && n == i
				})
				before := heard[i].Load()
				waitFor(t, func() bool {
					_, err := direct.Publish(t.Context(), uri, wampcore.Payload{}, wampcore.PublishOptions{Acknowledge: true})
					return err == nil && heard[i].Load() > before
				})
			}
			closing, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := r.Close(closing); err != nil {
				t.Error(err)
			}
		})
	}
}

// callAllTheTime calls until ctx ends. A call fails or is answered, but it does not hang.
func callAllTheTime(ctx context.Context, tb testing.TB, r *client.Redialer) {
	tb.Helper()
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		call, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := client.Call[int](call, r, "wamp.session.count") //nolint:contextcheck // a call that is open has its answer, whatever ends
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			tb.Errorf("a call took %s: %v", time.Since(began), err)
		}
		<-pause.C
	}
}

// cutAHundredTimes loses connections in all ways, and waits each time until there is another session.
func cutAHundredTimes(tb testing.TB, network *badNetwork, ups <-chan struct{}) {
	tb.Helper()
	patient := time.NewTimer(patience)
	defer patient.Stop()
	for i := range 100 {
		for len(ups) > 0 {
			<-ups
		}
		network.each(func(c *through) {
			if i%10 == 9 {
				c.stalled.Store(true)
				return
			}
			c.cut(i%2 == 0)
		})
		patient.Reset(patience)
		select {
		case <-ups:
		case <-patient.C:
			tb.Fatalf("no session came after cut %d", i)
		}
	}
}
