package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// timeout returns the least of the deadlines that the request gives, in one of three headers or in its body's options (0:
// none).
func (a *api) timeout(r *http.Request, option time.Duration) (time.Duration, error) {
	least, given := a.cfg.MaxCallTimeout, false
	if option > 0 {
		least, given = min(least, option), true
	}
	for _, h := range [...]struct {
		name  string
		parse func(string) (time.Duration, bool)
		want  string
	}{
		{"Wamp-Timeout-Ms", milliseconds, wantMilliseconds},
		{"Connect-Timeout-Ms", milliseconds, wantMilliseconds},
		{"Grpc-Timeout", grpcTimeout, "up to 8 digits and a unit of H M S m u n, such as 5S"},
	} {
		for _, value := range r.Header[h.name] {
			d, ok := h.parse(value)
			if !ok {
				return 0, newProblem(http.StatusBadRequest, h.name+" is "+strconv.Quote(value)+"; want "+h.want)
			}
			least, given = min(least, d), true
		}
	}
	if !given {
		return min(a.cfg.CallTimeout, a.cfg.MaxCallTimeout), nil
	}
	return least, nil
}

const wantMilliseconds = "milliseconds, at least 1"

func milliseconds(s string) (time.Duration, bool) { return duration(s, time.Millisecond) }

func duration(s string, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return time.Duration(min(n, uint64(math.MaxInt64/unit))) * unit, err == nil && n > 0
}

// grpcTimeout reads gRPC's form: digits and a unit.
func grpcTimeout(s string) (time.Duration, bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	return duration(s[:len(s)-1], unit)
}
