package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// size is a number of bytes, written as 65536 or 64KiB.
type size int

// maxSize fits into an int everywhere, and nothing the gateway holds for one peer should be larger.
const maxSize = 1 << 30

// UnmarshalText reads a size.
func (s *size) UnmarshalText(text []byte) error {
	digits, shift := string(text), 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(digits, unit); ok {
			digits, shift = strings.TrimSpace(rest), 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 1 || n > maxSize>>shift {
		return fmt.Errorf("%q is no size; want bytes from 1 to 1GiB, such as 65536, 64KiB or 16MiB", text)
	}
	*s = size(n << shift)
	return nil
}

// count is a number of things, at least one.
type count int

// UnmarshalText reads a count.
func (c *count) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no count; want a number from 1 up", text)
	}
	*c = count(n)
	return nil
}

// UnmarshalJSON reads a size as the configuration file has it: a number, or a text with a unit.
func (s *size) UnmarshalJSON(data []byte) error { return s.UnmarshalText(bytes.Trim(data, `"`)) }

// UnmarshalJSON reads a count as the configuration file has it.
func (c *count) UnmarshalJSON(data []byte) error { return c.UnmarshalText(data) }

// duration is a time.Duration of the configuration file.
type duration time.Duration

// UnmarshalText reads a duration.
func (d *duration) UnmarshalText(text []byte) error {
	v, err := parseDuration(string(text))
	if err == nil {
		*d = duration(v.(time.Duration)) //nolint:errcheck,forcetypeassert // it is one
	}
	return err
}
