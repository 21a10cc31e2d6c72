//go:build unix && !linux

package transport

import "syscall"

func rawWrite(fd uintptr, b []byte) (n int, again bool, err error) {
	return retry(func() (int, error) { return syscall.Write(int(fd), b) })
}
