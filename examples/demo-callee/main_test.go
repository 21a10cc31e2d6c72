package main

import (
	"testing"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

func TestSumOfIntegersIsAnInteger(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{`[2,3]`, `[5]`},
		{`[9007199254740993,0]`, `[9007199254740993]`},
		{`[0.5,0.25]`, `[0.75]`},
		{`[1.5,2]`, `[3.5]`},
	} {
		inv := &client.Invocation{Invocation: wampcore.Invocation{Payload: wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(c.args)}}}
		got, err := add(t.Context(), inv)
		if err != nil || string(got.Args) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.args, got.Args, err, c.want)
		}
	}
	inv := &client.Invocation{Invocation: wampcore.Invocation{Payload: wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(`["x",1]`)}}}
	if _, err := add(t.Context(), inv); err == nil {
		t.Error(`"x" is taken for a number`)
	}
}
