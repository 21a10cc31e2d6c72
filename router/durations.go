package router

import "time"

// durationBounds are the upper bounds of the buckets that durations are counted in.
var durationBounds = [...]time.Duration{ //nolint:gochecknoglobals // a constant
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 10 * time.Second, 30 * time.Second,
}

// Durations are how long things took.
type Durations struct {
	UpTo  map[time.Duration]uint64 // how many took that long at the most
	Count uint64                   // of all
	Sum   time.Duration            // of all
}

// durations counts them.
type durations struct {
	buckets [len(durationBounds) + 1]uint64 // the last one is for what took longer than all bounds
	sum     time.Duration
}

// observe counts one. Those of messages that were read together may seem to have taken less than nothing.
func (d *durations) observe(took time.Duration) {
	took = max(0, took)
	i := 0
	for i < len(durationBounds) && took > durationBounds[i] {
		i++
	}
	d.buckets[i]++
	d.sum += took
}

func (d *durations) add(o *durations) {
	for i, n := range o.buckets {
		d.buckets[i] += n
	}
	d.sum += o.sum
}

func (d *durations) snapshot() Durations {
	out := Durations{UpTo: make(map[time.Duration]uint64, len(durationBounds)), Sum: d.sum}
	for i, n := range d.buckets {
		out.Count += n
		if i < len(durationBounds) {
			out.UpTo[durationBounds[i]] = out.Count
		}
	}
	return out
}
