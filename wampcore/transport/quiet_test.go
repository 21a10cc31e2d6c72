package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// quietPair returns a connection that is read and written quietly, and its peer.
func quietPair(t *testing.T) (*quietConn, net.Conn) {
	t.Helper()
	was := quiet.Swap(true)
	t.Cleanup(func() { quiet.Store(was) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	q := newQuietConn(c)
	return &q, peer
}

func TestQuietConnectionCarriesEverythingBothWays(t *testing.T) {
	c, peer := quietPair(t)
	sent := make([]byte, 8<<20) // more than the system takes at once
	for i := range sent {
		sent[i] = byte(i * i >> 8)
	}
	go func() { // the peer sends back what comes
		_, _ = io.Copy(peer, peer)
		_ = peer.Close()
	}()
	wrote := make(chan error, 1)
	go func() {
		n, err := c.Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		_ = closeWrite(c.Conn)
		wrote <- err
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back, %v", len(got), len(sent), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

func TestQuietConnectionHeedsDeadlines(t *testing.T) {
	c, _ := quietPair(t)
	for name, do := range map[string]func() error{
		"read":  func() error { _, err := c.Read(make([]byte, 1)); return err },
		"write": func() error { _, err := c.Write(make([]byte, 64<<20)); return err },
	} {
		_ = c.SetDeadline(time.Now().Add(20 * time.Millisecond))
		err := do()
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestQuietConnectionTellsHowMuchWasWrittenBeforeItFailed(t *testing.T) {
	c, _ := quietPair(t)
	much := make([]byte, 64<<20)
	_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Write(much); n == 0 || n == len(much) || err == nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestQuietConnectionFailsWhenItIsClosed(t *testing.T) {
	c, peer := quietPair(t)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		failed <- err
	}()
	_ = c.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the open read: %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write: %v", err)
	}
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("the peer is not told")
	}
}

func TestQuietConnectionOfNoSocketIsReadPlainly(t *testing.T) {
	was := quiet.Swap(true)
	defer quiet.Store(was)
	a, b := net.Pipe()
	defer func() { _ = a.Close() }()
	c := newQuietConn(b)
	go func() { _, _ = a.Write([]byte("x")) }()
	if n, err := c.Read(make([]byte, 4)); n != 1 || err != nil || c.raw != nil {
		t.Errorf("got %d, %v, %v", n, err, c.raw)
	}
}

// turned is a program's own connection over a socket, which it does not hide: each octet is another one there.
type turned struct{ *net.TCPConn }

const turn = 0x55

func (c turned) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	for i := range b[:n] {
		b[i] ^= turn
	}
	return n, err
}

func (c turned) Write(b []byte) (int, error) {
	b = bytes.Clone(b)
	for i := range b {
		b[i] ^= turn
	}
	return c.TCPConn.Write(b)
}

type turnedListener struct{ net.Listener }

func (l turnedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return turned{c.(*net.TCPConn)}, nil
}

func TestConnectionOfTheProgramsOwnIsReadAndWrittenByItsMethods(t *testing.T) {
	was := quiet.Swap(true)
	t.Cleanup(func() { quiet.Store(was) })
	for name, bound := range map[string]func(net.Listener) net.Listener{
		"as it is": func(l net.Listener) net.Listener { return l },
		"bounded":  func(l net.Listener) net.Listener { return Limit(l, 0, 0) },
		"shared":   func(l net.Listener) net.Listener { web, raw := Split(Limit(l, 0, 0)); serveNothing(t, web); return raw },
	} {
		t.Run(name, func(t *testing.T) {
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := bound(turnedListener{tcp})
			t.Cleanup(func() { _ = l.Close() })
			peer, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = peer.Close() })
			_ = peer.SetDeadline(time.Now().Add(20 * time.Second))
			out := turned{peer.(*net.TCPConn)}
			if _, err := out.Write([]byte("\x7f\xf1\x00\x00")); err != nil {
				t.Fatal(err)
			}
			c := nextRaw(t, l)
			if _, err := io.ReadFull(out, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			text := jsonOf(100)
			frame := append(appendRawHeader(nil, rawMessage, len(text)), text...)
			if _, err := out.Write(frame); err != nil {
				t.Fatal(err)
			}
			m, err := c.Receive()
			if err != nil {
				t.Fatalf("reading: %v", err)
			}
			send(t, c, m)
			got := make([]byte, len(frame))
			if _, err := io.ReadFull(out, got); err != nil || !bytes.Equal(got, frame) {
				t.Errorf("writing: %q, %v; want %q", got, err, frame)
			}
		})
	}
}

func nextRaw(t *testing.T, l net.Listener) *Conn {
	t.Helper()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := AcceptRaw(nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(0) })
	return c
}

// serveNothing reads what comes, as an http.Server would.
func serveNothing(t *testing.T, l net.Listener) {
	t.Helper()
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { _, _ = io.Copy(io.Discard, c) })
		}
	})
	t.Cleanup(work.Wait)
}
