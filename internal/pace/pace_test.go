package pace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWorkIsSpreadOverTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tenths [10]int
		begun := time.Now()
		if err := Over(t.Context(), 10*time.Second, 1000, func(int) { tenths[min(9, time.Since(begun)/time.Second)]++ }); err != nil {
			t.Error(err)
		}
		for i, n := range tenths {
			if n < 40 || n > 200 {
				t.Errorf("%d of 1000 in tenth %d", n, i+1)
			}
		}
	})
}

func TestNoWindowIsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, n := time.Now(), 0
		if err := Over(t.Context(), 0, 3, func(i int) { n += i }); err != nil || n != 3 || time.Since(begun) != 0 {
			t.Errorf("got %d, %v after %s", n, err, time.Since(begun))
		}
	})
}

func TestTheEndOfTheContextEndsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		if err := Over(ctx, time.Hour, 100, func(int) { n++ }); err == nil || n == 100 {
			t.Errorf("got %d, %v", n, err)
		}
	})
}
