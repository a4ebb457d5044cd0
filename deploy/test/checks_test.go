package deploy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// problems is what a check has found.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// checkConfined: no container can write its file system, become root or do what root may, and no pod has a Kubernetes credential.
func (m *manifests) checkConfined() (found problems) {
	for _, p := range m.pods {
		s := p.spec.SecurityContext
		switch {
		case s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0:
			found.add("%s may run as root", p.name)
		case s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
			found.add("%s has no seccomp profile", p.name)
		}
		if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
			found.add("%s has a service account's token", p.name)
		}
		if p.spec.EnableServiceLinks == nil || *p.spec.EnableServiceLinks {
			found.add("%s gets variables of Services, which may be names of flags", p.name)
		}
		for _, c := range p.containers() {
			s := c.SecurityContext
			switch {
			case s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation:
				found.add("%s, %s: privileges may grow", p.name, c.Name)
			case s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem:
				found.add("%s, %s: the root file system is writable", p.name, c.Name)
			case s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0:
				found.add("%s, %s has capabilities", p.name, c.Name)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				found.add("%s, %s: no requests or no memory limit", p.name, c.Name)
			}
		}
	}
	return found
}

// checkVolumes: what is mounted is there, and each pod has the credentials of its role and no others.
func (m *manifests) checkVolumes() (found problems) {
	credentials := map[string]string{
		"Deployment keyherald-issuer": "issuer", "Deployment keyherald-registry": "issuer operator", "Job keyherald-init": "admin",
		"StatefulSet nats": "tls", "Deployment orders": "verifier",
	}
	for _, p := range m.pods {
		var volumes, secrets []string
		for _, v := range p.spec.Volumes {
			volumes = append(volumes, v.Name)
			// Of the secret with NATS' certificate only NATS itself has more than the authority.
			if v.Secret != nil && (v.Secret.SecretName != "keyherald-nats-tls" || len(v.Secret.Items) != 1 || v.Secret.Items[0].Key != "ca.crt") {
				secrets = append(secrets, strings.TrimPrefix(v.Secret.SecretName, "keyherald-nats-"))
			}
		}
		slices.Sort(secrets)
		if have := strings.Join(secrets, " "); have != credentials[p.name] {
			found.add("%s has the credentials %q, want %q", p.name, have, credentials[p.name])
		}
		for _, c := range p.containers() {
			for _, mount := range c.VolumeMounts {
				if !slices.Contains(volumes, mount.Name) {
					found.add("%s, %s mounts %s, which is not there", p.name, c.Name, mount.Name)
				}
			}
			for _, file := range m.files(c) {
				if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
					return strings.HasPrefix(file, m.MountPath+"/") || file == m.MountPath
				}) {
					found.add("%s, %s: nothing is mounted where %s is", p.name, c.Name, file)
				}
			}
		}
	}
	return found
}

// files returns the absolute paths in a container's arguments and variables.
func (m *manifests) files(c corev1.Container) (paths []string) {
	for _, arg := range slices.Concat(c.Command, c.Args) {
		if _, value, ok := strings.Cut(arg, "="); ok {
			arg = strings.TrimPrefix(value, "unix:")
		}
		if strings.HasPrefix(arg, "/") {
			paths = append(paths, arg)
		}
	}
	for _, value := range m.variables(c) {
		if strings.HasPrefix(value, "/") {
			paths = append(paths, value)
		}
	}
	return paths
}

// checkFlags: the flags and variables of our containers are in the help of the command.
func (m *manifests) checkFlags(help func(command string) string) (found problems) {
	for _, p := range m.pods {
		for _, c := range p.containers() {
			if !strings.Contains(c.Image, "/keyherald:") {
				continue
			}
			text := help(c.Args[0])
			for _, arg := range c.Args[1:] {
				if flag, _, ok := strings.Cut(arg, "="); !ok || !strings.Contains(text, " "+flag+"=") {
					found.add("%s, %s: keyherald %s has no flag %s", p.name, c.Name, c.Args[0], flag)
				}
			}
			for name := range m.variables(c) { // of one ConfigMap for serve and init
				if strings.HasPrefix(name, "KEYHERALD_") && !strings.Contains(text, "$"+name+")") && !(c.Args[0] == "init" && name == "KEYHERALD_ISSUER") {
					found.add("%s, %s: keyherald %s has no variable %s", p.name, c.Name, c.Args[0], name)
				}
			}
		}
	}
	return found
}

// variables returns a container's variables, also those of ConfigMaps.
func (m *manifests) variables(c corev1.Container) map[string]string {
	all := map[string]string{}
	for _, from := range c.EnvFrom {
		for _, config := range m.configs {
			if config.Name == from.ConfigMapRef.Name {
				maps.Copy(all, config.Data)
			}
		}
	}
	for _, v := range c.Env {
		all[v.Name] = v.Value
	}
	return all
}

