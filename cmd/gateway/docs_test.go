package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// yamlBlock is an example in a page of the documentation.
var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// TestExamplesOfTheConfigurationAreGood checks all that are in pages and folders: the blocks of YAML that have a section of the file.
func TestExamplesOfTheConfigurationAreGood(t *testing.T) {
	sections := regexp.MustCompile(`(?m)^(` + strings.Join(properties(t, ""), "|") + `):`)
	examples := map[string]string{}
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md", "../../deploy/*.md", "../../deploy/*/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range yamlBlock.FindAllStringSubmatchIndex(string(text), -1) {
				if block := string(text[m[2]:m[3]]); sections.MatchString(block) {
					examples[fmt.Sprintf("%s:%d", page, 2+strings.Count(string(text[:m[0]]), "\n"))] = block
				}
			}
		}
	}
	for _, pattern := range []string{"../../examples/*.yaml", "../../deploy/*/wampgate*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			examples[name] = string(text)
		}
	}
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("a-secret-of-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`\$\{([A-Z_a-z0-9]+)\}`)
	for where, text := range examples {
		var environ []string
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			value := strings.Repeat("5a", 32)
			if strings.Contains(m[1], "HOOK") {
				value = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
			}
			environ = append(environ, m[1]+"="+value)
		}
		text = regexp.MustCompile(`/run/secrets/[a-z0-9-]+`).ReplaceAllString(text, filepath.Join(dir, "secret"))
		if status, _, errs := says(t, environ, "", "check-config", written(t, text)); status != 0 {
			t.Errorf("%s:\n%s", where, errs)
		}
	}
}
