package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// UnixProxies among the trusted proxies is whoever connects by a unix socket.
const UnixProxies = "unix"

// proxies are the peers that are believed when they say for whom they ask.
type proxies struct {
	networks []netip.Prefix
	unix     bool
}

func parseProxies(names []string) (proxies, error) {
	var p proxies
	for _, name := range names {
		if name == UnixProxies {
			p.unix = true
			continue
		}
		network, err := netip.ParsePrefix(name)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(name); err != nil {
				return p, fmt.Errorf("%q is no address or network of a proxy, and not %s", name, UnixProxies)
			}
			network = netip.PrefixFrom(ip, ip.BitLen())
		}
		p.networks = append(p.networks, network.Masked())
	}
	return p, nil
}

// CheckProxy says what is wrong with an element of Config.TrustedProxies.
func CheckProxy(name string) error {
	_, err := parseProxies([]string{name})
	return err
}

func (p proxies) trusts(ip netip.Addr) bool {
	return slices.ContainsFunc(p.networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// client returns the address of whom a request is from, as RemoteAddr has it: the peer's, or, if that is a trusted proxy, the last
// address in X-Forwarded-For that is not one of theirs. What stands before that is hearsay.
func (p proxies) client(r *http.Request) string {
	ip, ok := addressOf(r.RemoteAddr)
	if ok && !p.trusts(ip) || !ok && !p.unix {
		return r.RemoteAddr
	}
	found := r.RemoteAddr
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		hop, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		hop = hop.Unmap().WithZone("")
		found = net.JoinHostPort(hop.String(), "0")
		if !p.trusts(hop) {
			break
		}
	}
	return found
}

// addressOf returns the address in a RemoteAddr; that of a unix socket has none.
func addressOf(remote string) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(remote)
	return ap.Addr().Unmap().WithZone(""), err == nil
}

// network is what limits by address count for: an IPv4 address, an IPv6 network of 64 bits, or, the zero value, all unix sockets.
func network(remote string) netip.Addr {
	ip, ok := addressOf(remote)
	if !ok {
		return netip.Addr{}
	}
	p, _ := ip.Prefix(min(ip.BitLen(), 64))
	return p.Addr()
}
