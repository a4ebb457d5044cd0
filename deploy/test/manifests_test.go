package deploy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// manifests is what kustomize builds of all that is in deploy/kubernetes, as Kubernetes' own types.
type manifests struct {
	pods     []pod
	services []corev1.Service
	budgets  []policyv1.PodDisruptionBudget
	policies []networkingv1.NetworkPolicy
	configs  []corev1.ConfigMap
}

// pod is a pod that some object makes.
type pod struct {
	name      string // kind and name of the object
	namespace string
	replicas  int32
	labels    labels.Set
	spec      corev1.PodSpec
}

// containers returns all of them.
func (p pod) containers() []corev1.Container {
	return slices.Concat(p.spec.InitContainers, p.spec.Containers)
}

// build runs kustomize on the directories, as kubectl apply -k does.
func build(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"base", "nats", "gate-sidecar"} {
		made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../kubernetes/"+dir)
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		text, err := made.AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("---\n" + string(text))
	}
	return all.String()
}

// decode reads every object strictly: a member that its type does not have, or twice, is an error.
func decode(text string) (*manifests, error) {
	m := &manifests{}
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		if strings.TrimSpace(document) == "" {
			continue
		}
		if err := m.add([]byte(document)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *manifests) add(document []byte) error {
	var what metav1.PartialObjectMetadata
	if err := yaml.Unmarshal(document, &what); err != nil {
		return err
	}
	strict := func(into any) error {
		if err := yaml.UnmarshalStrict(document, into); err != nil {
			return fmt.Errorf("%s %s: %w", what.Kind, what.Name, err)
		}
		return nil
	}
	workload := func(replicas *int32, template corev1.PodTemplateSpec) {
		n := int32(1)
		if replicas != nil {
			n = *replicas
		}
		m.pods = append(m.pods, pod{what.Kind + " " + what.Name, what.Namespace, n, template.Labels, template.Spec})
	}
	switch what.APIVersion + " " + what.Kind {
	case "v1 Namespace":
		return strict(&corev1.Namespace{})
	case "v1 ServiceAccount":
		return strict(&corev1.ServiceAccount{})
	case "apps/v1 Deployment":
		var o appsv1.Deployment
		err := strict(&o)
		workload(o.Spec.Replicas, o.Spec.Template)
		return err
	case "apps/v1 StatefulSet":
		var o appsv1.StatefulSet
		err := strict(&o)
		for _, claim := range o.Spec.VolumeClaimTemplates {
			o.Spec.Template.Spec.Volumes = append(o.Spec.Template.Spec.Volumes, corev1.Volume{Name: claim.Name})
		}
		workload(o.Spec.Replicas, o.Spec.Template)
		return err
	case "batch/v1 Job":
		var o batchv1.Job
		err := strict(&o)
		workload(nil, o.Spec.Template)
		return err
	case "v1 Service":
		return addStrict(&m.services, strict)
	case "policy/v1 PodDisruptionBudget":
		return addStrict(&m.budgets, strict)
	case "networking.k8s.io/v1 NetworkPolicy":
		return addStrict(&m.policies, strict)
	case "v1 ConfigMap":
		return addStrict(&m.configs, strict)
	}
	return fmt.Errorf("%s %s of %s: no type of this name is known here", what.Kind, what.Name, what.APIVersion)
}

func addStrict[T any](list *[]T, strict func(any) error) error {
	var o T
	err := strict(&o)
	*list = append(*list, o)
	return err
}

// selected returns the pods of a namespace (empty: of any) that a selector selects.
func (m *manifests) selected(namespace string, selector *metav1.LabelSelector) (pods []pod, err error) {
	s, err := metav1.LabelSelectorAsSelector(selector)
	for _, p := range m.pods {
		if err == nil && (namespace == "" || p.namespace == namespace) && s.Matches(p.labels) {
			pods = append(pods, p)
		}
	}
	return pods, err
}
