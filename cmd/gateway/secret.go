package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
)

// secret is a text of the configuration file that is told to nobody: the value itself, in which ${VARIABLE} is one of the environment and
// $${VARIABLE} stays as it is but for a $, or what {file: path} has.
type secret struct {
	text string
	file string
}

// UnmarshalJSON reads what stands in the file.
func (s *secret) UnmarshalJSON(data []byte) error {
	var from struct {
		File string `json:"file"`
	}
	if json.Unmarshal(data, &s.text) == nil {
		return nil
	}
	if err := json.Unmarshal(data, &from); err != nil {
		return errors.New("no secret")
	}
	s.file = from.File
	return nil
}

// String hides the secret from logs and messages.
func (s secret) String() string { return hidden }

// GoString hides it, too.
func (s secret) GoString() string { return hidden }

// maxSecret is how large a secret may be: a certificate's key, at the most.
const maxSecret = 64 << 10

var secretVariable = regexp.MustCompile(`\$?\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// resolve reads the variables, or the file.
func (s *secret) resolve(at place) {
	s.text = secretVariable.ReplaceAllStringFunc(s.text, func(found string) string {
		if strings.HasPrefix(found, "$$") {
			return found[1:]
		}
		name := found[2 : len(found)-1]
		value := at.problems.environ[name]
		if value == "" {
			at.bad("the variable %s is not set, or empty", name)
			return found
		}
		return value
	})
	switch {
	case s.file != "":
		at.problems.files = append(at.problems.files, s.file)
		text, err := readSecret(s.file)
		if err != nil {
			at.bad("%v", err)
		}
		s.text = text
	case s.text == "":
		at.bad("a secret may not be empty")
	}
}

func readSecret(name string) (string, error) {
	f, err := os.Open(name) //nolint:gosec // the operator names it
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	value := strings.TrimRight(string(text), "\r\n")
	switch {
	case err != nil:
		return "", err
	case value == "":
		return "", errors.New(name + " is empty")
	case len(text) > maxSecret:
		return "", errors.New(name + " is too large for a secret")
	}
	return value, nil
}
