package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrEgress is why a URL or an address is not requested: it is none of those that the gateway may reach.
var ErrEgress = errors.New("the gateway may not reach it")

// EgressConfig says which services the gateway may send requests to. The zero value reaches none.
type EgressConfig struct {
	// Hosts that may be reached: names, *.names for subdomains, addresses and networks such as 10.1.0.0/16, each with a port
	// or without.
	Hosts    []string
	Loopback bool          // this machine may be reached, too
	Resolver *net.Resolver // default: the system's
}

// Egress sends requests to the services that it may reach, and to no others. It looks at the address that is dialled, so that
// a name cannot lead it astray; it follows no redirects, and knows no proxies.
type Egress struct {
	cfg    EgressConfig
	hosts  []egressHost
	client *http.Client
}

// egressHost is an entry of Hosts.
type egressHost struct {
	name string       // *.example.com covers subdomains; empty: network counts
	net  netip.Prefix // of addresses
	port string       // empty: any
}

const (
	maxAnswerHeader = 64 << 10
	dialTimeout     = 10 * time.Second
	// keptIdle is shorter than what services grant, Node's 5 seconds above all: they do not close a connection that a request is
	// just being sent on.
	keptIdle = 4 * time.Second
)

// NewEgress returns what sends requests.
func NewEgress(cfg EgressConfig) (*Egress, error) {
	e := &Egress{cfg: cfg}
	for _, entry := range cfg.Hosts {
		host, err := parseEgressHost(entry)
		if err != nil {
			return nil, err
		}
		e.hosts = append(e.hosts, host)
	}
	e.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            e.dial,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    64,
			IdleConnTimeout:        keptIdle,
			TLSHandshakeTimeout:    dialTimeout,
			MaxResponseHeaderBytes: maxAnswerHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, nil
}

func parseEgressHost(entry string) (egressHost, error) {
	if network, err := netip.ParsePrefix(entry); err == nil {
		return egressHost{net: network.Masked()}, nil
	}
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		host, port = strings.Trim(entry, "[]"), ""
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return egressHost{net: netip.PrefixFrom(ip, ip.BitLen()), port: port}, nil
	}
	name := strings.TrimPrefix(host, "*.")
	if _, err := strconv.ParseUint(cmp.Or(port, "0"), 10, 16); err != nil {
		name = ""
	}
	if name == "" || strings.ContainsAny(name, "*/:@ ?#") {
		return egressHost{}, fmt.Errorf("%q is no host; want a name such as app.example or *.app.example, an address or a network, with a port or without", entry)
	}
	return egressHost{name: strings.ToLower(host), port: port}, nil
}

// Check reports whether a URL may be requested, as far as can be said without a look at the addresses of its host.
func (e *Egress) Check(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("the URL cannot be parsed")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Opaque != "":
		return nil, errors.New("the URL is not of the form http://host/path or https://host/path")
	case u.User != nil:
		return nil, errors.New("the URL has a user or password in it, which do not belong there; use a header")
	case u.Fragment != "":
		return nil, errors.New("the URL has a fragment, which is not sent")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if _, err := e.admit(u.Hostname(), port); err != nil {
		return nil, err
	}
	return u, nil
}

// admit returns what the addresses of a host have to be. Names and addresses are different things: a name's address is the
// word of whoever answers for it.
func (e *Egress) admit(host, port string) (func(netip.Addr) error, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	loopbackOnly := func(ip netip.Addr) error {
		if !ip.IsLoopback() {
			return fmt.Errorf("%w: %s is not of this machine", ErrEgress, host)
		}
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if err := e.mayDial(ip, port); err != nil {
			return nil, err
		}
		return func(netip.Addr) error { return nil }, nil
	}
	named := slices.ContainsFunc(e.hosts, func(h egressHost) bool { return h.admitsName(host, port) })
	switch isLocal := host == "localhost" || strings.HasSuffix(host, ".localhost"); {
	case isLocal && (named || e.cfg.Loopback):
		return loopbackOnly, nil
	case isLocal || !named:
		return nil, fmt.Errorf("%w: the host %s is not one that hooks may reach; name it in WAMPGATE_HOOK_HOSTS", ErrEgress, host)
	}
	return func(ip netip.Addr) error {
		if ip.IsLoopback() {
			return e.mayDial(ip, port)
		}
		return nil
	}, nil
}

