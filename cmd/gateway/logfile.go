package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxLogBacklog is how many bytes of log may wait to be written. Beyond, lines are dropped, and counted.
const maxLogBacklog = 1 << 20

// logInterval is the least time between two writes: what is logged meanwhile goes out together.
const logInterval = 10 * time.Millisecond

// logFile writes lines in batches: a system call a line would be a quarter of what it costs to open a session. Who logs
// never waits for the reader of the log.
type logFile struct {
	out     io.Writer
	wake    chan struct{} // of size 1
	closing chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	waiting []byte
	dropped int
}

func newLogFile(out io.Writer) *logFile {
	f := &logFile{out: out, wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	go f.write() // until Close
	return f
}

// Write takes one line.
func (f *logFile) Write(line []byte) (int, error) {
	f.mu.Lock()
	if len(f.waiting)+len(line) > maxLogBacklog {
		f.dropped++
	} else {
		f.waiting = append(f.waiting, line...)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

func (f *logFile) write() {
	defer close(f.done)
	pause := time.NewTimer(0)
	defer pause.Stop()
	var batch []byte
	for {
		select {
		case <-f.wake:
		case <-f.closing:
			f.put(batch)
			return
		}
		select {
		case <-pause.C:
		case <-f.closing:
		}
		batch = f.put(batch)
		pause.Reset(logInterval)
	}
}

// put writes what waits. What is not taken, by a full disk or a pipe that nobody reads any more, is dropped, too. The memory of spare, which it
// returns other memory for, is for what comes.
func (f *logFile) put(spare []byte) []byte {
	f.mu.Lock()
	batch, dropped := f.waiting, f.dropped
	f.waiting = spare[:0]
	f.mu.Unlock()
	lines := len(batch)
	if dropped > 0 {
		batch = fmt.Appendf(batch, `{"level":"warn","lines":%d,"message":"log lines were dropped"}`+"\n", dropped)
	}
	n, err := f.out.Write(batch)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.dropped += bytes.Count(batch[min(n, lines):lines], []byte("\n"))
		return batch
	}
	f.dropped -= dropped
	return batch
}

// logGrace is how long the reader of the log may take for the last lines.
const logGrace = time.Second

// Close writes what waits, for as long as logGrace: a log that nobody reads does not keep the program. Nothing may be
// logged after it.
func (f *logFile) Close() {
	close(f.closing)
	grace := time.NewTimer(logGrace)
	defer grace.Stop()
	select {
	case <-f.done:
	case <-grace.C:
	}
}
