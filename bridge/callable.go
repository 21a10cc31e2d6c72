package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wampgate/wampgate/wampcore"
)

// Callable is a procedure that a principal may call.
type Callable struct {
	URI        wampcore.URI
	Match      string          // exact, prefix or wildcard
	Definition json.RawMessage // what was defined of it, null if nothing was
}

// Callable returns the registered procedures that a principal may call, in the order of their URIs, and whether there are more. It asks
// on a session of its own: where an authorizer decides, that may take a while.
func (b *Bridge) Callable(ctx context.Context, p Principal) (all []Callable, more bool, err error) {
	s, err := b.own(ctx, p)
	if err != nil {
		return nil, false, err
	}
	res, err := s.Call(ctx, "wamp.reflection.procedure.list_callable", wampcore.Payload{}, wampcore.CallOptions{})
	if err := errors.Join(err, s.Close(ctx)); err != nil {
		return nil, false, err
	}
	var said struct {
		More bool `json:"more"`
	}
	res = res.Transcode(wampcore.JSON)
	if len(res.Kwargs) > 0 {
		err = json.Unmarshal(res.Kwargs, &said)
	}
	var list []struct {
		URI        wampcore.URI    `json:"uri"`
		Match      string          `json:"match"`
		Definition json.RawMessage `json:"definition"`
	}
	if err := errors.Join(err, json.Unmarshal(FirstArg(res), &list)); err != nil {
		return nil, false, fmt.Errorf("result of wamp.reflection.procedure.list_callable: %w", err)
	}
	for _, one := range list {
		all = append(all, Callable(one))
	}
	return all, said.More, nil
}
