package deploy_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The guide is run as e2e/docs_test.go says; this is what that leaves to here. The first block of a page prepares a cluster, and each of the others is
// run in a cluster that was so prepared: they are ways to choose from.
var block = regexp.MustCompile("(?m)^<!-- (file: [^\\n]*|run by: deploy/docs_test\\.go) -->\\n+```[a-z]+\\n((?s:.*?))^```$")

const page = "../docs/kubernetes.md"

// readPage returns the files that a page has, and its blocks of commands.
func readPage(t *testing.T) (files map[string]string, commands []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		if name, ok := strings.CutPrefix(m[1], "file: "); ok {
			files[name] = m[2]
		} else {
			commands = append(commands, m[2])
		}
	}
	if len(commands) < 2 {
		t.Fatalf("%s has %q to run", page, commands)
	}
	return files, commands
}

// deployed runs what the guide says, and returns what the clusters have then, by the folder that it came from.
func deployed(t *testing.T) map[string]*objects {
	t.Helper()
	for _, program := range []string{"bash", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	files, commands := readPage(t)
	folder := regexp.MustCompile(`deploy/\S+`)
	all := map[string]*objects{}
	for _, way := range commands[1:] {
		c := newCluster(t)
		for name, text := range files {
			c.write(name, text)
		}
		for _, script := range []string{commands[0], way} {
			out, err := c.run(script)
			if err != nil {
				t.Fatalf("%v\n%s\nof\n%s", err, out, script)
			}
			expect(t, script, out)
		}
		all[path.Base(folder.FindString(way))] = c.has()
	}
	return all
}

// expect looks for what commands say that they answer: the lines that begin with #>, in their order.
func expect(t *testing.T, script, out string) {
	t.Helper()
	rest := out
	for line := range strings.Lines(script) {
		want, ok := strings.CutPrefix(line, "#> ")
		if !ok {
			continue
		}
		_, after, found := strings.Cut(rest, strings.TrimSpace(want))
		if !found {
			t.Errorf("the output lacks %q, or has it in another place:\n%s", strings.TrimSpace(want), out)
			return
		}
		rest = after
	}
}

// TestKubernetesTakesWhatTheGuideDeploys has kubectl and helm deploy, in all ways that the guide has.
func TestKubernetesTakesWhatTheGuideDeploys(t *testing.T) {
	all := deployed(t)
	gateway := filepath.Join(built(t), "gateway")
	for _, name := range []string{"base", "sidecar", "wampgate"} {
		t.Run(name, func(t *testing.T) {
			o := all[name]
			if o == nil || len(o.deployments) != 1 {
				t.Fatalf("got %+v", o)
			}
			t.Run("with least privilege", o.haveLeastPrivilege)
			t.Run("probed and drained", o.areProbedAndDrained)
			t.Run("reached by services", o.areReached)
			t.Run("with all that pods name", o.haveWhatTheyName)
			t.Run("so that the gateway takes its configuration", func(t *testing.T) { o.check(t, gateway) })
		})
	}
	t.Run("the chart's values are the configuration", func(t *testing.T) {
		files, _ := readPage(t)
		var values struct{ Config any }
		var config any
		if err := yaml.Unmarshal([]byte(files["my-values.yaml"]), &values); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(all["wampgate"].configs[0].Data["wampgate.yaml"]), &config); err != nil {
			t.Fatal(err)
		}
		if values.Config == nil || !reflect.DeepEqual(values.Config, config) {
			t.Errorf("got %v, want %v", config, values.Config)
		}
	})
	t.Run("the sidecar is ready before the service and ends after it", all["sidecar"].beginWithSidecars)
}

func TestChartWithoutConfigurationSaysWhatIsMissing(t *testing.T) {
	c := newCluster(t)
	if out, err := c.run("helm install wampgate deploy/helm/wampgate"); err == nil || !strings.Contains(out, "config is required") {
		t.Errorf("got %v\n%s", err, out)
	}
}
