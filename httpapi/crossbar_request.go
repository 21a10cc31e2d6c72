package httpapi

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Crossbar and GitHub's old header have
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wampgate/wampgate/wampcore"
)

// crossbarRequest is a request to a crossbar.
type crossbarRequest struct {
	c     *crossbar
	w     http.ResponseWriter
	r     *http.Request
	query url.Values
	body  []byte
	when  time.Time // what its timestamp says
}

// check makes the checks in Crossbar's order, of which clients see the first that fails.
func (req *crossbarRequest) check() *denial {
	for _, step := range []func() *denial{
		req.contentType, req.read, req.gitHub, req.fields, req.signature, req.peer, req.text,
	} {
		if d := step(); d != nil {
			return d
		}
	}
	return nil
}

func (req *crossbarRequest) contentType() *denial {
	values := req.r.Header.Values("Content-Type")
	if len(values) == 0 {
		return nil
	}
	parts := strings.Split(values[0], ";")
	for i := range parts {
		parts[i] = strings.ToLower(strings.TrimSpace(parts[i]))
	}
	if req.c.Kind != CrossbarWebhook && parts[0] != "application/json" {
		return &denial{400, "Non-accepted content type. (must be one of '[b'application/json']', not '" + pythonBytes(parts[0]) + "')"}
	}
	parameters := map[string]string{"charset": "utf-8"}
	seen := map[string]bool{}
	for _, part := range parts {
		name, value, ok := strings.Cut(part, "=")
		if !ok || len(parts) == 1 {
			continue
		}
		if name = strings.TrimSpace(name); seen[name] || strings.Contains(value, "=") {
			return &denial{400, "Non-accepted request encoding, must be UTF-8."}
		}
		seen[name], parameters[name] = true, strings.TrimSpace(value)
	}
	if charset := parameters["charset"]; charset != "utf-8" && charset != "utf8" {
		return &denial{400, "Non-accepted request encoding, must be UTF-8."}
	}
	return nil
}

