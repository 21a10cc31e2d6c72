package main

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v10"
	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
)

const prefix = "WAMPGATE_"

// config is everything that can be set. Its tags are what -help and the README's table are made of.
type config struct {
	Listen               []string     `env:"LISTEN" envDefault:"127.0.0.1:8080" help:"addresses, separated by commas, for HTTP and native clients: host:port, where port 0 takes a free one, or unix:/path"`
	ListenTLS            []string     `env:"LISTEN_TLS" help:"addresses for the same over TLS; they need WAMPGATE_TLS_CERT and WAMPGATE_TLS_KEY"`
	OpsAddr              string       `env:"OPS_ADDR" help:"address of a listener of its own for probes, metrics and what operators do; unset: probes and metrics are on the main one"`
	AllowAnonymousRemote bool         `env:"ALLOW_ANONYMOUS_REMOTE" envDefault:"false" help:"allow addresses that other machines reach, although everybody is let in"`
	Realm                wampcore.URI `env:"REALM" envDefault:"realm1" help:"the realm that is served"`
	Strict               bool         `env:"STRICT" envDefault:"false" help:"hold native clients to the letter of the specification"`
	Operators            []string     `env:"OPERATORS" help:"authroles, separated by commas, that may end sessions and take registrations and subscriptions from them"`
	Disclosure           disclosure   `env:"DISCLOSURE" envDefault:"asked" help:"whether callees and subscribers learn who calls and publishes: asked, always or never"`
	TrustLevels          trustLevels  `env:"TRUST_LEVELS" help:"trust levels of calls and publications by authrole, such as anonymous=0,backend=5"`
	LogLevel             logLevel     `env:"LOG_LEVEL" envDefault:"info" help:"trace, debug, info, warn, error or off"`
	AccessLog            bool         `env:"ACCESS_LOG" envDefault:"false" help:"log every HTTP request, at level info; else they are logged at level debug"`
	Profiling            bool         `env:"PROFILING" envDefault:"false" help:"serve profiles of the running program at /debug/pprof/ of WAMPGATE_OPS_ADDR, to this machine alone"`
	MetricsProcedures    []string     `env:"METRICS_PROCEDURES" help:"procedures, separated by commas, whose calls by HTTP are counted and timed one by one"`
	MetricsTopics        []string     `env:"METRICS_TOPICS" help:"topics, separated by commas, whose publications by HTTP are counted one by one"`
	UpstreamURL          string       `env:"UPSTREAM_URL" help:"address of a router elsewhere that is used instead of the own one: ws, wss, tcp, tls or unix; native clients are then served there"`
	UpstreamCA           string       `env:"UPSTREAM_CA" help:"file with the CAs of that router's certificate, PEM; unset: the system's"`
	UpstreamCert         string       `env:"UPSTREAM_CERT" help:"file with the certificate to show to it, PEM"`
	UpstreamKey          string       `env:"UPSTREAM_KEY" help:"file with that certificate's key, PEM"`
	UpstreamAuth         string       `env:"UPSTREAM_AUTH" help:"how to log in there: ticket, wampcra or scram; unset: as anonymous, or by that certificate"`
	UpstreamAuthID       string       `env:"UPSTREAM_AUTHID" help:"authid to log in with"`
	UpstreamSecretFile   string       `env:"UPSTREAM_SECRET_FILE" help:"file with the ticket, secret or password to log in with"`
	Config               string       `env:"CONFIG" help:"the configuration file, YAML; what the environment sets wins over its settings"`

	Hosts   []string `env:"HOSTS" help:"names, separated by commas, by which HTTP clients may address the gateway besides localhost and IP addresses; *.example.com covers subdomains"`
	Origins []string `env:"ORIGINS" help:"browser origins, separated by commas, that may use the gateway besides its own, such as https://app.example.com"`

	HookHosts      []string `env:"HOOK_HOSTS" help:"hosts, separated by commas, that hooks may reach besides this machine: names, *.example.com for subdomains, addresses, networks; each with a port or without"`
	AppURL         string   `env:"APP_URL" help:"address of a service that says at /.well-known/wamp which hooks it wants"`
	AppRole        string   `env:"APP_ROLE" help:"authrole with whose rights those hooks are made; unset: they are anonymous"`
	AppSecretsFile string   `env:"APP_SECRETS_FILE" help:"file with the secrets that requests of those hooks are signed with, whsec_ and base64, a line each"`

	CrossbarPath string `env:"CROSSBAR_PATH" help:"path below which publish and call are as Crossbar.io's HTTP bridge has them, such as /crossbar, or /; the file's crossbar section says more"`

	TLSCert       string     `env:"TLS_CERT" help:"file with the certificate and its chain, PEM; read again when it changes, and on SIGHUP"`
	TLSKey        string     `env:"TLS_KEY" help:"file with the certificate's key, PEM; read again with it"`
	TLSClientAuth clientAuth `env:"TLS_CLIENT_AUTH" envDefault:"none" help:"client certificates: none, optional or required"`
	TLSClientCA   string     `env:"TLS_CLIENT_CA" help:"file with the CAs of client certificates, PEM"`

	UnixMode                 fileMode    `env:"UNIX_MODE" envDefault:"0600" help:"permissions of the files of unix sockets"`
	Transports               transports  `env:"TRANSPORTS" envDefault:"websocket,rawsocket,longpoll" help:"ways in for native clients"`
	Serializers              serializers `env:"SERIALIZERS" envDefault:"json,msgpack,cbor" help:"serializers for native clients"`
	Compression              bool        `env:"COMPRESSION" envDefault:"false" help:"compress WebSocket messages (permessage-deflate) for clients that offer it; it costs memory and time for each"`
	H2C                      bool        `env:"H2C" envDefault:"false" help:"HTTP/2 without TLS for clients that begin with it, beside HTTP/1.1"`
	MaxConnections           count       `env:"MAX_CONNECTIONS" envDefault:"50000" help:"connections of one listener; one more is refused"`
	MaxConnectionsPerAddress count       `env:"MAX_CONNECTIONS_PER_ADDRESS" help:"connections of one listener from one address, or IPv6 network of 64 bits; unset: no bound"`

	MaxBody    size `env:"MAX_BODY" envDefault:"1MiB" help:"largest HTTP request body"`
	MaxMessage size `env:"MAX_MESSAGE" envDefault:"16MiB" help:"largest message from a native client"`

	HelloTimeout  time.Duration `env:"HELLO_TIMEOUT" envDefault:"10s" help:"how long a new connection may take for its first request, or to open a session"`
	IdleTimeout   time.Duration `env:"IDLE_TIMEOUT" envDefault:"2m" help:"how long a connection is kept that has neither a request nor a session"`
	PingInterval  time.Duration `env:"PING_INTERVAL" envDefault:"30s" help:"silence after which a native client is pinged; 0 never pings"`
	QueueMessages count         `env:"QUEUE_MESSAGES" envDefault:"8192" help:"messages that may wait for one native client; one more ends it as too slow"`
	QueueBytes    size          `env:"QUEUE_BYTES" envDefault:"64MiB" help:"bytes that may wait for one native client"`

	HistoryEvents count         `env:"HISTORY_EVENTS" envDefault:"65536" help:"past events that the realm keeps for those who ask later"`
	HistoryBytes  size          `env:"HISTORY_BYTES" envDefault:"64MiB" help:"bytes of past events that the realm keeps"`
	HistoryAge    time.Duration `env:"HISTORY_AGE" envDefault:"1h" help:"how long a past event is kept; 0 keeps none"`

	CallTimeout    time.Duration `env:"CALL_TIMEOUT" envDefault:"30s" help:"deadline of an HTTP call that names none"`
	CallTimeoutMax time.Duration `env:"CALL_TIMEOUT_MAX" envDefault:"10m" help:"longest deadline that an HTTP call may name"`

	StreamQueueEvents count         `env:"STREAM_QUEUE_EVENTS" envDefault:"1024" help:"events that may wait for one event stream; one more ends it as too slow"`
	StreamQueueBytes  size          `env:"STREAM_QUEUE_BYTES" envDefault:"1MiB" help:"bytes that may wait for one event stream"`
	Heartbeat         time.Duration `env:"HEARTBEAT" envDefault:"15s" help:"how often a quiet event stream says that it is alive"`

	DrainWindow     time.Duration `env:"DRAIN_WINDOW" envDefault:"10s" help:"over which time gateway drain ends event streams and sessions"`
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"10s" help:"how long requests and sessions get to end before they are cut"`

	File *file // what only the configuration file says; nil where there is none
}

// loadConfig reads the environment, and the file that it names. Its error names everything that is wrong, a line each; what is
// wrong with the file is shown with the lines around it.
func loadConfig(environ []string) (config, error) {
	vars, unknown := ownVariables(environ)
	f, broken := addFile(vars, variables(environ))
	var cfg config
	err := cfg.parse(vars)
	if f != nil {
		f.environ = environ
	}
	if err := errors.Join(unknown, broken, explain(err)); err != nil { // what validate found would partly repeat it
		return config{File: f}, err
	}
	cfg.File = f
	return cfg, cfg.validate()
}

// parse reads variables, and takes the defaults for the others.
func (c *config) parse(vars map[string]string) error {
	err := env.ParseWithOptions(c, env.Options{
		Prefix:      prefix,
		Environment: vars,
		FuncMap:     map[reflect.Type]env.ParserFunc{reflect.TypeFor[time.Duration](): parseDuration},
	})
	for _, list := range []*[]string{
		&c.Listen, &c.ListenTLS, &c.Hosts, &c.Origins, &c.HookHosts, &c.Operators, &c.MetricsProcedures, &c.MetricsTopics,
	} {
		*list = trimmed(*list)
	}
	return err
}

// variables returns an environment by name.
func variables(environ []string) map[string]string {
	vars := map[string]string{}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		vars[name] = value
	}
	return vars
}

// ownVariables returns the environment's variables that are for the gateway. A name that it does not know is a mistake.
func ownVariables(environ []string) (map[string]string, error) {
	vars, known := map[string]string{}, settings()
	for name, value := range variables(environ) {
		if strings.HasPrefix(name, prefix) && !isServiceLink(name, value) {
			vars[name] = value
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !slices.ContainsFunc(known, func(s setting) bool { return s.name == name }) {
			errs = append(errs, fmt.Errorf("%s: there is no such setting; did you mean %s?", name, nearest(name, known)))
		}
	}
	return vars, errors.Join(errs...)
}

// isServiceLink reports whether a variable is one of those that Kubernetes gives to every container when a Service's name
// begins with wampgate.
func isServiceLink(name, value string) bool {
	if strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") {
		return true
	}
	for _, pattern := range []string{"*_PORT_*_TCP_*", "*_PORT_*_UDP_*", "*_PORT_*_SCTP_*"} {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return strings.Contains(name, "_PORT") && strings.Contains(value, "://")
}

// explain turns the parser's errors, which name fields of a struct, into ones that name variables.
func explain(err error) error {
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return err
	}
	errs := make([]error, len(all.Errors))
	for i, err := range all.Errors {
		errs[i] = err
		if parse, ok := errors.AsType[env.ParseError](err); ok {
			errs[i] = fmt.Errorf("%s: %w", variable(parse.Name), sentence(parse.Type, parse.Err))
		}
	}
	return errors.Join(errs...)
}

func sentence(t reflect.Type, err error) error {
	if t.Kind() == reflect.Bool {
		return errors.New("want true or false")
	}
	return err
}

// validate checks what one value's parser cannot.
func (c *config) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf(variable(field)+": "+format, args...))
	}
	c.validateListeners(bad)
	c.validateUpstream(bad)
	c.validateCrossbar(bad)
	c.validateHooks(bad)
	if c.Profiling && c.OpsAddr == "" {
		bad("Profiling", "set %s, too", variable("OpsAddr"))
	}
	if !c.Realm.Valid(false) {
		bad("Realm", "%q is no URI; want a name such as realm1 or com.example.main", string(c.Realm))
	}
	for _, h := range c.Hosts {
		if strings.ContainsAny(h, "/: ") {
			bad("Hosts", "%q is no host name; want one such as gateway.example.com, without scheme and port", h)
		} else if i := strings.LastIndexByte(h, '*'); i > 0 || i == 0 && len(h) > 1 && h[1] != '.' {
			bad("Hosts", "%q has a * where it stands for nothing; it is for the beginning, such as *.example.com, which covers all that is below that", h)
		}
	}
	for _, o := range c.Origins {
		if _, host, ok := strings.Cut(o, "://"); !ok || host == "" || strings.ContainsAny(host, "/ *") {
			bad("Origins", "%q is no origin; want scheme and host such as https://app.example.com", o)
		}
	}
	for field, d := range map[string]time.Duration{
		"HelloTimeout": c.HelloTimeout, "CallTimeout": c.CallTimeout, "CallTimeoutMax": c.CallTimeoutMax,
		"Heartbeat": c.Heartbeat, "ShutdownTimeout": c.ShutdownTimeout, "IdleTimeout": c.IdleTimeout,
	} {
		if d == 0 {
			bad(field, "want more than 0")
		}
	}
	if c.CallTimeout > c.CallTimeoutMax {
		bad("CallTimeout", "%s is longer than %s, which is %s", c.CallTimeout, variable("CallTimeoutMax"), c.CallTimeoutMax)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func trimmed(list []string) []string {
	var out []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func parseDuration(s string) (any, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return nil, fmt.Errorf("%q is no duration; want one such as 500ms, 30s or 5m", s)
	}
	return d, nil
}

// logLevel is zerolog's level by the names that people expect.
type logLevel zerolog.Level

// UnmarshalText reads a level's name.
func (l *logLevel) UnmarshalText(text []byte) error {
	level, ok := levelNames()[strings.ToLower(string(text))]
	if !ok {
		return fmt.Errorf("%q is no level; want trace, debug, info, warn, error or off", text)
	}
	*l = logLevel(level)
	return nil
}

// disclosure is the router's, by the names that it has in the settings.
type disclosure router.Disclosure

// UnmarshalText reads a disclosure's name.
func (d *disclosure) UnmarshalText(text []byte) error {
	names := map[string]router.Disclosure{
		"asked": router.DiscloseAsked, "always": router.DiscloseAlways, "never": router.DiscloseNever,
	}
	v, ok := names[strings.ToLower(string(text))]
	if !ok {
		return fmt.Errorf("%q is no disclosure; want asked, always or never", text)
	}
	*d = disclosure(v)
	return nil
}

// trustLevels are levels by authrole.
type trustLevels map[string]int64

// UnmarshalText reads role=level, separated by commas.
func (l *trustLevels) UnmarshalText(text []byte) error {
	*l = trustLevels{}
	for _, pair := range trimmed(strings.Split(string(text), ",")) {
		role, level, ok := strings.Cut(pair, "=")
		n, err := strconv.ParseInt(level, 10, 32)
		if !ok || role == "" || err != nil || n < 0 {
			return fmt.Errorf("%q is no trust level; want a role and a number from 0 up, such as backend=5", pair)
		}
		(*l)[role] = n
	}
	return nil
}
