package transport

import "testing"

func TestAboutOneCallOfAThousandIsTold(t *testing.T) {
	const calls = 1 << 20
	told := 0
	for range calls {
		if isToBeTold() {
			told++
		}
	}
	if told < calls/toldEvery/2 || told > calls/toldEvery*2 {
		t.Errorf("%d of %d", told, calls)
	}
}
