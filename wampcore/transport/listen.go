package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const unixPrefix = "unix:"

// Listen listens on an address: host:port, where port 0 takes a free one, or unix:/path of a socket whose file gets this
// mode. What is left of a socket that nobody serves any more is replaced.
func Listen(ctx context.Context, address string, mode fs.FileMode) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, unixPrefix)
	if !ok {
		return new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	if isServed(ctx, path) {
		return nil, fmt.Errorf("listen %s: the socket is served by another process", address)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("listen %s: there is a file that is no socket", address)
	}
	// The socket comes to its place when it has its mode: nobody can connect before.
	// Its other name is short: the paths of sockets are.
	hidden := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%x", rand.Uint32()))
	l, err := new(net.ListenConfig).Listen(ctx, "unix", hidden)
	if err != nil {
		return nil, err
	}
	u, _ := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(hidden, mode), os.Rename(hidden, path)); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(hidden))
	}
	return &unixListener{UnixListener: u, address: net.UnixAddr{Name: path, Net: "unix"}}, nil
}

// isServed reports whether somebody listens on a socket.
func isServed(ctx context.Context, path string) bool {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
	}
	return err == nil || errors.Is(err, syscall.EAGAIN) // who does not get round to accepting
}

// unixListener is one that was moved to its place.
type unixListener struct {
	*net.UnixListener

	address net.UnixAddr
	once    sync.Once
}

// Addr returns where the socket is.
func (l *unixListener) Addr() net.Addr { return &l.address }

// Close stops listening and removes the socket's file.
func (l *unixListener) Close() error {
	var err error
	l.once.Do(func() { err = os.Remove(l.address.Name) })
	return errors.Join(l.UnixListener.Close(), err)
}
