package transport

import (
	"math/rand/v2"
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
	if isToBeTold() {
		return retry(func() (int, error) { return syscall.Write(int(fd), b) })
	}
	return rawCall(syscall.SYS_WRITE, fd, b)
}

// rawRead reads, as quietly as ReadQuietly wants it. Much is announced by much room for it: it may take long to work on.
func rawRead(fd uintptr, b []byte) (n int, again bool, err error) {
	if !quiet.Load() || len(b) > readSize || isToBeTold() {
		return retry(func() (int, error) { return syscall.Read(int(fd), b) })
	}
	return rawCall(syscall.SYS_READ, fd, b)
}

// toldEvery is of how many calls one is told to the scheduler, about: its monitor is awake when the program has been busy for some milliseconds.
const toldEvery = 1024

func isToBeTold() bool { return rand.Uint32()%toldEvery == 0 }

func rawCall(trap, fd uintptr, b []byte) (int, bool, error) {
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) //nolint:gosec // for the kernel
		switch errno {
		case 0:
			return int(n), false, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, errno
		}
	}
}

// What of a peer's data may wait in the system, beside what is on its way to it.
const (
	tcpNotsentLowat = 25
	maxUnsent       = 128 << 10
)

// BoundUnsent bounds what waits in the system for a peer that reads more slowly than is written: it would be megabytes, and minutes old when
// the peer gets it, where there is somebody above who knows what may be left out. What is no socket of TCP is left as it is.
func BoundUnsent(nc net.Conn) {
	if raw, err := syscallConn(nc); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, maxUnsent) })
	}
}
