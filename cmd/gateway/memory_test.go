package main

import "testing"

func TestMemoryIsGivenBackWhenTheProgramRestsAndItIsWorthIt(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		was, now       usage
		rests, isWorth bool
	}{
		{usage{allocated: 100 * mib}, usage{allocated: 100 * mib, live: 10 * mib, objects: 10 * mib, free: 20 * mib}, true, true},
		{usage{allocated: 100 * mib}, usage{allocated: 150 * mib, live: 10 * mib, objects: 40 * mib}, false, true},                // it works
		{usage{allocated: 100 * mib}, usage{allocated: 100 * mib, live: 10 * mib, objects: 11 * mib, free: mib}, true, false},     // there is little
		{usage{allocated: 100 * mib}, usage{allocated: 103 * mib, live: 64 * mib, objects: 64 * mib, free: 5 * mib}, true, false}, // beside what is in use
	} {
		if got := c.now.restsSince(c.was); got != c.rests {
			t.Errorf("%+v since %+v: rests is %t", c.now, c.was, got)
		}
		if got := c.now.isWorth(); got != c.isWorth {
			t.Errorf("%+v: it is worth it: %t", c.now, got)
		}
	}
}
