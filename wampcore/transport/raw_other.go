//go:build !unix

package transport

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns nil: here connections are read and written plainly.
func rawConn(net.Conn) syscall.RawConn { return nil }

func rawRead(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }

func rawWrite(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }

func rawDrop(uintptr) (int, bool, error) { return 0, false, errors.ErrUnsupported }

// BoundUnsent leaves it to the system.
func BoundUnsent(net.Conn) {}
