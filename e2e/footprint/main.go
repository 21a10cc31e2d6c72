// Command footprint measures what the gateway takes: its size, the time until it is ready, its memory when it is idle, and that of idle event
// streams, over HTTP/1.1 and HTTP/2, and WebSocket sessions. It needs /proc.
//
//	footprint [-n 10000] gateway
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wampgate/wampgate/wampcore/client"
	"github.com/wampgate/wampgate/wampcore/transport"
)

func main() {
	n := flag.Int("n", 10_000, "streams, and sessions")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: footprint [-n 10000] gateway")
		os.Exit(2)
	}
	if err := measure(context.Background(), flag.Arg(0), *n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, binary string, n int) error {
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	fmt.Printf("size of the program:           %6.1f MB (30 at most)\n", float64(info.Size())/1e6)
	if err := start(ctx, binary); err != nil {
		return err
	}
	for _, kind := range []struct {
		name string
		open func(ctx context.Context, address string) (io.Closer, error)
	}{{"event stream", openStream}, {"stream over h2c", openH2C}, {"WebSocket session", openSession}} {
		if err := idle(ctx, binary, n, kind.name, kind.open); err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
	}
	return nil
}

var opened atomic.Int64 //nolint:gochecknoglobals // streams of this program

// gateway is one that runs.
type gateway struct {
	cmd     *exec.Cmd
	address string
	took    time.Duration // until it was ready
}

// run starts a gateway and waits until it is ready.
func run(ctx context.Context, binary string) (*gateway, error) {
	dir, err := os.MkdirTemp("", "footprint")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ops := filepath.Join(dir, "ops")
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = []string{"WAMPGATE_LISTEN=127.0.0.1:0", "WAMPGATE_OPS_ADDR=unix:" + ops, "WAMPGATE_MAX_CONNECTIONS=100000", "WAMPGATE_H2C=true"}
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g := &gateway{cmd: cmd}
	lines := bufio.NewScanner(out)
	for g.address == "" && lines.Scan() {
		var line struct{ HTTP, Message string }
		if err := json.Unmarshal(lines.Bytes(), &line); err == nil && line.Message == "listening" {
			g.address = strings.TrimPrefix(line.HTTP, "http://")
		}
	}
	go func() { // until it ends
		for lines.Scan() {
		}
	}()
	if g.address == "" {
		return nil, errors.New("the gateway does not start")
	}
	probe := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", ops)
		},
	}}
	for time.Since(begun) < time.Minute {
		res, err := get(ctx, probe, "http://localhost/readyz")
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			g.took = time.Since(begun)
			return g, nil
		}
	}
	return nil, errors.New("the gateway is not ready within a minute")
}

func (g *gateway) end() {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	_ = g.cmd.Wait()
}

// resident is what memory the gateway has, in bytes.
func (g *gateway) resident() (int, error) { return g.status("VmRSS:") }

// status returns what the kernel says of the gateway's memory, in bytes.
func (g *gateway) status(what string) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), what)
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	return kb << 10, err
}

// settled is the least memory of some seconds: what a burst leaves is given back slowly.
func (g *gateway) settled(seconds int) (int, error) {
	least := 0
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range seconds {
		<-tick.C
		now, err := g.resident()
		if err != nil {
			return 0, err
		}
		if least == 0 || now < least {
			least = now
		}
	}
	return least, nil
}

// start tells how long starts take, and what memory there is then.
func start(ctx context.Context, binary string) error {
	const times = 20
	var took []time.Duration
	var memory []int
	var anonymous int
	for range times {
		g, err := run(ctx, binary)
		if err != nil {
			return err
		}
		took = append(took, g.took)
		rss, err := g.settled(1)
		if err != nil {
			return err
		}
		memory = append(memory, rss)
		if anonymous, err = g.status("RssAnon:"); err != nil {
			return err
		}
		g.end()
	}
	slices.Sort(took)
	slices.Sort(memory)
	fmt.Printf("from exec to ready, median:    %6.1f ms (100 at most), the slowest of %d %.1f\n",
		took[times/2].Seconds()*1e3, times, took[times-1].Seconds()*1e3)
	fmt.Printf("resident after start, median:  %6.1f MB (20 at most), the most %.1f; not of files %.1f\n",
		float64(memory[times/2])/1e6, float64(memory[times-1])/1e6, float64(anonymous)/1e6)
	return nil
}

