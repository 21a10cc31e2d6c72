package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	openapiv3 "github.com/google/gnostic-models/openapiv3"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/openapi/openapitest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"sigs.k8s.io/yaml"
)

// cluster is a stand-in for an API server, as no cluster is at hand, and no container engine that one could be run by. It takes objects as
// Kubernetes does, by Kubernetes' own code: a field that it does not know is refused, defaults are filled in, what comes of that is validated. Then
// it keeps them, and that is all: there are no users, nothing is admitted, scheduled, or run.
type cluster struct {
	*httptest.Server
	tb  testing.TB
	dir string // the home of who uses it

	mu      sync.Mutex
	objects map[string]runtime.Object // by their paths, in their versions
}

// taken are the kinds that the cluster takes, by their names in paths.
var taken = map[string]schema.GroupVersionKind{ //nolint:gochecknoglobals // a constant table
	"secrets":     corev1.SchemeGroupVersion.WithKind("Secret"),
	"configmaps":  corev1.SchemeGroupVersion.WithKind("ConfigMap"),
	"services":    corev1.SchemeGroupVersion.WithKind("Service"),
	"deployments": appsv1.SchemeGroupVersion.WithKind("Deployment"),
}

// strict refuses fields that there are not, and those that are there twice.
var strict = serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict) //nolint:gochecknoglobals // a constant

func newCluster(tb testing.TB) *cluster {
	tb.Helper()
	c := &cluster{tb: tb, dir: tb.TempDir(), objects: map[string]runtime.Object{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", c.version)
	mux.HandleFunc("GET /api", c.versions)
	mux.HandleFunc("GET /apis", c.groups)
	mux.HandleFunc("GET /openapi/v3", c.schemas)
	mux.HandleFunc("GET /openapi/v3/{path...}", c.schema)
	for _, gv := range []schema.GroupVersion{corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion} {
		root := "/" + pathOf(gv)
		mux.HandleFunc("GET "+root, c.resources(gv))
		all := root + "/namespaces/{namespace}/{resource}"
		mux.HandleFunc("GET "+all, c.list)
		mux.HandleFunc("POST "+all, c.create)
		mux.HandleFunc("GET "+all+"/{name}", c.get)
		mux.HandleFunc("PUT "+all+"/{name}", c.update)
		mux.HandleFunc("PATCH "+all+"/{name}", c.apply)
	}
	c.Server = httptest.NewServer(mux)
	tb.Cleanup(c.Close)
	return c
}

func pathOf(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "api/" + gv.Version
	}
	return "apis/" + gv.String()
}

func (c *cluster) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		c.tb.Error(err)
	}
}

func (c *cluster) refuse(w http.ResponseWriter, err error) {
	status := apierrors.NewInternalError(err).Status()
	if s, ok := err.(apierrors.APIStatus); ok {
		status = s.Status()
	}
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	c.answer(w, int(status.Code), &status)
}

func (c *cluster) version(w http.ResponseWriter, _ *http.Request) {
	c.answer(w, http.StatusOK, version.Info{Major: "1", Minor: "37", GitVersion: "v1.37.2"})
}

func (c *cluster) versions(w http.ResponseWriter, _ *http.Request) {
	c.answer(w, http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
}

func (c *cluster) groups(w http.ResponseWriter, _ *http.Request) {
	v := metav1.GroupVersionForDiscovery{GroupVersion: "apps/v1", Version: "v1"}
	c.answer(w, http.StatusOK, metav1.APIGroupList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"},
		Groups:   []metav1.APIGroup{{Name: "apps", Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}},
	})
}

func (c *cluster) resources(gv schema.GroupVersion) http.HandlerFunc {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv.String()}
	for name, gvk := range taken {
		if gvk.GroupVersion() == gv {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: name, SingularName: strings.ToLower(gvk.Kind), Namespaced: true, Kind: gvk.Kind, Verbs: metav1.Verbs{"create", "get", "list", "patch", "update"},
			})
		}
	}
	return func(w http.ResponseWriter, _ *http.Request) { c.answer(w, http.StatusOK, list) }
}

