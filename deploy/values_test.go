package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// exampleValues are what the chart is rendered with.
func exampleValues(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("helm/wampgate/ci-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// TestGatewayTakesWhatItIsDeployedWith has the gateway itself check the variables of its container, and the file that is mounted.
func TestGatewayTakesWhatItIsDeployedWith(t *testing.T) {
	gateway := filepath.Join(built(t), "gateway")
	for name, o := range everywhere(t) {
		ticket := filepath.Join(t.TempDir(), "ticket")
		if err := os.WriteFile(ticket, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		c := gatewayOf(t, &o.deployments[0])
		cmd := exec.CommandContext(t.Context(), gateway, "check-config")
		cmd.Env = []string{"SIDECAR_TICKET=secret"}
		for _, v := range c.Env {
			switch v.Name {
			case "WAMPGATE_CONFIG":
				v.Value = mounted(t, o, c, v.Value)
			case "WAMPGATE_UPSTREAM_SECRET_FILE":
				v.Value = ticket
			}
			cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
		}
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, said)
		}
	}
}

// mounted returns a file with what a container has at path, from its config map.
func mounted(t *testing.T, o *objects, c *corev1.Container, path string) string {
	t.Helper()
	dir, file := filepath.Split(path)
	at := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == strings.TrimSuffix(dir, "/") })
	if at < 0 {
		t.Fatalf("nothing is mounted at %s", dir)
	}
	for _, v := range o.deployments[0].Spec.Template.Spec.Volumes {
		if v.Name != c.VolumeMounts[at].Name {
			continue
		}
		for _, m := range o.configs {
			if text, ok := m.Data[file]; ok && m.Name == v.ConfigMap.Name {
				name := filepath.Join(t.TempDir(), file)
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return name
			}
		}
	}
	t.Fatalf("no config map has %s", file)
	return ""
}
