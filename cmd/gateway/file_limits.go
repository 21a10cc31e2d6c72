package main

import "github.com/wampgate/wampgate/router"

// limitsSection is what is allowed of things that cost something. What is not said has the router's default.
type limitsSection struct {
	MessageBytes  size    `json:"message_bytes"`
	Calls         count   `json:"calls"`
	Subscriptions count   `json:"subscriptions"`
	Registrations count   `json:"registrations"`
	Sessions      count   `json:"sessions"`
	QueueMessages count   `json:"queue_messages"`
	QueueBytes    size    `json:"queue_bytes"`
	Rate          float64 `json:"rate"`
	Burst         count   `json:"burst"`
}

func (l *limitsSection) limits() router.Limits {
	if l == nil {
		return router.Limits{}
	}
	return router.Limits{
		MessageBytes: int(l.MessageBytes), Calls: int(l.Calls), Subscriptions: int(l.Subscriptions), Registrations: int(l.Registrations),
		Sessions: int(l.Sessions), QueueMessages: int(l.QueueMessages), QueueBytes: int(l.QueueBytes), Rate: l.Rate, Burst: int(l.Burst),
	}
}
