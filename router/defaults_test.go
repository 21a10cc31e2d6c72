package router

import "testing"

func TestAllLimitsHaveDefaults(t *testing.T) {
	l := Limits{}.withDefaults()
	if l.Calls <= 0 || l.Subscriptions <= 0 || l.Registrations <= 0 || l.Sessions <= 0 || l.Rate <= 0 || l.Burst <= 0 {
		t.Errorf("got %+v", l)
	}
	if c := (Config{}).withDefaults(); c.QueueMessages <= 0 || c.QueueBytes <= 0 {
		t.Errorf("got %+v", c)
	}
}
