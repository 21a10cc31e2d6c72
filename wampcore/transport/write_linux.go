package transport

import (
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
