package transport

import (
	"os"
	"sync"
	"syscall"
)

// watcher waits for the peers of all outputs, on one goroutine that lives while there are any: a goroutine for each would be half of
// what an idle one takes.
type watcher struct {
	mu      sync.Mutex
	poll    *os.File // an epoll; nil: nobody is watched
	fd      int      // of poll
	lastKey uint64
	watched map[uint64]*Output
}

var outputs watcher //nolint:gochecknoglobals // one for all

// add begins to watch an output. It returns false where that is not possible.
func (w *watcher) add(o *Output) bool {
	if o.conn.raw == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.poll == nil && !w.begin() {
		return false
	}
	w.lastKey++
	e := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | epollET, Fd: int32(w.lastKey), Pad: int32(w.lastKey >> 32)}
	added := false
	err := o.conn.raw.Control(func(fd uintptr) { added = syscall.EpollCtl(w.fd, syscall.EPOLL_CTL_ADD, int(fd), &e) == nil })
	if err != nil || !added {
		w.endIfEmpty()
		return false
	}
	o.key = w.lastKey
	w.watched[o.key] = o
	return true
}

const epollET = 1 << 31 // syscall's is negative

// begin makes the epoll. mu is held.
func (w *watcher) begin() bool {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	_ = syscall.SetNonblock(fd, true) // for the runtime to wait for it
	w.fd, w.poll, w.watched = fd, os.NewFile(uintptr(fd), "epoll"), map[uint64]*Output{}
	raw, err := w.poll.SyscallConn()
	if err != nil {
		_ = w.poll.Close()
		w.poll = nil
		return false
	}
	go w.run(raw)
	return true
}

// endIfEmpty ends the goroutine when there is nobody left to watch. mu is held.
func (w *watcher) endIfEmpty() {
	if len(w.watched) == 0 && w.poll != nil {
		_ = w.poll.Close()
		w.poll, w.watched = nil, nil
	}
}

// forget ends watching an output. It reports whether it was watched.
func (w *watcher) forget(o *Output) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watched[o.key] != o {
		return false
	}
	delete(w.watched, o.key)
	w.endIfEmpty()
	o.watching.Done()
	return true
}

func (w *watcher) find(key uint64) *Output {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watched[key]
}

// run looks at those that something came from, until the epoll is closed.
func (w *watcher) run(raw syscall.RawConn) {
	var events [64]syscall.EpollEvent
	for {
		n := 0
		if err := raw.Read(func(fd uintptr) bool {
			n, _ = syscall.EpollWait(int(fd), events[:], 0)
			return n > 0
		}); err != nil {
			return
		}
		for _, e := range events[:n] {
			key := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if o := w.find(key); o != nil {
				o.look()
			}
		}
	}
}

// look reads what has come.
func (o *Output) look() {
	var over bool
	var why error
	err := o.conn.raw.Read(func(fd uintptr) bool {
		over, why = o.dropSome(fd)
		return true
	})
	if err != nil {
		over, why = true, err
	}
	if over && outputs.forget(o) {
		o.gone(why)
	}
}
