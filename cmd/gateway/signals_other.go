//go:build !unix

package main

import "os"

// levelSignals ask for another log level: there are none.
func levelSignals() []os.Signal { return nil }
