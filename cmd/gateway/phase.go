package main

import "sync/atomic"

// phase is where in its life the gateway is. It goes on from one to the next, and never back.
type phase int32

const (
	starting phase = iota
	serving
	draining // nothing new from outside; what the own machine asks for is done
	stopping
)

// String returns the phase's name.
func (p phase) String() string { return [...]string{"starting", "serving", "draining", "stopping"}[p] }

// life is a phase that many look at.
type life struct{ at atomic.Int32 }

func (l *life) phase() phase { return phase(l.at.Load()) }

// advance goes on to p, if that is an advance.
func (l *life) advance(p phase) {
	for at := l.at.Load(); at < int32(p) && !l.at.CompareAndSwap(at, int32(p)); at = l.at.Load() {
	}
}
