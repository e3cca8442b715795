package inject

// The part of Kubernetes' API that a sidecar is written in, with its names.

type spec struct {
	InitContainers []container `yaml:"initContainers"`
	Volumes        []volume    `yaml:"volumes"`
}

type container struct {
	Name          string     `yaml:"name"`
	Image         string     `yaml:"image"`
	RestartPolicy string     `yaml:"restartPolicy,omitempty"`
	Args          []string   `yaml:"args"`
	Env           []variable `yaml:"env,omitempty"`
	Resources     resources  `yaml:"resources"`
	Security      security   `yaml:"securityContext"`
	Startup       *probe     `yaml:"startupProbe,omitempty"`
	Readiness     *probe     `yaml:"readinessProbe,omitempty"`
	Mounts        []mount    `yaml:"volumeMounts,omitempty"`
}

type variable struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value,omitempty"`
	From  *from  `yaml:"valueFrom,omitempty"`
}

type from struct {
	Field fieldRef `yaml:"fieldRef"`
}

// fieldOf is a variable whose value is a field of the pod.
func fieldOf(name, path string) variable {
	return variable{Name: name, From: &from{fieldRef{path}}}
}

type fieldRef struct {
	Path string `yaml:"fieldPath"`
}

type resources struct {
	Requests map[string]string `yaml:"requests"`
}

// small is what an idle proxy takes.
var small = resources{map[string]string{"cpu": "10m", "memory": "32Mi"}}

type security struct {
	User         int            `yaml:"runAsUser"`
	Group        int            `yaml:"runAsGroup"`
	NonRoot      bool           `yaml:"runAsNonRoot"` // over the pod's, which may say otherwise
	Escalation   bool           `yaml:"allowPrivilegeEscalation"`
	ReadOnlyRoot bool           `yaml:"readOnlyRootFilesystem"`
	Capabilities capabilities   `yaml:"capabilities"`
	Seccomp      seccompProfile `yaml:"seccompProfile"`
}

type capabilities struct {
	Drop []string `yaml:"drop"`
	Add  []string `yaml:"add,omitempty"`
}

type seccompProfile struct {
	Type string `yaml:"type"`
}

var runtimeDefault = seccompProfile{"RuntimeDefault"}

type probe struct {
	Get      httpGet `yaml:"httpGet"`
	Period   int     `yaml:"periodSeconds"`
	Failures int     `yaml:"failureThreshold"`
}

type httpGet struct {
	Path string `yaml:"path"`
	Port int    `yaml:"port"`
}

type mount struct {
	Name     string `yaml:"name"`
	Path     string `yaml:"mountPath"`
	ReadOnly bool   `yaml:"readOnly,omitempty"`
}

type volume struct {
	Name      string     `yaml:"name"`
	ConfigMap *configMap `yaml:"configMap,omitempty"`
	EmptyDir  *emptyDir  `yaml:"emptyDir,omitempty"`
}

type emptyDir struct {
	SizeLimit string `yaml:"sizeLimit"`
}

type configMap struct {
	Name string `yaml:"name"`
}
