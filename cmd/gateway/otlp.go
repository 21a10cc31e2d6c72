package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// otlp sends spans to a collector, over HTTP, as OpenTelemetry's own exporter does; that would bring all of gRPC.
type otlp struct {
	url     string
	header  http.Header
	gzip    bool
	timeout time.Duration
	client  *http.Client
}

// otlpVariables are those of OpenTelemetry that say where spans go, by what they are called after OTEL_EXPORTER_OTLP_ or
// OTEL_EXPORTER_OTLP_TRACES_: the latter win.
func otlpVariable(vars map[string]string, name string) string {
	if v := vars["OTEL_EXPORTER_OTLP_TRACES_"+name]; v != "" {
		return v
	}
	return vars["OTEL_EXPORTER_OTLP_"+name]
}

// newOTLP returns nil where no endpoint is set.
func newOTLP(vars map[string]string) (*otlp, error) {
	endpoint := vars["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
	if base := vars["OTEL_EXPORTER_OTLP_ENDPOINT"]; endpoint == "" && base != "" {
		endpoint = strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	if endpoint == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT: want a URL such as http://collector:4318")
	}
	if p := otlpVariable(vars, "PROTOCOL"); p != "" && p != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: %q is not supported; http/protobuf is", p)
	}
	o := &otlp{url: endpoint, timeout: 10 * time.Second, gzip: otlpVariable(vars, "COMPRESSION") == "gzip"}
	if o.header, err = otlpHeaders(otlpVariable(vars, "HEADERS")); err != nil {
		return nil, err
	}
	if ms := otlpVariable(vars, "TIMEOUT"); ms != "" {
		n, err := strconv.ParseUint(ms, 10, 31)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT: %q is no number of milliseconds", ms)
		}
		o.timeout = time.Duration(n) * time.Millisecond
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}
	if file := otlpVariable(vars, "CERTIFICATE"); file != "" {
		pool, err := readCAs(file)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	o.client = &http.Client{Transport: transport}
	return o, nil
}

// otlpHeaders reads name=value pairs, separated by commas, whose values are encoded as in URLs. Its errors tell no value.
func otlpHeaders(list string) (http.Header, error) {
	header := http.Header{}
	for i, pair := range trimmed(strings.Split(list, ",")) {
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_HEADERS: pair %d is not name=value", i+1)
		}
		header.Set(strings.TrimSpace(name), value)
	}
	return header, nil
}

// Start has nothing to do.
func (o *otlp) Start(context.Context) error { return nil }

// Stop closes the connections.
func (o *otlp) Stop(context.Context) error {
	o.client.CloseIdleConnections()
	return nil
}

// UploadTraces sends spans, more than once where the collector asks for that.
func (o *otlp) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans}) // on the wire the same as an ExportTraceServiceRequest
	if err != nil {
		return err
	}
	if o.gzip {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(body)
		_ = z.Close()
		body = b.Bytes()
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, o.post(ctx, body) }, backoff.WithMaxElapsedTime(time.Minute))
	return err
}

func (o *otlp) post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(err)
	}
	req.Header = o.header.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	if o.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	res, err := o.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	switch res.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
			return backoff.RetryAfter(n)
		}
		return fmt.Errorf("the collector answers %s", res.Status)
	default:
		return backoff.Permanent(fmt.Errorf("the collector answers %s", res.Status))
	}
}
