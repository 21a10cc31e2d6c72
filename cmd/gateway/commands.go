package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// subcommand is something that the program does instead of serving.
type subcommand struct {
	name, usage, help string
	run               func(c *invocation) error
}

// invocation is a subcommand with what it works on.
type invocation struct {
	args, environ         []string
	stdin, stdout, stderr *os.File
}

// subcommands are listed by -help and in the README, in this order.
func subcommands() []subcommand {
	return []subcommand{
		{"check-config", "[file]", "says what is wrong with the configuration: the environment and its file, or another one", checkConfig},
		{"hash", "wampcra|scram", "makes what the file has of a password, which it asks for or reads from its input", hash},
		{"keygen", "cryptosign|api-key ID", "makes a key pair for cryptosign, or an API key and what the file has of it", keygen},
		{"healthcheck", "[livez|readyz|startupz]", "asks the gateway that runs with the same settings; readyz if nothing else is said", healthcheck},
		{"drain", "", "has the gateway that runs with the same settings drain, and waits for it: for preStop", askToDrain},
	}
}

// subcommandUsage is an error in how a subcommand is called.
func subcommandUsage(name string) error {
	i := slices.IndexFunc(subcommands(), func(s subcommand) bool { return s.name == name })
	s := subcommands()[i]
	return fmt.Errorf("gateway: usage: %s", strings.TrimSpace("gateway "+s.name+" "+s.usage))
}

// runSubcommand does what the first argument says, and returns the exit status.
func runSubcommand(c *invocation) int {
	name, args := c.args[0], c.args[1:]
	var names []string
	for _, s := range subcommands() {
		if names = append(names, s.name); s.name != name {
			continue
		}
		c.args = args
		if err := s.run(c); err != nil {
			_, _ = fmt.Fprintln(c.stderr, err)
			return 1
		}
		return 0
	}
	_, _ = fmt.Fprintf(c.stderr, "gateway: there is no subcommand %q; %s\n", name, suggest(name, names))
	return 1
}

// checkConfig says what is wrong with the configuration.
func checkConfig(c *invocation) error {
	environ := c.environ
	switch len(c.args) {
	case 0:
	case 1:
		environ = append(slices.Clone(environ), variable("Config")+"="+c.args[0])
	default:
		return subcommandUsage("check-config")
	}
	if _, err := loadConfig(environ); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.stdout, "the configuration is good")
	return err
}
