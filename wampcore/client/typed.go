package client

import (
	"context"
	"fmt"

	"github.com/wampgate/wampgate/wampcore"
)

// Caller is what calls procedures: a Session, or a Redialer.
type Caller interface {
	Call(ctx context.Context, procedure wampcore.URI, p wampcore.Payload, opts wampcore.CallOptions) (wampcore.Payload, error)
}

// Call calls a procedure with these arguments and returns the first value of its result; a result without values is T's
// zero. Structs are encoded and decoded by their codec or json tags.
func Call[T any](ctx context.Context, c Caller, procedure wampcore.URI, args ...any) (T, error) {
	var result T
	in, err := wampcore.NewPayload(wampcore.MessagePack, args, nil)
	if err != nil {
		return result, fmt.Errorf("call %s: its arguments: %w", procedure, err)
	}
	out, err := c.Call(ctx, procedure, in, wampcore.CallOptions{})
	if err != nil {
		return result, fmt.Errorf("call %s: %w", procedure, err)
	}
	if err := out.DecodeArgs(&result); err != nil {
		return result, fmt.Errorf("call %s: its result: %w", procedure, err)
	}
	return result, nil
}

// Procedure makes a handler of a function of one value: the first argument of the call, or its keyword arguments where it
// has no others. A call whose argument is no A is answered with wamp.error.invalid_argument.
func Procedure[A, R any](f func(context.Context, A) (R, error)) InvocationHandler {
	return func(ctx context.Context, inv *Invocation) (wampcore.Payload, error) {
		var in A
		var err error
		if len(inv.Payload.Args) == 0 {
			err = inv.Payload.DecodeKwargs(&in)
		} else {
			err = inv.Payload.DecodeArgs(&in)
		}
		if err != nil {
			return wampcore.Payload{}, &wampcore.Error{
				URI: wampcore.ErrInvalidArgument, Message: fmt.Sprintf("the argument has to be a %T: %v", in, err),
			}
		}
		out, err := f(ctx, in)
		if err != nil {
			return wampcore.Payload{}, err
		}
		return wampcore.NewPayload(inv.Payload.Encoding, []any{out}, nil)
	}
}