// published are the schemas of Kubernetes itself, of those versions that its client library has a copy of.
func (c *cluster) published() map[string]openapi.GroupVersion {
	paths, err := openapitest.NewEmbeddedFileClient().Paths()
	if err != nil {
		c.tb.Error(err)
	}
	return paths
}

func (c *cluster) schemas(w http.ResponseWriter, _ *http.Request) {
	all := map[string]any{}
	for path := range c.published() {
		all[path] = map[string]string{"serverRelativeURL": "/openapi/v3/" + path}
	}
	c.answer(w, http.StatusOK, map[string]any{"paths": all})
}

func (c *cluster) schema(w http.ResponseWriter, r *http.Request) {
	gv, ok := c.published()[r.PathValue("path")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	text, err := gv.Schema(runtime.ContentTypeJSON)
	kind := runtime.ContentTypeJSON
	if err == nil && strings.HasPrefix(r.Header.Get("Accept"), openapi.ContentTypeOpenAPIV3PB) {
		var d *openapiv3.Document
		if d, err = openapiv3.ParseDocument(text); err == nil {
			kind = openapi.ContentTypeOpenAPIV3PB
			text, err = proto.Marshal(d)
		}
	}
	if err != nil {
		c.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(text)
}

// create takes a new object.
func (c *cluster) create(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.refuse(w, err)
		return
	}
	o, err := accept(r, body)
	if err != nil {
		c.refuse(w, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	path := r.URL.Path + "/" + nameOf(o)
	if c.objects[path] != nil {
		c.refuse(w, apierrors.NewAlreadyExists(schema.GroupResource{Resource: r.PathValue("resource")}, nameOf(o)))
		return
	}
	c.objects[path] = o
	c.answer(w, http.StatusCreated, o)
}

// update replaces an object.
func (c *cluster) update(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.refuse(w, err)
		return
	}
	o, err := accept(r, body)
	if err != nil {
		c.refuse(w, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.objects[r.URL.Path] == nil || nameOf(o) != r.PathValue("name") {
		c.refuse(w, apierrors.NewNotFound(schema.GroupResource{Resource: r.PathValue("resource")}, nameOf(o)))
		return
	}
	c.objects[r.URL.Path] = o
	c.answer(w, http.StatusOK, o)
}

// apply is server-side apply, of objects that are not there yet.
func (c *cluster) apply(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != string(types.ApplyYAMLPatchType) {
		c.refuse(w, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", schema.GroupResource{}, "", kind+" is not of this stand-in", 0, true))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = yaml.YAMLToJSONStrict(body)
	}
	if err != nil {
		c.refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	o, err := accept(r, body)
	if err != nil {
		c.refuse(w, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.objects[r.URL.Path] != nil || nameOf(o) != r.PathValue("name") {
		c.refuse(w, apierrors.NewConflict(schema.GroupResource{Resource: r.PathValue("resource")}, nameOf(o), errors.New("the stand-in merges nothing")))
		return
	}
	c.objects[r.URL.Path] = o
	c.answer(w, http.StatusCreated, o)
}

func (c *cluster) get(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[r.URL.Path]
	if o == nil {
		c.refuse(w, apierrors.NewNotFound(schema.GroupResource{Resource: r.PathValue("resource")}, r.PathValue("name")))
		return
	}
	c.answer(w, http.StatusOK, o)
}

func (c *cluster) list(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		c.refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	gvk := taken[r.PathValue("resource")]
	items := []runtime.Object{}
	for path, o := range c.objects {
		if strings.HasPrefix(path, r.URL.Path+"/") && selector.Matches(labels.Set(metaOf(o).GetLabels())) {
			items = append(items, o)
		}
	}
	c.answer(w, http.StatusOK, map[string]any{"apiVersion": gvk.GroupVersion().String(), "kind": gvk.Kind + "List", "metadata": metav1.ListMeta{}, "items": items})
}

// accept decodes an object, fills in what it leaves open, and validates it.
func accept(r *http.Request, body []byte) (runtime.Object, error) {
	gvk := taken[r.PathValue("resource")]
	internal, got, err := strict.UniversalDecoder().Decode(body, &gvk, nil)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if *got != gvk {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("a %s among %s", got, r.PathValue("resource")))
	}
	m := metaOf(internal)
	if m.GetNamespace() == "" {
		m.SetNamespace(r.PathValue("namespace"))
	}
	m.SetUID(types.UID(uuid.NewString()))
	m.SetCreationTimestamp(metav1.NewTime(time.Now()))
	if errs := validate(internal); len(errs) != 0 {
		return nil, apierrors.NewInvalid(gvk.GroupKind(), m.GetName(), errs)
	}
	return legacyscheme.Scheme.ConvertToVersion(internal, gvk.GroupVersion())
}

func validate(o runtime.Object) field.ErrorList {
	switch o := o.(type) {
	case *core.Secret:
		return corevalidation.ValidateSecret(o)
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(o)
	case *core.Service:
		return corevalidation.ValidateServiceCreate(o)
	case *apps.Deployment:
		return appsvalidation.ValidateDeployment(o, pod.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil))
	}
	return field.ErrorList{field.InternalError(nil, fmt.Errorf("the stand-in knows no %T", o))}
}

func metaOf(o runtime.Object) metav1.Object {
	m, err := meta.Accessor(o)
	if err != nil {
		panic(err) // it has been decoded to one of those taken
	}
	return m
}

func nameOf(o runtime.Object) string { return metaOf(o).GetName() }

// run has a shell run commands in a folder with the repository's deploy, where kubectl and helm are those of this program.
func (c *cluster) run(script string) (string, error) {
	c.tb.Helper()
	self, err := os.Executable()
	if err != nil {
		c.tb.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		c.tb.Fatal(err)
	}
	bin := c.tb.TempDir()
	for link, target := range map[string]string{filepath.Join(bin, "kubectl"): self, filepath.Join(bin, "helm"): self, filepath.Join(c.dir, "deploy"): here} {
		if err := os.Symlink(target, link); err != nil && !os.IsExist(err) {
			c.tb.Fatal(err)
		}
	}
	config := filepath.Join(c.dir, "kubeconfig")
	c.write("kubeconfig", "apiVersion: v1\nkind: Config\nclusters: [{name: here, cluster: {server: '"+c.URL+"'}}]\n"+
		"contexts: [{name: here, context: {cluster: here, user: me}}]\nusers: [{name: me, user: {}}]\ncurrent-context: here\n")
	cmd := exec.CommandContext(c.tb.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+c.dir, "KUBECONFIG="+config)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) write(name, text string) {
	c.tb.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.tb.Fatal(err)
	}
}

func TestClusterRefusesWhatKubernetesRefuses(t *testing.T) {
	const good = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers:
        - name: a
          image: a
          ports: [{name: http, containerPort: 80}]
`
	c := newCluster(t)
	for name, change := range map[string]struct{ from, to, says string }{
		"a field that there is not":    {"image: a", "imaeg: a", `unknown field "spec.template.spec.containers[0].imaeg"`},
		"a value of another kind":      {"containerPort: 80", "containerPort: eighty", "cannot unmarshal"},
		"a port that there cannot be":  {"containerPort: 80", "containerPort: 80000", "must be between 1 and 65535"},
		"a selector of other pods":     {"matchLabels: {app: a}", "matchLabels: {app: b}", "`selector` does not match template `labels`"},
		"a name that is none":          {"metadata: {name: a}", "metadata: {name: A_}", "a lowercase RFC 1123 subdomain"},
		"a container without an image": {"image: a", "args: []", "spec.template.spec.containers[0].image: Required value"},
	} {
		if !strings.Contains(good, change.from) {
			t.Fatalf("there is no %q", change.from)
		}
		c.write("a.yaml", strings.Replace(good, change.from, change.to, 1))
		if out, err := c.run("kubectl apply -f a.yaml"); err == nil || !strings.Contains(out, change.says) {
			t.Errorf("%s: got %v, %s", name, err, out)
		}
	}
	c.write("a.yaml", good)
	if out, err := c.run("kubectl apply -f a.yaml"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
