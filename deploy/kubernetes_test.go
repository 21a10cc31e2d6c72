package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// objects are what a cluster has.
type objects struct {
	deployments []*appsv1.Deployment
	services    []*corev1.Service
	configs     []*corev1.ConfigMap
	secrets     []*corev1.Secret
}

// has returns all that was made.
func (c *cluster) has() *objects {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := &objects{}
	for _, o := range c.objects {
		switch o := o.(type) {
		case *appsv1.Deployment:
			all.deployments = append(all.deployments, o)
		case *corev1.Service:
			all.services = append(all.services, o)
		case *corev1.ConfigMap:
			all.configs = append(all.configs, o)
		case *corev1.Secret:
			all.secrets = append(all.secrets, o)
		}
	}
	return all
}

// pod is what the deployment runs.
func (o *objects) pod() *corev1.PodSpec { return &o.deployments[0].Spec.Template.Spec }

// gateway is the container that runs it.
func (o *objects) gateway(t *testing.T) *corev1.Container {
	t.Helper()
	for _, list := range [][]corev1.Container{o.pod().InitContainers, o.pod().Containers} {
		if i := slices.IndexFunc(list, func(c corev1.Container) bool { return c.Name == "wampgate" }); i >= 0 {
			return &list[i]
		}
	}
	t.Fatalf("deployment %s has no container wampgate", o.deployments[0].Name)
	return nil
}

func (o *objects) haveLeastPrivilege(t *testing.T) {
	pod := o.pod()
	s := pod.SecurityContext
	if s == nil || !*s.RunAsNonRoot || *s.RunAsUser != 65532 || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod's security context is %+v", s)
	}
	if *pod.EnableServiceLinks || *pod.AutomountServiceAccountToken {
		t.Error("service links or a service account's token are in the pod")
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		s := c.SecurityContext
		if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("the security context of %s is %+v", c.Name, s)
		}
	}
}

func (o *objects) areProbedAndDrained(t *testing.T) {
	c := o.gateway(t)
	for path, probe := range map[string]*corev1.Probe{"/startupz": c.StartupProbe, "/readyz": c.ReadinessProbe, "/livez": c.LivenessProbe} {
		if probe == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "ops" {
			t.Errorf("the probe of %s is %+v", path, probe)
		}
	}
	if !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == "ops" && p.ContainerPort == 8081 }) {
		t.Error("there is no port ops")
	}
	if got := c.Lifecycle.PreStop.Exec.Command; !slices.Equal(got, []string{"/gateway", "drain"}) {
		t.Errorf("preStop does %q", got)
	}
	if c.Resources.Limits.Memory().IsZero() {
		t.Error("no limit of memory, which the garbage collector would keep to")
	}
}

func (o *objects) beginWithSidecars(t *testing.T) {
	pod := o.pod()
	if len(pod.InitContainers) != 1 || *pod.InitContainers[0].RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("got %+v", pod.InitContainers)
	}
}

func (o *objects) areReached(t *testing.T) {
	for _, s := range o.services {
		labels := o.deployments[0].Spec.Template.Labels
		for k, v := range s.Spec.Selector {
			if labels[k] != v {
				t.Errorf("the pods have no label %s=%s", k, v)
			}
		}
		port := s.Spec.Ports[0].TargetPort.StrVal
		if !slices.ContainsFunc(o.gateway(t).Ports, func(p corev1.ContainerPort) bool { return p.Name == port }) {
			t.Errorf("the gateway has no port %s", port)
		}
	}
}

// haveWhatTheyName looks for the secrets and config maps without which pods would not start.
func (o *objects) haveWhatTheyName(t *testing.T) {
	for _, c := range slices.Concat(o.pod().InitContainers, o.pod().Containers) {
		for _, from := range c.EnvFrom {
			if from.SecretRef != nil {
				o.secret(t, from.SecretRef.Name)
			}
		}
		for _, m := range c.VolumeMounts {
			if !slices.ContainsFunc(o.pod().Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
				t.Errorf("%s mounts %s, which there is not", c.Name, m.Name)
			}
		}
	}
	for _, v := range o.pod().Volumes {
		if v.Secret != nil {
			for _, item := range v.Secret.Items {
				if len(o.secret(t, v.Secret.SecretName)[item.Key]) == 0 {
					t.Errorf("secret %s has no %s", v.Secret.SecretName, item.Key)
				}
			}
		}
		if v.ConfigMap != nil {
			o.config(t, v.ConfigMap.Name)
		}
	}
}

func (o *objects) secret(t *testing.T, name string) map[string][]byte {
	t.Helper()
	for _, s := range o.secrets {
		if s.Name == name {
			return s.Data
		}
	}
	t.Fatalf("there is no secret %s", name)
	return nil
}

func (o *objects) config(t *testing.T, name string) map[string]string {
	t.Helper()
	for _, m := range o.configs {
		if m.Name == name {
			return m.Data
		}
	}
	t.Fatalf("there is no config map %s", name)
	return nil
}

// check has the gateway itself check the variables of its container, and the file that is mounted.
func (o *objects) check(t *testing.T, program string) {
	t.Helper()
	c := o.gateway(t)
	cmd := exec.CommandContext(t.Context(), program, "check-config")
	cmd.Env = []string{}
	for _, from := range c.EnvFrom {
		for name, value := range o.secret(t, from.SecretRef.Name) {
			cmd.Env = append(cmd.Env, name+"="+string(value))
		}
	}
	for _, v := range c.Env {
		if v.Name == "WAMPGATE_CONFIG" || v.Name == "WAMPGATE_UPSTREAM_SECRET_FILE" {
			v.Value = o.mounted(t, c, v.Value)
		}
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

// mounted returns a file with what a container has at path, from its config map or secret.
func (o *objects) mounted(t *testing.T, c *corev1.Container, path string) string {
	t.Helper()
	dir, file := filepath.Split(path)
	at := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == strings.TrimSuffix(dir, "/") })
	if at < 0 {
		t.Fatalf("nothing is mounted at %s", dir)
	}
	for _, v := range o.pod().Volumes {
		if v.Name != c.VolumeMounts[at].Name {
			continue
		}
		var text []byte
		if v.ConfigMap != nil {
			text = []byte(o.config(t, v.ConfigMap.Name)[file])
		} else {
			item := slices.IndexFunc(v.Secret.Items, func(i corev1.KeyToPath) bool { return i.Path == file })
			text = o.secret(t, v.Secret.SecretName)[v.Secret.Items[item].Key]
		}
		if len(text) == 0 {
			break
		}
		name := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Fatalf("nothing has %s", path)
	return ""
}