// idle tells what n idle peers take.
func idle(ctx context.Context, binary string, n int, name string, open func(context.Context, string) (io.Closer, error)) error {
	g, err := run(ctx, binary)
	if err != nil {
		return err
	}
	defer g.end()
	before, err := g.settled(2)
	if err != nil {
		return err
	}
	peers := make([]io.Closer, n)
	errs := make(chan error, n)
	var opening sync.WaitGroup
	const workers = 16
	for w := range workers {
		opening.Go(func() {
			for i := w; i < n; i += workers {
				ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
				var err error
				peers[i], err = open(ctx, g.address)
				cancel()
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	opening.Wait()
	defer func() {
		for _, p := range peers {
			if p != nil {
				_ = p.Close()
			}
		}
	}()
	select {
	case err := <-errs:
		return err
	default:
	}
	after, err := g.settled(20)
	if err != nil {
		return err
	}
	fmt.Printf("an idle %-21s %6.1f KiB, of %d\n", name+":", float64(after-before)/float64(n)/1024, n)
	return nil
}

// openStream opens an event stream, and reads its beginning. Streams are bounded by address: each comes from one of many of this machine's.
func openStream(ctx context.Context, address string) (io.Closer, error) {
	c, err := (&net.Dialer{LocalAddr: from(int(opened.Add(1)))}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprintf(c, "GET /v1/subscribe/com.example.idle HTTP/1.1\r\nHost: %s\r\n\r\n", address); err != nil {
		return c, err
	}
	return c, ready(c)
}

// ready reads the beginning of a stream.
func ready(r io.Reader) error {
	var seen []byte
	b := make([]byte, 1024)
	for !strings.Contains(string(seen), "wamp.ready") {
		n, err := r.Read(b)
		if seen = append(seen, b[:n]...); err != nil {
			return fmt.Errorf("%w behind %q", err, seen)
		}
	}
	return nil
}

func get(ctx context.Context, c *http.Client, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return c.Do(req)
}

// from is an address of this machine's.
func from(i int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%100))} }

// sharing are the connections of HTTP/2 that streams share.
var sharing = func() (all [100]*http.Client) { //nolint:gochecknoglobals // a constant
	for i := range all {
		tr := &http.Transport{Protocols: new(http.Protocols), DialContext: (&net.Dialer{LocalAddr: from(i)}).DialContext}
		tr.Protocols.SetUnencryptedHTTP2(true)
		all[i] = &http.Client{Transport: tr}
	}
	return all
}()

// openH2C opens an event stream over HTTP/2. It goes on when the context of its opening has ended.
func openH2C(ctx context.Context, address string) (io.Closer, error) {
	shared := sharing[int(opened.Add(1))%len(sharing)]
	res, err := get(context.WithoutCancel(ctx), shared, "http://"+address+"/v1/subscribe/com.example.idle")
	if err != nil {
		return nil, err
	}
	return res.Body, ready(res.Body)
}

type closer struct{ *client.Session }

// Close cuts the session.
func (c closer) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return c.Session.Close(ctx)
}

// openSession opens a WebSocket session.
func openSession(ctx context.Context, address string) (io.Closer, error) {
	t, err := transport.Dial(ctx, "ws://"+address+"/ws", transport.Config{PingInterval: -1})
	if err != nil {
		return nil, err
	}
	s, err := client.Join(ctx, t, client.Config{Realm: "realm1"})
	if err != nil {
		return nil, err
	}
	return closer{s}, nil
}
