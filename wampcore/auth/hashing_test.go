package auth

import (
	"testing"
	"time"
)

func TestPasswordsAreHashedOnlyAsManyAtATimeAsThereAreProcessors(t *testing.T) {
	for range cap(hashing) {
		hashing <- struct{}{}
	}
	done := make(chan error, 1)
	go func() {
		_, err := NewSCRAMCredential("pencil", SCRAMParams{KDF: KDFPBKDF2, Salt: []byte("salt"), Iterations: minPBKDF2Iterations})
		done <- err
	}()
	early := time.NewTimer(50 * time.Millisecond) // it may miss a fault on a slow machine, but finds none that is not there
	select {
	case <-done:
		t.Error("it was hashed out of turn")
	case <-early.C:
	}
	for range cap(hashing) {
		<-hashing
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
