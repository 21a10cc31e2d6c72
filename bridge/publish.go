package bridge

import (
	"context"
	"fmt"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// Publish publishes and returns the publication's id, 0 where it is not acknowledged.
func (b *Bridge) Publish(ctx context.Context, p Principal, topic wampcore.URI, req PublishRequest) (wampcore.ID, error) {
	ctx, trace, done := b.observe(ctx, Operation{Publishing, topic})
	req.Options.Custom = trace.in(req.Options.Custom)
	s, err := b.session(ctx, p)
	if err != nil {
		return 0, done(err)
	}
	id, err := s.Publish(ctx, topic, req.Payload, req.Options)
	return id, done(err)
}

// RefusedError says which publication of a batch the router would refuse. Nothing was published.
type RefusedError struct {
	Index int
	Topic wampcore.URI
	Err   error
}

// Error returns which and why.
func (e *RefusedError) Error() string { return e.Where() + e.Err.Error() }

// Where returns which, to be followed by why.
func (e *RefusedError) Where() string {
	return fmt.Sprintf("nothing was published: element %d, %s: ", e.Index, e.Topic)
}

// Unwrap returns why.
func (e *RefusedError) Unwrap() error { return e.Err }

// PublishEach publishes all in their order. There is an answer for each of them, or an error if the router would refuse one of
// them: then nothing is published. A router without black and white lists is not asked before: its refusals are among the answers.
func (b *Bridge) PublishEach(ctx context.Context, p Principal, items []PublishItem) ([]client.Published, error) {
	s, err := b.session(ctx, p)
	if err != nil {
		return nil, err
	}
	roles := s.Welcome().Details.Roles
	if roles.Supports(wampcore.RoleBroker, wampcore.SubscriberBlackwhiteListing) {
		if err := mayPublish(ctx, s, items); err != nil {
			return nil, err
		}
	}
	all := make([]client.Publication, len(items))
	done := make([]func(error) error, len(items))
	for i, item := range items {
		var trace Trace
		_, trace, done[i] = b.observe(ctx, Operation{Publishing, item.Topic})
		item.Options.Custom = trace.in(item.Options.Custom)
		all[i] = client.Publication{Topic: item.Topic, Payload: item.Payload, Options: item.Options}
	}
	answers := s.PublishEach(ctx, all)
	for i, answer := range answers {
		_ = done[i](answer.Err)
	}
	return answers, nil
}

// mayPublish asks the router whether it would take publications, by one that is for nobody: the only session that is eligible
// is the one that is excluded. Those that do not differ to who decides are asked for once.
func mayPublish(ctx context.Context, s *client.Session, items []PublishItem) error {
	type question struct {
		topic                 wampcore.URI
		disclose, include     bool
		scheme, cipher, keyID string
	}
	asked := map[question]struct{}{}
	var questions []client.Publication
	var of []int // whose
	self := []wampcore.ID{s.ID()}
	for i, item := range items {
		o := &item.Options
		q := question{item.Topic, o.DiscloseMe, o.IncludeMe, o.Passthru.Scheme, o.Passthru.Cipher, o.Passthru.KeyID}
		if _, done := asked[q]; done {
			continue
		}
		asked[q] = struct{}{}
		of = append(of, i)
		questions = append(questions, client.Publication{Topic: item.Topic, Options: wampcore.PublishOptions{
			Acknowledge: true, DiscloseMe: o.DiscloseMe, IncludeMe: o.IncludeMe, Passthru: o.Passthru, Eligible: self, Exclude: self,
		}})
	}
	for i, answer := range s.PublishEach(ctx, questions) {
		if answer.Err != nil {
			return &RefusedError{of[i], items[of[i]].Topic, answer.Err}
		}
	}
	return nil
}