// checkSelectors: Services, budgets and policies select pods that there are, name ports that these have, and no budget keeps a node from
// being drained.
func (m *manifests) checkSelectors() (found problems) {
	for _, s := range m.services {
		pods, err := m.selected(s.Namespace, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		if err != nil || len(pods) != 1 {
			found.add("Service %s selects the pods of %d objects: %v", s.Name, len(pods), err)
		}
		for _, port := range s.Spec.Ports {
			target := port.TargetPort
			if target == (intstr.IntOrString{}) {
				target = intstr.FromInt32(port.Port)
			}
			for _, p := range pods {
				if !p.has(target) {
					found.add("Service %s: %s has no port %s", s.Name, p.name, target.String())
				}
			}
		}
	}
	for _, b := range m.budgets {
		pods, err := m.selected(b.Namespace, b.Spec.Selector)
		if err != nil || len(pods) != 1 || pods[0].replicas < 2 || b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.IntValue() != 1 {
			found.add("PodDisruptionBudget %s is for %v: %v", b.Name, pods, err)
		}
	}
	for _, p := range m.policies {
		pods, err := m.selected(p.Namespace, &p.Spec.PodSelector)
		if err != nil || len(pods) == 0 {
			found.add("NetworkPolicy %s selects nothing: %v", p.Name, err)
		}
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				for _, to := range pods {
					if !to.has(*port.Port) {
						found.add("NetworkPolicy %s: %s has no port %s", p.Name, to.name, port.Port)
					}
				}
			}
		}
	}
	return found
}

func (p pod) has(port intstr.IntOrString) bool {
	for _, c := range p.containers() {
		for _, have := range c.Ports {
			if port.Type == intstr.String && have.Name == port.StrVal || port.Type == intstr.Int && have.ContainerPort == port.IntVal {
				return true
			}
		}
	}
	return false
}

// checkProbes: each container that answers has the probes that it needs, on ports that it has; answers says whether a path is served.
func (m *manifests) checkProbes(answers func(c corev1.Container, path string) bool) (found problems) {
	for _, p := range m.pods {
		for _, c := range p.containers() {
			probes := map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe}
			for kind, probe := range probes {
				if probe == nil {
					if len(c.Ports) > 0 && kind != "startup" {
						found.add("%s, %s has no %s probe", p.name, c.Name, kind)
					}
					continue
				}
				port := intstr.IntOrString{}
				if probe.HTTPGet != nil {
					port = probe.HTTPGet.Port
					if !answers(c, probe.HTTPGet.Path) {
						found.add("%s, %s does not answer %s", p.name, c.Name, probe.HTTPGet.Path)
					}
				} else if probe.TCPSocket != nil {
					port = probe.TCPSocket.Port
				}
				if !(pod{spec: corev1.PodSpec{Containers: []corev1.Container{c}}}).has(port) {
					found.add("%s, %s: its %s probe asks port %s", p.name, c.Name, kind, port.String())
				}
			}
			if r := c.ReadinessProbe; r != nil && r.HTTPGet != nil && strings.Contains(c.Image, "keyherald") && r.HTTPGet.Path != "/readyz" {
				found.add("%s, %s is ready by %s", p.name, c.Name, r.HTTPGet.Path)
			}
		}
	}
	return found
}

// checkImage: our containers run the image of deploy/Dockerfile as its user, by its entry point.
func (m *manifests) checkImage(dockerfile string) (found problems) {
	if !strings.Contains(dockerfile, "FROM scratch AS base\n") || !strings.Contains(dockerfile, "\nFROM base AS keyherald\n") || !strings.Contains(dockerfile, "\nENTRYPOINT [\"/keyherald\"]\n") {
		found.add("deploy/Dockerfile makes another image")
	}
	for _, p := range m.pods {
		for _, c := range p.containers() {
			if !strings.Contains(c.Image, "/keyherald:") {
				continue
			}
			s := p.spec.SecurityContext
			if s == nil || s.RunAsUser == nil || s.RunAsGroup == nil || !strings.Contains(dockerfile, fmt.Sprintf("\nUSER %d:%d\n", *s.RunAsUser, *s.RunAsGroup)) {
				found.add("%s, %s does not run as the image's user", p.name, c.Name)
			}
			if len(c.Command) > 0 {
				found.add("%s, %s has another command than the image", p.name, c.Name)
			}
		}
	}
	return found
}

// checkReach: whoever talks to NATS may, the address is that of the Service, and NATS' authority is trusted for NATS and for nothing else.
func (m *manifests) checkReach() (found problems) {
	const at = "tls://nats.keyherald.svc.cluster.local:4222"
	for _, p := range m.pods {
		for _, c := range p.containers() {
			variables := m.variables(c)
			for _, name := range []string{"SSL_CERT_DIR", "SSL_CERT_FILE"} {
				if _, given := variables[name]; given {
					found.add("%s, %s trusts %s for everything", p.name, c.Name, variables[name])
				}
			}
			url, given := variables["KEYHERALD_NATS"]
			if !given {
				continue
			}
			if url != at {
				found.add("%s, %s: NATS is at %s, not at %s", p.name, c.Name, at, url)
			}
			if ca := variables["KEYHERALD_NATS_TLS_CA"]; path.Base(ca) != "ca.crt" {
				found.add("%s, %s has the authority of NATS in %q", p.name, c.Name, ca)
			}
			if p.labels["keyherald/nats-client"] != "true" {
				found.add("%s is not let in by NATS' NetworkPolicy", p.name)
			}
			if !m.mayReach(p, 4222) || !m.mayReach(p, 53) {
				found.add("%s may not talk to NATS or ask for names", p.name)
			}
		}
	}
	return found
}

// mayReach reports whether a policy lets a pod talk to a port, and to no more than pods, DNS and public addresses.
func (m *manifests) mayReach(p pod, port int32) bool {
	for _, policy := range m.policies {
		pods, err := m.selected(policy.Namespace, &policy.Spec.PodSelector)
		if err != nil || !slices.ContainsFunc(pods, func(q pod) bool { return q.name == p.name }) {
			continue
		}
		for _, rule := range policy.Spec.Egress {
			for _, to := range rule.Ports {
				if len(rule.To) > 0 && to.Port.IntVal == port {
					return true
				}
			}
		}
	}
	return false
}
