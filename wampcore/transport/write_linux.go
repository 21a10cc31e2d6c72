package transport

import (
	"net"
	"syscall"
	"unsafe"
)

// maxRawWrite bounds how long a write keeps a processor of Go's.
const maxRawWrite = 256 << 10

// rawWrite writes without telling Go's scheduler. The socket never blocks, so there is nothing to tell; and what is told of a write that
// takes some tens of microseconds, since the kernel wakes the reader by it, is that others had better go on elsewhere: a thread is woken for
// nothing, and the runtime's monitor looks again every 20 microseconds.
func rawWrite(fd uintptr, b []byte) (n int, again bool, err error) {
	b = b[:min(len(b), maxRawWrite)]
	return retry(func() (int, error) {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) //nolint:gosec // for the kernel
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	})
}

// What of a peer's data may wait in the system, beside what is on its way to it.
const (
	tcpNotsentLowat = 25
	maxUnsent       = 128 << 10
)

// boundUnsent bounds what waits in the system for a peer that reads more slowly than is written: it would be megabytes, and minutes old when
// the peer gets it, where there is somebody above who knows what may be left out. What is no socket of TCP is left as it is.
func boundUnsent(nc net.Conn) {
	if raw := rawConn(nc); raw != nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, maxUnsent) })
	}
}
