package transport_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore/transport"
)

// held is a listener whose connections the test holds.
type held struct {
	net.Listener

	conns chan net.Conn
	done  chan struct{}
}

func hold(tb testing.TB, l net.Listener) *held {
	tb.Helper()
	h := &held{l, make(chan net.Conn, 100), make(chan struct{})}
	go func() {
		defer close(h.done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.conns <- c
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close()
		<-h.done
		close(h.conns)
		for c := range h.conns {
			_ = c.Close()
		}
	})
	return h
}

func tcp(tb testing.TB, address string) net.Listener {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func (h *held) dial(tb testing.TB) net.Conn {
	tb.Helper()
	c, err := new(net.Dialer).DialContext(tb.Context(), h.Addr().Network(), h.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// says sends something and returns the answer.
func says(tb testing.TB, c net.Conn, hello string) string {
	tb.Helper()
	if _, err := io.WriteString(c, hello); err != nil {
		tb.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		tb.Fatal(err)
	}
	return string(answer)
}

func TestOneConnectionTooManyIsToldSoInItsOwnWords(t *testing.T) {
	for name, l := range map[string]net.Listener{
		"in all":      transport.Limit(tcp(t, "127.0.0.1:0"), 2, 0),
		"per address": transport.Limit(tcp(t, "127.0.0.1:0"), 0, 2),
	} {
		t.Run(name, func(t *testing.T) {
			h := hold(t, l)
			h.dial(t)
			h.dial(t)
			first := <-h.conns
			<-h.conns
			if got := says(t, h.dial(t), "\x7f\xf1\x00\x00"); got != "\x7f\x40\x00\x00" {
				t.Errorf("RawSocket got % x", got)
			}
			answer := says(t, h.dial(t), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || err != nil || len(body) == 0 {
				t.Errorf("HTTP got %v, %q, %v", res, body, err)
			}
			_, _ = first.Close(), first.Close() // the second counts for nothing
			h.dial(t)
			<-h.conns
			if got := says(t, h.dial(t), "\x7f\xf1\x00\x00"); got != "\x7f\x40\x00\x00" {
				t.Errorf("room was made for more than one: % x", got)
			}
		})
	}
}

func TestConnectionsOfOneAddressLeaveRoomForOthers(t *testing.T) {
	h := hold(t, transport.Limit(tcp(t, "127.0.0.1:0"), 0, 1))
	h.dial(t)
	<-h.conns
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := d.DialContext(t.Context(), "tcp", h.Addr().String())
	if err != nil {
		t.Skip("127.0.0.2 is not an address of this machine:", err)
	}
	defer func() { _ = c.Close() }()
	<-h.conns
}

func TestRefusalsThatAreNotReadEndWithTheListener(t *testing.T) {
	l := transport.Limit(tcp(t, "127.0.0.1:0"), 1, 0)
	h := hold(t, l)
	for range 200 { // more than are answered at once
		h.dial(t)
	}
	<-h.conns
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	// What is left over is for goleak to find.
}

func TestUnixSocketMayHaveTheLongestPath(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "") //nolint:usetesting // that of the test is too long
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	const longest = 103 // on all systems
	path := filepath.Join(dir, strings.Repeat("s", longest-len(dir)-1))
	l, err := transport.Listen(t.Context(), "unix:"+path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	hold(t, l).dial(t)
}

func TestUnixSocketHasItsModeAndTakesThePlaceOfADeadOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := dead.(*net.UnixListener)
	u.SetUnlinkOnClose(false) // as a killed process leaves it
	_ = dead.Close()

	l, err := transport.Listen(t.Context(), "unix:"+path, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if l.Addr().String() != path || l.Addr().Network() != "unix" {
		t.Errorf("the address is %v", l.Addr())
	}
	h := hold(t, l)
	h.dial(t)
	<-h.conns
	if _, err := transport.Listen(t.Context(), "unix:"+path, 0o640); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a socket that is served was taken over: %v", err)
	}
	_ = l.Close()
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := transport.Listen(t.Context(), "unix:"+path, 0o640); err == nil {
		t.Error("a file was taken for a socket")
	}
	if _, err := transport.Listen(context.Background(), "unix:/no/such/directory/s", 0o600); err == nil {
		t.Error("there is no such directory")
	}
}

func TestUnixSocketOfABusyServerIsNotTaken(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a connection is refused alike by who is busy and by nobody")
	}
	path := filepath.Join(t.TempDir(), "s")
	busy, err := transport.Listen(t.Context(), "unix:"+path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	for range 100_000 { // nobody accepts: until the system refuses
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
		if err != nil {
			break
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	if l, err := transport.Listen(t.Context(), "unix:"+path, 0o600); err == nil {
		_ = l.Close()
		t.Error("another listener took the place of one that is served")
	}
}

// What that has left is in nobody's way. In a container that is started again, all have the process id of the one that crashed.
func TestUnixSocketAfterACrashedStart(t *testing.T) {
	dir := t.TempDir()
	left, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, fmt.Sprintf(".%d", os.Getpid())))
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = left.Close()
	l, err := transport.Listen(t.Context(), "unix:"+filepath.Join(dir, "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}
