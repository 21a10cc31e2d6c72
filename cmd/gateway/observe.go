package main

import (
	"context"
	"time"

	"github.com/wampgate/wampgate/bridge"
)

// operations is the bridge's observer.
type operations struct {
	metrics *metrics
}

// Begin is told of an operation.
func (o operations) Begin(ctx context.Context, _ bridge.Operation, _ bridge.Trace) (context.Context, bridge.Trace) {
	return ctx, bridge.Trace{}
}

// End is told of its end.
func (o operations) End(_ context.Context, op bridge.Operation, took time.Duration, err error) {
	o.metrics.operationEnded(op, took, err)
}
