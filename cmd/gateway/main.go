// Command gateway is a WAMP router with an HTTP face: native WAMP clients and plain HTTP services meet in its realms.
//
// It is the only place that reads the environment, and the only one that knows which router the HTTP bridge speaks to.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore/transport"
)

func main() { os.Exit(command(&invocation{os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr})) }

// command does what the command line says and returns the exit status.
func command(c *invocation) int {
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	tell := flags.Bool("version", false, "")
	switch err := flags.Parse(c.args); {
	case err == flag.ErrHelp: //nolint:errorlint // it is returned as it is
		printHelp(c.stdout)
		return 0
	case err != nil:
		_, _ = fmt.Fprintln(c.stderr, "gateway: usage: gateway [-help] [-version] [subcommand]; settings are environment variables, and a file")
		return 1
	case *tell:
		_, _ = fmt.Fprintln(c.stdout, "wampgate", buildVersion())
		return 0
	case flags.NArg() > 0:
		c.args = flags.Args()
		return runSubcommand(c)
	default:
		return serve(c.environ, c.stderr)
	}
}

// serve runs the gateway until a signal ends it.
func serve(environ []string, stderr *os.File) int {
	cfg, err := loadConfig(environ)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM) // nobody reads it: no signal kills what has shut down, and still logs that
	hangup := make(chan os.Signal, 1)                                     // until the end: it asks to read files again, and never ends the process
	signal.Notify(hangup, syscall.SIGHUP)
	transport.ReadQuietly()
	signal.Ignore(syscall.SIGPIPE) // of the log: else the end of who reads it would be the gateway's
	zerolog.TimeFieldFormat = logTime
	out := newLogFile(stderr)
	defer out.Close()
	log := newLogger(out, isTerminal(stderr))
	t, err := newTracer(ctx, environ, log)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 1
	}
	if err := run(ctx, stop, hangup, cfg, t, log); err != nil {
		log.Error().Err(err).Msg("gateway stopped")
		return 1
	}
	return 0
}

// logTime is RFC 3339 with milliseconds: what happens in one second has an order, also with others' logs.
const logTime = "2006-01-02T15:04:05.000Z07:00"

// newLogger writes for people on a terminal, and JSON elsewhere. How much is a matter of levels.
func newLogger(out io.Writer, terminal bool) zerolog.Logger {
	if terminal {
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(out).With().Timestamp().Logger()
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// version is set by the linker where a release is built.
var version string

func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
