package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/wampgate/wampgate/wampcore"
)

// Endpoint is an Asker: an HTTP endpoint, which gets POST with {"args":[…]}, those that a procedure would be called with, and answers 200
// with what a procedure would, in JSON. 404 means that there is nobody of that name. Anything else is a failure.
type Endpoint struct {
	URL    string
	Header http.Header // of the requests; optional
	// Client sends the requests; default: http.DefaultClient. It should follow no redirects, and reach no more than it has to.
	Client interface {
		Do(r *http.Request) (*http.Response, error)
	}
}

// maxAnswer is how large an answer may be.
const maxAnswer = 64 << 10

// Ask sends a request.
func (e Endpoint) Ask(ctx context.Context, _ Via, args []any) (wampcore.Raw, error) {
	in, err := wampcore.NewPayload(wampcore.JSON, args, nil)
	if err != nil {
		return wampcore.Raw{}, err
	}
	var body bytes.Buffer
	body.WriteString(`{"args":`)
	body.Write(in.Args)
	body.WriteByte('}')
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, &body)
	if err != nil {
		return wampcore.Raw{}, errors.New("the URL of the endpoint is none") // the URL may have a secret in it
	}
	if e.Header != nil {
		r.Header = e.Header.Clone()
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	return e.do(r)
}

func (e Endpoint) do(r *http.Request) (wampcore.Raw, error) {
	do := http.DefaultClient.Do
	if e.Client != nil {
		do = e.Client.Do
	}
	res, err := do(r)
	if err != nil {
		return wampcore.Raw{}, fmt.Errorf("ask %s: %w", r.URL.Host, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return wampcore.Raw{}, fmt.Errorf("ask %s: %w", r.URL.Host, err)
	case res.StatusCode == http.StatusNotFound:
		return wampcore.Raw{}, &wampcore.Error{URI: wampcore.ErrNoSuchPrincipal, Message: "there is nobody of this name"}
	case res.StatusCode != http.StatusOK:
		return wampcore.Raw{}, fmt.Errorf("ask %s: it answers %s", r.URL.Host, res.Status)
	case len(answer) > maxAnswer:
		return wampcore.Raw{}, errGarbage
	}
	raw := wampcore.Raw{Encoding: wampcore.JSON, Bytes: bytes.TrimSpace(answer)}
	if wampcore.Scan(raw.Encoding, raw.Bytes) != nil {
		return wampcore.Raw{}, errGarbage
	}
	return raw, nil
}
