//go:build unix

package main

import (
	"os"
	"syscall"
)

// levelSignals ask for another log level.
func levelSignals() []os.Signal { return []os.Signal{syscall.SIGUSR1} }
