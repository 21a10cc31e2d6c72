package deploy_test

import (
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// objects are the Kubernetes objects of some manifests.
type objects struct {
	deployments []appsv1.Deployment
	services    []corev1.Service
	configs     []corev1.ConfigMap
}

// add decodes a document into the type that its kind names; a field that Kubernetes does not know is an error.
func (o *objects) add(t *testing.T, document []byte) {
	t.Helper()
	var head struct{ Kind, APIVersion string }
	if err := yaml.Unmarshal(document, &head); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	var err error
	switch head.APIVersion + " " + head.Kind {
	case "apps/v1 Deployment":
		var d appsv1.Deployment
		err = yaml.UnmarshalStrict(document, &d)
		o.deployments = append(o.deployments, d)
	case "v1 Service":
		var s corev1.Service
		err = yaml.UnmarshalStrict(document, &s)
		o.services = append(o.services, s)
	case "v1 ConfigMap":
		var c corev1.ConfigMap
		err = yaml.UnmarshalStrict(document, &c)
		o.configs = append(o.configs, c)
	default:
		t.Fatalf("this test knows no %s %s", head.APIVersion, head.Kind)
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
}

// kustomized builds a directory as kubectl apply -k does.
func kustomized(t *testing.T, dir string) *objects {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	o := &objects{}
	for _, r := range built.Resources() {
		o.add(t, []byte(r.MustYaml()))
	}
	return o
}

// helmed renders the chart as helm install does.
func helmed(values map[string]any) (map[string]string, error) {
	chart, err := loader.Load("helm/wampgate")
	if err != nil {
		return nil, err
	}
	v, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "main", Namespace: "default"}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, v)
}

func chart(t *testing.T, values map[string]any) *objects {
	t.Helper()
	files, err := helmed(values)
	if err != nil {
		t.Fatal(err)
	}
	o := &objects{}
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") {
			o.add(t, []byte(text))
		}
	}
	return o
}

// gatewayOf returns the container that runs the gateway.
func gatewayOf(t *testing.T, d *appsv1.Deployment) *corev1.Container {
	t.Helper()
	pod := &d.Spec.Template.Spec
	for _, list := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		if i := slices.IndexFunc(list, func(c corev1.Container) bool { return c.Name == "wampgate" }); i >= 0 {
			return &list[i]
		}
	}
	t.Fatalf("deployment %s has no container wampgate", d.Name)
	return nil
}

// everywhere are all ways to deploy.
func everywhere(t *testing.T) map[string]*objects {
	t.Helper()
	return map[string]*objects{
		"base":    kustomized(t, "kubernetes/base"),
		"sidecar": kustomized(t, "kubernetes/sidecar"),
		"chart":   chart(t, exampleValues(t)),
	}
}

func TestPodsHaveLeastPrivilege(t *testing.T) {
	for name, o := range everywhere(t) {
		if len(o.deployments) != 1 {
			t.Fatalf("%s: got %d deployments", name, len(o.deployments))
		}
		pod := &o.deployments[0].Spec.Template.Spec
		s := pod.SecurityContext
		if s == nil || !*s.RunAsNonRoot || *s.RunAsUser != 65532 || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: the pod's security context is %+v", name, s)
		}
		if *pod.EnableServiceLinks || *pod.AutomountServiceAccountToken {
			t.Errorf("%s: service links or a service account's token are in the pod", name)
		}
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			s := c.SecurityContext
			if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s: the security context of %s is %+v", name, c.Name, s)
			}
		}
	}
}

func TestGatewayIsProbedAndDrained(t *testing.T) {
	for name, o := range everywhere(t) {
		c := gatewayOf(t, &o.deployments[0])
		for path, probe := range map[string]*corev1.Probe{"/startupz": c.StartupProbe, "/readyz": c.ReadinessProbe, "/livez": c.LivenessProbe} {
			if probe == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "ops" {
				t.Errorf("%s: the probe of %s is %+v", name, path, probe)
			}
		}
		if !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == "ops" && p.ContainerPort == 8081 }) {
			t.Errorf("%s: there is no port ops", name)
		}
		if got := c.Lifecycle.PreStop.Exec.Command; !slices.Equal(got, []string{"/gateway", "drain"}) {
			t.Errorf("%s: preStop does %q", name, got)
		}
		if c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: no limit of memory, which the garbage collector would keep to", name)
		}
	}
}

func TestSidecarIsReadyBeforeTheServiceAndEndsAfterIt(t *testing.T) {
	pod := &kustomized(t, "kubernetes/sidecar").deployments[0].Spec.Template.Spec
	if len(pod.InitContainers) != 1 || *pod.InitContainers[0].RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("got %+v", pod.InitContainers)
	}
}

func TestServicesReachTheGateway(t *testing.T) {
	for name, o := range everywhere(t) {
		for _, s := range o.services {
			labels := o.deployments[0].Spec.Template.Labels
			for k, v := range s.Spec.Selector {
				if labels[k] != v {
					t.Errorf("%s: the pods have no label %s=%s", name, k, v)
				}
			}
			port := s.Spec.Ports[0].TargetPort.StrVal
			if !slices.ContainsFunc(gatewayOf(t, &o.deployments[0]).Ports, func(p corev1.ContainerPort) bool { return p.Name == port }) {
				t.Errorf("%s: the gateway has no port %s", name, port)
			}
		}
	}
}

func TestChartWithoutConfigurationSaysWhatIsMissing(t *testing.T) {
	if _, err := helmed(nil); err == nil || !strings.Contains(err.Error(), "config is required") {
		t.Errorf("got %v", err)
	}
}
