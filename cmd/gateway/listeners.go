package main

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
)

// The ways in for native clients.
const (
	webSocket = "websocket"
	rawSocket = "rawsocket"
	longPoll  = "longpoll"
)

// transports are names of ways in.
type transports []string

// UnmarshalText reads names, separated by commas.
func (t *transports) UnmarshalText(text []byte) error {
	*t = trimmed(strings.Split(string(text), ","))
	for _, name := range *t {
		if !slices.Contains([]string{webSocket, rawSocket, longPoll}, name) {
			return fmt.Errorf("%q is no transport; want websocket, rawsocket or longpoll", name)
		}
	}
	return nil
}

func (t transports) has(name string) bool { return slices.Contains(t, name) }

// serializers are encodings.
type serializers []wampcore.Encoding

// UnmarshalText reads names, separated by commas.
func (s *serializers) UnmarshalText(text []byte) error {
	*s = nil
	for _, name := range trimmed(strings.Split(string(text), ",")) {
		e, ok := wampcore.ParseEncoding(name)
		if !ok {
			return fmt.Errorf("%q is no serializer; want json, msgpack or cbor", name)
		}
		*s = append(*s, e)
	}
	return nil
}

// fileMode is the permissions of a file, in octal.
type fileMode fs.FileMode

// UnmarshalText reads octal digits.
func (m *fileMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is no file mode; want three octal digits such as 0660", text)
	}
	*m = fileMode(n)
	return nil
}

// validateListeners checks the addresses, and that what TLS needs is there.
func (c *config) validateListeners(bad func(field, format string, args ...any)) {
	own := c.File == nil || len(c.File.Listeners) == 0 // the settings' listeners count
	for field, addresses := range map[string][]string{"Listen": c.Listen, "ListenTLS": c.ListenTLS, "OpsAddr": {c.OpsAddr}} {
		known := field == "ListenTLS" && c.TLSClientAuth == clientAuthRequired // who comes is
		for _, address := range addresses {
			host, err := checkAddress(address)
			switch {
			case address == "":
			case err != nil:
				bad(field, "%w", err)
			case own && field != "OpsAddr" && !known && !c.AllowAnonymousRemote && !isLocal(host) && c.anonymousMayAll():
				bad(field, "%s", reachedByOthers(address))
			}
		}
	}
	switch {
	case !own:
		c.validateFileListeners(bad)
	case len(c.ListenTLS) > 0 && (c.TLSCert == "" || c.TLSKey == ""):
		bad("ListenTLS", "set %s and %s, too", variable("TLSCert"), variable("TLSKey"))
	case len(c.ListenTLS) == 0 && c.TLSCert != "":
		bad("TLSCert", "set %s, too: nothing listens for TLS", variable("ListenTLS"))
	}
	if (c.TLSClientAuth != clientAuthNone) != (c.TLSClientCA != "") {
		bad("TLSClientCA", "it goes with %s=optional or required", variable("TLSClientAuth"))
	}
}

// checkAddress returns the host of an address to listen on: the path of a unix socket.
func checkAddress(address string) (host string, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", fmt.Errorf("%q is no address; want an absolute path such as unix:/run/wampgate.sock", address)
		}
		return path, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("%q is no address; want host:port such as 127.0.0.1:8080, or unix:/path", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q is no port; want a number from 0 to 65535", port)
	}
	return host, nil
}

// isLocal reports whether only this machine reaches a host, or the path of a unix socket.
func isLocal(host string) bool {
	if host == "localhost" || strings.HasPrefix(host, "/") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// where is where what is served on a listener is found.
type where [][2]string

// MarshalZerologObject adds the URLs to a line of the log.
func (w where) MarshalZerologObject(e *zerolog.Event) {
	for _, u := range w {
		e.Str(u[0], u[1])
	}
}

func urls(addr net.Addr, secure bool, way func(string) bool) where {
	s, raw := "", "tcp"
	if secure {
		s, raw = "s", "tls"
	}
	w := where{
		{"http", "http" + s + "://" + addr.String()},
		{webSocket, "ws" + s + "://" + addr.String() + "/ws"},
		{rawSocket, raw + "://" + addr.String()},
	}
	if addr.Network() == "unix" {
		w = where{
			{"http", "unix:" + addr.String()},
			{webSocket, "ws+unix:" + addr.String() + ":/ws"},
			{rawSocket, "unix:" + addr.String()},
		}
	}
	return slices.DeleteFunc(w, func(u [2]string) bool { return u[0] != "http" && !way(u[0]) })
}
