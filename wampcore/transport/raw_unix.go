//go:build unix

package transport

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns what reads and writes the socket directly, nil for a connection that is none.
func rawConn(nc net.Conn) syscall.RawConn {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
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