// read reads the body. net/http itself answers a request with two different Content-Length headers.
func (req *crossbarRequest) read() *denial {
	limit := req.c.BodyLimit
	if n := req.r.ContentLength; n > limit {
		return tooLong(n, limit)
	}
	rc := http.NewResponseController(req.w)
	_ = rc.SetReadDeadline(time.Now().Add(req.c.a.cfg.BodyTimeout)) // not every test's writer has one
	body, err := io.ReadAll(io.LimitReader(req.r.Body, limit+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &denial{400, fmt.Sprintf("Body length (%d) is different to Content-Length header (%d).", len(body), req.r.ContentLength)}
	case err != nil:
		req.w.Header().Set("Connection", "close")
		return &denial{400, textMalformed}
	case int64(len(body)) > limit:
		return tooLong(int64(len(body)), limit)
	}
	_ = rc.SetReadDeadline(time.Time{})
	req.body = body
	return nil
}

func tooLong(n, limit int64) *denial {
	return &denial{413, fmt.Sprintf("Request too long. (%d is longer than accepted %d)", n, limit)}
}

// gitHub checks the signature that GitHub had before there was X-Hub-Signature-256.
func (req *crossbarRequest) gitHub() *denial {
	if req.c.GitHubSecret == "" {
		return nil
	}
	h := hmac.New(sha1.New, []byte(req.c.GitHubSecret))
	_, _ = h.Write(req.body) // it never fails
	want := "sha1=" + hex.EncodeToString(h.Sum(nil))
	if !hmac.Equal([]byte(strings.ToLower(req.r.Header.Get("X-Hub-Signature"))), []byte(want)) {
		return &denial{400, textMalformed}
	}
	return nil
}

// peer checks where the request comes from. A proxy is not believed.
func (req *crossbarRequest) peer() *denial {
	if len(req.c.RequireIP) > 0 {
		at, _ := netip.ParseAddrPort(req.r.RemoteAddr) // a unix socket has none
		if !slices.ContainsFunc(req.c.RequireIP, func(p netip.Prefix) bool { return p.Contains(at.Addr().Unmap()) }) {
			return &denial{400, "Request denied based on IP address."}
		}
	}
	if req.c.RequireTLS && req.r.TLS == nil {
		return &denial{400, textMalformed}
	}
	return nil
}

func (req *crossbarRequest) text() *denial {
	if !utf8.Valid(req.body) {
		return &denial{400, "Non-decodable request body, was not UTF-8."}
	}
	return nil
}

// crossbarEvent is what a body has.
type crossbarEvent struct {
	payload       wampcore.Payload
	options       json.RawMessage
	named         bool // the URI is a text
	clash         bool // the kwargs have the name of a parameter of Crossbar's own function
	kwargsOptions bool // the same, by the name options
}

// event takes the body apart.
func (req *crossbarRequest) event(name string) (uri wampcore.URI, in crossbarEvent, d *denial) {
	body := bytes.Trim(req.body, " \t\r\n")
	if len(body) == 0 || wampcore.Scan(wampcore.JSON, body) != nil {
		return "", in, &denial{400, "Request body was invalid JSON."}
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil || all == nil {
		return "", in, &denial{400, "Request body was valid JSON, but not well formed (must be a dict)."}
	}
	if all[name] == nil {
		return "", in, &denial{400, "Request body was valid JSON, but not well formed (missing key '" + name + "')."}
	}
	in.named = all[name][0] == '"' && json.Unmarshal(all[name], &uri) == nil
	args, ok := pythonList(all["args"])
	if !ok {
		return "", in, &denial{500, textUnhandled}
	}
	in.payload = wampcore.Payload{Encoding: wampcore.JSON, Args: args}
	in.options = all["options"]
	if falsy(all["kwargs"]) {
		return uri, in, nil
	}
	var kwargs map[string]json.RawMessage
	if json.Unmarshal(all["kwargs"], &kwargs) != nil {
		return "", in, &denial{500, textUnhandled}
	}
	in.clash = kwargs[name] != nil
	in.kwargsOptions = !falsy(kwargs["options"])
	if delete(kwargs, "options"); len(kwargs) > 0 {
		in.payload.Kwargs, _ = json.Marshal(kwargs) // it was parsed just now
	}
	return uri, in, nil
}

// pythonList is what *args makes of a value: the elements of a list, the characters of a text, the keys of a dict.
func pythonList(raw json.RawMessage) ([]byte, bool) {
	if falsy(raw) {
		return nil, true
	}
	switch raw[0] {
	case '[':
		return raw, true
	case '"':
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return nil, false
		}
		list, err := json.Marshal(strings.Split(text, ""))
		return list, err == nil
	case '{':
		dec := json.NewDecoder(bytes.NewReader(raw))
		keys := []string{}
		_, err := dec.Token()
		for err == nil && dec.More() {
			var key json.Token
			if key, err = dec.Token(); err != nil {
				break
			}
			if text, _ := key.(string); !slices.Contains(keys, text) {
				keys = append(keys, text)
			}
			var skipped json.RawMessage
			err = dec.Decode(&skipped)
		}
		list, _ := json.Marshal(keys)
		return list, err == nil
	default:
		return nil, false
	}
}

// falsy reports whether Python takes a value for false.
func falsy(raw json.RawMessage) bool {
	if len(raw) == 0 {
		return true
	}
	switch raw[0] {
	case 'n', 'f':
		return true
	case '"':
		return len(raw) == 2
	case '[', '{':
		return len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0
	case 't':
		return false
	default:
		return strings.Trim(strings.ToLower(string(raw)), "-0.e+") == "" || zeroNumber(raw)
	}
}

func zeroNumber(raw []byte) bool {
	var n float64
	return json.Unmarshal(raw, &n) == nil && n == 0
}

// crossbarOptions returns the options of a publication that Crossbar passes on. It is false where Crossbar would fail.
func crossbarOptions(raw json.RawMessage) (o wampcore.PublishOptions, ok bool) {
	o.Acknowledge = true
	if falsy(raw) {
		return o, true
	}
	var in struct {
		ForwardFor       *[]map[string]any   `json:"forward_for"` // routers say it, nobody else
		Retain           *bool               `json:"retain"`
		ExcludeMe        *bool               `json:"exclude_me"`
		Exclude          someOf[wampcore.ID] `json:"exclude"`
		ExcludeAuthID    someOf[string]      `json:"exclude_authid"`
		ExcludeAuthRole  someOf[string]      `json:"exclude_authrole"`
		Eligible         someOf[wampcore.ID] `json:"eligible"`
		EligibleAuthID   someOf[string]      `json:"eligible_authid"`
		EligibleAuthRole someOf[string]      `json:"eligible_authrole"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return o, false
	}
	o.Retain = in.Retain != nil && *in.Retain
	o.IncludeMe = in.ExcludeMe != nil && !*in.ExcludeMe
	o.Exclude, o.ExcludeAuthID, o.ExcludeAuthRole = in.Exclude, in.ExcludeAuthID, in.ExcludeAuthRole
	o.Eligible, o.EligibleAuthID, o.EligibleAuthRole = in.Eligible, in.EligibleAuthID, in.EligibleAuthRole
	return o, true
}

// someOf is a list, or the only element of one.
type someOf[T any] []T

// UnmarshalJSON reads either.
func (s *someOf[T]) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case 'n':
		return nil
	case '[':
		list := []T{}
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		*s = list
		return nil
	default:
		var one T
		if err := json.Unmarshal(b, &one); err != nil {
			return err
		}
		*s = []T{one}
		return nil
	}
}
