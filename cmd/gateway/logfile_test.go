package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// gatedWriter writes nothing before its gate is open.
type gatedWriter struct {
	bytes.Buffer

	gate chan struct{}
}

func (w *gatedWriter) Write(p []byte) (int, error) {
	<-w.gate
	return w.Buffer.Write(p)
}

func TestLogLinesAreWrittenWholeAndInOrder(t *testing.T) {
	var out bytes.Buffer
	f := newLogFile(&out)
	var loggers sync.WaitGroup
	for who := range 4 {
		loggers.Go(func() {
			for i := range 1000 {
				_, _ = fmt.Fprintf(f, "%d %d\n", who, i)
			}
		})
	}
	loggers.Wait()
	f.Close()
	var next [4]int
	for line := range strings.Lines(out.String()) {
		var who, i int
		if _, err := fmt.Sscanf(line, "%d %d", &who, &i); err != nil || i != next[who] {
			t.Fatalf("got %q, want line %d", line, next[who])
		}
		next[who]++
	}
	if next != [4]int{1000, 1000, 1000, 1000} {
		t.Errorf("got %v lines", next)
	}
}

func TestLogThatIsNotReadDropsLinesAndSaysHowMany(t *testing.T) {
	out := &gatedWriter{gate: make(chan struct{})}
	f := newLogFile(out)
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range 4 * maxLogBacklog / len(line) { // nobody waits
		_, _ = f.Write(line)
	}
	close(out.gate)
	f.Close()
	if out.Len() > 3*maxLogBacklog || !strings.Contains(out.String(), "log lines were dropped") {
		t.Errorf("%d bytes, ending in %q", out.Len(), out.String()[out.Len()-100:])
	}
}

// brokenWriter takes nothing while it is broken.
type brokenWriter struct {
	bytes.Buffer

	broken atomic.Bool
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.broken.Load() {
		return 0, syscall.ENOSPC
	}
	return w.Buffer.Write(p)
}

func TestLogThatCannotBeWrittenSaysHowManyLinesItLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(brokenWriter)
		f := newLogFile(out)
		out.broken.Store(true)
		for range 3 {
			_, _ = f.Write([]byte("a\nb\n"))
			<-time.NewTimer(2 * logInterval).C
			synctest.Wait()
		}
		out.broken.Store(false)
		_, _ = f.Write([]byte("c\n"))
		f.Close()
		if got := out.String(); !strings.HasPrefix(got, "c\n") || !strings.Contains(got, `"lines":6,`) {
			t.Errorf("got %s", got)
		}
	})
}

func TestLogThatIsNotReadDoesNotKeepTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gatedWriter{gate: make(chan struct{})}
		f := newLogFile(out)
		_, _ = f.Write([]byte("last words\n"))
		f.Close()
		close(out.gate) // lets the writer end
		<-f.done
	})
}
