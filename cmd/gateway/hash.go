package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// craIterations are how often gateway hash has the client hash. [OWASP's advice for PBKDF2 with SHA-256, 2023, would be 600,000: a
// browser's JavaScript takes a second for that]
const craIterations = 100_000

// hash makes what the configuration file has of a password. The password is not an argument: those are seen by others.
func hash(c *invocation) error {
	kinds := map[string]func(password string, out io.Writer) error{"wampcra": hashCRA, "scram": hashSCRAM}
	if len(c.args) != 1 || kinds[c.args[0]] == nil {
		return subcommandUsage("hash")
	}
	password, err := readPassword(c)
	if err != nil {
		return err
	}
	return kinds[c.args[0]](password, c.stdout)
}

// maxPassword is how long a password may be.
const maxPassword = 4096

// readPassword reads a line from the input; a terminal does not show it.
func readPassword(c *invocation) (string, error) {
	var password string
	if fd := int(c.stdin.Fd()); term.IsTerminal(fd) {
		_, _ = fmt.Fprint(c.stderr, "password: ")
		b, err := term.ReadPassword(fd)
		_, _ = fmt.Fprintln(c.stderr)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		password = string(b)
	} else {
		line, err := bufio.NewReader(io.LimitReader(c.stdin, maxPassword+2)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		password = strings.TrimRight(line, "\r\n")
	}
	if password == "" || len(password) > maxPassword {
		return "", fmt.Errorf("gateway: the password has to have 1 to %d octets", maxPassword)
	}
	return password, nil
}

func hashCRA(password string, out io.Writer) error {
	salt := auth.CRASalt{Salt: auth.Nonce(), Iterations: craIterations, KeyLen: 32}
	key, err := salt.Key(password)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "wampcra:\n  secret: %q\n  salt: %q\n  iterations: %d\n  keylen: %d\n", key, salt.Salt, salt.Iterations, salt.KeyLen)
	return err
}

func hashSCRAM(password string, out io.Writer) error {
	c, err := auth.NewSCRAMCredential(password, auth.NewSCRAMParams())
	if err != nil {
		return err
	}
	b64 := base64.StdEncoding.EncodeToString
	_, err = fmt.Fprintf(out, "scram:\n  kdf: %s\n  salt: %q\n  iterations: %d\n  memory: %d\n  stored_key: %q\n  server_key: %q\n",
		c.KDF, b64(c.Salt), c.Iterations, c.Memory, b64(c.StoredKey), b64(c.ServerKey))
	return err
}

// keygen makes a key pair for cryptosign, or an API key.
func keygen(c *invocation) error {
	switch {
	case len(c.args) == 1 && c.args[0] == "cryptosign":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "public key, for the principal's cryptosign in the file: %s\nprivate key, for the client, and nobody else: %s\n",
			hex.EncodeToString(public), hex.EncodeToString(private.Seed()))
		return err
	case len(c.args) == 2 && c.args[0] == "api-key":
		if err := httpapi.CheckAPIKeyID(c.args[1]); err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
		key, hash := httpapi.NewAPIKey(c.args[1])
		_, err := fmt.Fprintf(c.stdout, "api_keys:\n  %q: {hash: %q}\n# the key, for the client, and nobody else: %s\n", c.args[1], hash, key)
		return err
	default:
		return subcommandUsage("keygen")
	}
}
