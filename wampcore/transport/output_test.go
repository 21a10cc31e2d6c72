package transport_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/wampgate/wampgate/wampcore/transport"
)

// take returns an output, and the peer's end of it.
func take(t *testing.T) (*transport.Output, net.Conn) {
	t.Helper()
	taken := make(chan *transport.Output, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		o := new(transport.Output)
		err := o.Hijack(w, 10*time.Second)
		if err != nil {
			t.Error(err)
		}
		taken <- o
	}))
	t.Cleanup(srv.Close)
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	o := <-taken
	t.Cleanup(o.Cut)
	return o, c
}

func TestOutputTellsThatItsPeerIsGone(t *testing.T) {
	for name, leave := range map[string]struct {
		do  func(c net.Conn) error
		why error // nil: any
	}{
		"it closes":    {net.Conn.Close, nil},
		"it ends":      {func(c net.Conn) error { return c.(*net.TCPConn).CloseWrite() }, io.EOF},
		"it talks":     {func(c net.Conn) error { _, _ = c.Write(make([]byte, 1<<20)); return nil }, nil},
		"it is cut":    {func(c net.Conn) error { _ = c.(*net.TCPConn).SetLinger(0); return c.Close() }, nil},
		"talks, stops": {func(c net.Conn) error { _, _ = c.Write([]byte("a")); return c.(*net.TCPConn).CloseWrite() }, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			o, c := take(t)
			gone := make(chan error, 1)
			o.Watch(func(err error) { gone <- err })
			if err := leave.do(c); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-gone:
				if err == nil || leave.why != nil && !errors.Is(err, leave.why) {
					t.Errorf("gone: %v", err)
				}
			case <-time.After(10 * time.Second): //nolint:forbidigo // the bound of a test
				t.Fatal("it is not told")
			}
		})
	}
}

func TestManyOutputsAreWatched(t *testing.T) {
	const n = 200
	gone := make(chan int, n)
	peers := make([]net.Conn, n)
	for i := range n {
		var o *transport.Output
		o, peers[i] = take(t)
		o.Watch(func(error) { gone <- i })
	}
	for i := n - 1; i >= 0; i-- {
		_ = peers[i].Close()
		select {
		case got := <-gone:
			if got != i {
				t.Fatalf("%d has gone, but %d is told", i, got)
			}
		case <-time.After(10 * time.Second): //nolint:forbidigo // the bound of a test
			t.Fatalf("it is not told that %d is gone", i)
		}
	}
}

func TestSlowPeerDoesNotHaveMuchWaitInTheSystem(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no bound here")
	}
	o, c := take(t)
	const frame, most = 16 << 10, 1 << 20 // some hundreds of KiB are on their way to it
	taken := 0
	for sent := true; sent && taken < 16<<20; taken += frame {
		var err error
		if sent, err = o.Send([][]byte{make([]byte, frame)}); err != nil {
			t.Fatal(err)
		}
	}
	if taken > most {
		t.Errorf("a socket whose peer does not read took %d bytes, want at most %d", taken, most)
	}
	flushed := make(chan error, 1)
	go func() { flushed <- o.Flush() }()
	if _, err := io.CopyN(io.Discard, c, int64(taken)); err != nil {
		t.Error(err)
	}
	if err := <-flushed; err != nil {
		t.Error(err)
	}
}

func TestFinishWaitsUntilThePeerHasRead(t *testing.T) {
	o, c := take(t)
	o.Watch(func(error) {})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		o.Finish([]byte("bye"), time.Minute)
	}()
	all, err := io.ReadAll(c)
	if err != nil || string(all) != "bye" {
		t.Fatalf("read %q, %v", all, err)
	}
	select {
	case <-finished:
		t.Fatal("it did not wait for the peer to close")
	default:
	}
	_ = c.Close()
	<-finished
}
