package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// probeTimeout is how long a probe may take.
const probeTimeout = 5 * time.Second

// healthcheck asks the gateway that runs with the same settings whether it is ready, or what else is asked for: it is for images that
// have no program that could.
func healthcheck(c *invocation) error {
	probe := "readyz"
	if len(c.args) > 0 {
		probe = c.args[0]
	}
	if len(c.args) > 1 || !slices.Contains([]string{"livez", "readyz", "startupz"}, probe) {
		return subcommandUsage("healthcheck")
	}
	cfg, err := loadAddress(c.environ)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	return cfg.ask(ctx, http.MethodGet, "/"+probe, c.stdout)
}

// loadAddress reads what says where the gateway is that runs with these settings. It may be broken since that was started: the gateway then goes on
// with what it had.
func loadAddress(environ []string) (config, error) {
	cfg, broken := loadConfig(environ)
	if broken == nil {
		return cfg, nil
	}
	all, err := ownVariables(environ)
	if err != nil {
		return cfg, broken
	}
	f := cfg.File
	if f == nil && all[variable("OpsAddr")] == "" {
		return cfg, broken
	}
	if f != nil {
		for name, value := range f.environment() {
			all[name] = cmp.Or(all[name], value)
		}
	}
	vars := map[string]string{}
	for _, field := range []string{"OpsAddr", "Listen", "ListenTLS", "DrainWindow", "ShutdownTimeout"} {
		vars[variable(field)] = all[variable(field)]
	}
	cfg = config{File: f}
	if cfg.parse(vars) != nil {
		return cfg, broken
	}
	return cfg, nil
}

// ask sends a request to the gateway that runs with these settings, and prints the answer. Anything but 200 is an error.
func (c *config) ask(ctx context.Context, method, path string, stdout io.Writer) error {
	address, secure := c.operationsAddress()
	client, base, err := reach(address, secure)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, base+path, http.NoBody)
	if err != nil {
		return err
	}
	req.Host = "localhost" // whatever the address is
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, strings.TrimSpace(string(body)))
	}
	_, err = stdout.Write(body)
	return err
}

// operationsAddress is where the probes are.
func (c *config) operationsAddress() (address string, secure bool) {
	if c.OpsAddr != "" {
		return c.OpsAddr, false
	}
	first := c.entrances()[0]
	return first.address, first.secure != nil
}

// reach returns a client for an address that the gateway listens on, and the base of its URLs.
func reach(address string, secure bool) (*http.Client, string, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	scheme := "http"
	if secure {
		scheme = "https"
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a probe of this machine tells no secrets, and the certificate has another name
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return &http.Client{Transport: transport}, scheme + "://localhost", nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	if port == "0" {
		return nil, "", fmt.Errorf("%s: with port 0 nobody knows where the gateway listens", address)
	}
	switch ip := net.ParseIP(host); {
	case host == "" || ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return &http.Client{Transport: transport}, scheme + "://" + net.JoinHostPort(host, port), nil
}
