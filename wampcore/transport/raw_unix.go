//go:build unix

package transport

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns what reads and writes the socket directly, nil for a connection that is none.
func rawConn(nc net.Conn) syscall.RawConn {
	if !isSocket(nc) {
		return nil
	}
	raw, err := syscallConn(nc)
	if err != nil {
		return nil
	}
	return raw
}

// isSocket reports whether to read and write nc is to read and write its socket. A type that others have made may do more, though it has
// SyscallConn: it does if a *net.TCPConn is embedded.
func isSocket(nc net.Conn) bool {
	switch c := nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *counted:
		return isSocket(c.Conn)
	case *sniffed:
		return isSocket(c.Conn)
	default:
		return false
	}
}

// rawDrop reads what nobody wants.
func rawDrop(fd uintptr) (n int, again bool, err error) {
	var b [64]byte
	for {
		n, err = syscall.Read(int(fd), b[:])
		if !errors.Is(err, syscall.EINTR) {
			again = errors.Is(err, syscall.EAGAIN)
			return n, again, err
		}
	}
}

func retry(call func() (int, error)) (int, bool, error) {
	for {
		n, err := call()
		switch {
		case err == nil:
			return n, false, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, true, nil
		default:
			return 0, false, err
		}
	}
}
