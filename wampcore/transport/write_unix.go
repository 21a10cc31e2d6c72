//go:build unix && !linux

package transport

import (
	"net"
	"syscall"
)

func rawRead(fd uintptr, b []byte) (n int, again bool, err error) {
	return retry(func() (int, error) { return syscall.Read(int(fd), b) })
}

func rawWrite(fd uintptr, b []byte) (n int, again bool, err error) {
	return retry(func() (int, error) { return syscall.Write(int(fd), b) })
}

// BoundUnsent leaves it to the system.
func BoundUnsent(net.Conn) {}
