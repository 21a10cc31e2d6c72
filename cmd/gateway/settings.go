package main

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// setting is one variable as a user sees it.
type setting struct {
	name, byDefault, help string
}

// settings lists what config's tags say, in their order.
func settings() []setting {
	var all []setting
	for field := range reflect.TypeFor[config]().Fields() {
		if field.Tag.Get("env") == "" {
			continue
		}
		all = append(all, setting{
			name:      prefix + field.Tag.Get("env"),
			byDefault: field.Tag.Get("envDefault"),
			help:      field.Tag.Get("help"),
		})
	}
	return all
}

// variable returns the name of the variable that sets a field of config.
func variable(field string) string {
	f, ok := reflect.TypeFor[config]().FieldByName(field)
	if !ok {
		return field
	}
	return prefix + f.Tag.Get("env")
}

func printHelp(w io.Writer) {
	_, _ = fmt.Fprint(w, `wampgate: a WAMP router and its HTTP gateway.

usage: gateway [-help] [-version]
`)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range subcommands() {
		_, _ = fmt.Fprintf(table, "       gateway %s\t%s\n", strings.TrimSpace(s.name+" "+s.usage), s.help)
	}
	_ = table.Flush()
	_, _ = fmt.Fprint(w, `
Everything is set by environment variables; none is needed. Durations are written as 500ms, 30s or 5m, sizes as 65536,
64KiB or 16MiB. An empty value is the default. The file that WAMPGATE_CONFIG names may have the same under "settings", in lower
case and without WAMPGATE_: the environment wins over it, and what the file says of one realm wins over both.

`)
	for _, s := range settings() {
		byDefault := s.byDefault
		if byDefault == "" {
			byDefault = "unset"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", s.name, byDefault, s.help)
	}
	_ = table.Flush()
}

// nearest returns the known name with the fewest edits from a wrong one.
func nearest(name string, known []setting) string {
	best, least := "", -1
	for _, s := range known {
		if d := distance(strings.ToUpper(name), s.name); least < 0 || d < least {
			best, least = s.name, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