func (h egressHost) admitsName(host, port string) bool {
	if h.name == "" || h.port != "" && h.port != port {
		return false
	}
	suffix, sub := strings.CutPrefix(h.name, "*")
	return h.name == host || sub && len(host) > len(suffix) && strings.HasSuffix(host, suffix)
}

// mayDial reports whether an address may be dialled that no name stands for.
func (e *Egress) mayDial(ip netip.Addr, port string) error {
	ip = ip.Unmap().WithZone("")
	if e.cfg.Loopback && ip.IsLoopback() {
		return nil
	}
	for _, h := range e.hosts {
		if h.name == "" && h.net.Contains(ip) && (h.port == "" || h.port == port) {
			return nil
		}
	}
	return fmt.Errorf("%w: the address %s is not one that hooks may reach; name it in WAMPGATE_HOOK_HOSTS", ErrEgress, ip)
}

// The addresses that are never reached, whatever is configured: what machines tell of themselves to those who run on them, and
// what is no one host's. IPv4 addresses within IPv6 ones are looked at as such.
var neverReached = []netip.Prefix{ //nolint:gochecknoglobals // a constant table
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),     // link-local, and the metadata of most clouds
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba's metadata
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure's
	netip.MustParsePrefix("192.0.0.0/24"),       // Oracle's
	netip.MustParsePrefix("224.0.0.0/3"),        // multicast, reserved, broadcast
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("ff00::/8"),
	netip.MustParsePrefix("fd00:ec2::/32"),       // Amazon's metadata and time
	netip.MustParsePrefix("fd20:ce::254/128"),    // Google's
	netip.MustParsePrefix("fd00:42::42/128"),     // Scaleway's
	netip.MustParsePrefix("fd00:c1::a9fe:0/112"), // Oracle's
	netip.MustParsePrefix("2001::/32"),           // Teredo
	netip.MustParsePrefix("64:ff9b:1::/48"),      // NAT64 of one's own
}

// Where IPv6 addresses have IPv4 ones in them, and at which byte.
var embedding = []struct { //nolint:gochecknoglobals // a constant table
	net netip.Prefix
	at  int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
	{netip.MustParsePrefix("::/96"), 12},        // deprecated
}

// isNeverReached reports whether an address is one of those.
func isNeverReached(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() || ip.IsUnspecified() {
		return true
	}
	if ip.IsLoopback() {
		return false
	}
	if ip.Is6() {
		b := ip.As16()
		for _, e := range embedding {
			if e.net.Contains(ip) {
				v4 := netip.AddrFrom4([4]byte(b[e.at : e.at+4]))
				return v4.IsLoopback() || isNeverReached(v4)
			}
		}
	}
	return slices.ContainsFunc(neverReached, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// dial connects to a host that may be reached, by an address that may.
func (e *Egress) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	admits, err := e.admit(host, port)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{
		Timeout:  dialTimeout,
		Resolver: e.cfg.Resolver,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			switch {
			case err != nil:
				return fmt.Errorf("%w: %w", ErrEgress, err)
			case isNeverReached(at.Addr()):
				return fmt.Errorf("%w: %s has the address %s, which hooks never reach", ErrEgress, host, at.Addr())
			}
			return admits(at.Addr().Unmap())
		},
	}
	return d.DialContext(ctx, network, address)
}

// Do sends a request. What it returns has a body to close; nothing is followed.
func (e *Egress) Do(r *http.Request) (*http.Response, error) {
	if _, err := e.Check(r.URL.String()); err != nil {
		return nil, err
	}
	return e.client.Do(r)
}

// Close closes the connections that are kept.
func (e *Egress) Close() { e.client.CloseIdleConnections() }
