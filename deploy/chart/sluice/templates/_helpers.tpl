{{/* What a platform has elsewhere than kubeadm does. */}}
{{- define "sluice.platform" -}}
{{- $all := dict
  "k3s" (dict "confDir" "/var/lib/rancher/k3s/agent/etc/cni/net.d" "binDir" "/var/lib/rancher/k3s/data/cni" "socket" "/run/k3s/containerd/containerd.sock")
  "rke2" (dict "socket" "/run/k3s/containerd/containerd.sock")
  "gke" (dict "binDir" "/home/kubernetes/bin" "quota" true)
  "openshift" (dict "confDir" "/etc/kubernetes/cni/net.d" "binDir" "/var/lib/cni/bin" "socket" "/run/crio/crio.sock" "seLinuxType" "spc_t" "scc" true)
-}}
{{- get $all (.Values.platform | default "") | default dict | toJson -}}
{{- end -}}

{{/* One thing of the node, by its key: as set, else as the platform has it, else kubeadm's. */}}
{{- define "sluice.confDir" -}}{{ .Values.cni.confDir | default (include "sluice.platform" . | fromJson).confDir | default "/etc/cni/net.d" }}{{- end -}}
{{- define "sluice.binDir" -}}{{ .Values.cni.binDir | default (include "sluice.platform" . | fromJson).binDir | default "/opt/cni/bin" }}{{- end -}}
{{- define "sluice.socket" -}}{{ .Values.runtime.socket | default (include "sluice.platform" . | fromJson).socket | default "/run/containerd/containerd.sock" }}{{- end -}}
{{- define "sluice.seLinuxType" -}}{{ .Values.security.seLinuxType | default (include "sluice.platform" . | fromJson).seLinuxType | default "" }}{{- end -}}

{{/* The namespaces that are exempt whatever the values' policy says. */}}
{{- define "sluice.exempt" -}}[{{ .Release.Namespace | toYaml }}{{ if .Values.exemptSystemNamespaces }}, kube-system, kube-public, kube-node-lease{{ end }}]{{- end -}}

{{/* A tag as text, "" for none: one of digits alone is a number, from values files a float,
     which text would have as 8.473625e+06. */}}
{{- define "sluice.tag" -}}
{{- if kindIs "string" . }}{{ . }}{{ else if not (kindIs "invalid" .) }}{{ int64 . }}{{ end -}}
{{- end -}}

{{- define "sluice.image" -}}
{{- $i := .Values.image -}}
{{- if $i.digest }}{{ $i.repository }}@{{ $i.digest }}{{ else }}{{ $i.repository }}:{{ include "sluice.tag" $i.tag | default .Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- define "sluice.holderImage" -}}
{{- $h := .Values.holder.image -}}
{{- $tag := include "sluice.tag" $h.tag -}}
{{- if $h.digest }}{{ .Values.image.repository }}@{{ $h.digest }}
{{- else if $tag }}{{ .Values.image.repository }}:{{ $tag }}
{{- else }}{{ include "sluice.image" . }}{{ end -}}
{{- end -}}

{{/* Selectors can never change, and the holder's template must not with each version:
     so no label of a chart's or a program's version is anywhere in a pod. */}}
{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/component: {{ . }}
{{- end -}}

{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{/* What all pods on nodes have in common. */}}
{{- define "sluice.podSpec" -}}
hostNetwork: true
hostPID: true
dnsPolicy: ClusterFirstWithHostNet
priorityClassName: {{ .Values.priorityClassName }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsUser: 0
  runAsGroup: 0
  seccompProfile: {type: RuntimeDefault}
  {{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}
  appArmorProfile: {type: {{ .Values.security.appArmor }}}
  {{- end }}
  {{- with include "sluice.seLinuxType" . }}
  seLinuxOptions: {type: {{ . }}}
  {{- end }}
{{- end -}}

{{/* Which nodes have agent and holder. */}}
{{- define "sluice.nodes" -}}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .Values.nodes.selector }}{{- toYaml . | nindent 2 }}{{- end }}
{{- with .Values.nodes.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
affinity: {{- include "sluice.affinity" .Values.nodes.affinity | nindent 2 }}
{{- end -}}

{{/* Every node that may have had them, whatever the values say now. */}}
{{- define "sluice.everyNode" -}}
nodeSelector:
  kubernetes.io/os: linux
tolerations:
  - operator: Exists
affinity: {{- include "sluice.affinity" dict | nindent 2 }}
{{- end -}}

{{/* An affinity, and beside it no node that is no machine: pods of a DaemonSet would wait
     there for ever, and whoever waits for them. */}}
{{- define "sluice.affinity" -}}
{{- $machine := list
  (dict "key" "eks.amazonaws.com/compute-type" "operator" "NotIn" "values" (list "fargate"))
  (dict "key" "type" "operator" "NotIn" "values" (list "virtual-kubelet"))
-}}
{{- $node := .nodeAffinity | default dict -}}
{{- $terms := list -}}
{{- range ($node.requiredDuringSchedulingIgnoredDuringExecution | default dict).nodeSelectorTerms | default (list dict) -}}
{{- $terms = append $terms (merge (dict "matchExpressions" (concat (.matchExpressions | default list) $machine)) .) -}}
{{- end -}}
{{- $required := dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) -}}
{{- toYaml (merge (dict "nodeAffinity" (merge $required $node)) .) -}}
{{- end -}}

{{/* A pod that asks the API server only, and is on no particular node: no more
     tolerations than these and the cluster's own, since it must not land on a node that is
     not there. One whose agent never became ready is there. */}}
{{- define "sluice.coordinator" -}}
# Where pods' own network does not work, or a NetworkPolicy denies them everything, too.
hostNetwork: true
priorityClassName: {{ .Values.priorityClassName }}
nodeSelector: {kubernetes.io/os: linux}
tolerations:
  - {key: node-role.kubernetes.io/control-plane, operator: Exists}
  - {key: CriticalAddonsOnly, operator: Exists}
  - {key: sluice.dev/agent-not-ready, operator: Exists}
  {{- with .Values.coordinator.tolerations }}{{- toYaml . | nindent 2 }}{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "sluice.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- /* Its words are helm's output. `helm test --logs` asks every hook for them, those too
       that are no pods, and fails. */}}
helm.sh/hook-output-log-policy: hook-succeeded,hook-failed
{{- end -}}

{{/* AppArmor's profile before Kubernetes 1.30 had a field for it. */}}
{{- define "sluice.appArmorAnnotations" -}}
{{- if semverCompare "<1.30.0-0" .root.Capabilities.KubeVersion.Version }}
{{- $profile := ternary "unconfined" "runtime/default" (eq .root.Values.security.appArmor "Unconfined") }}
{{- range .containers }}
container.apparmor.security.beta.kubernetes.io/{{ . }}: {{ $profile }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Which pod a container is in: by the first two messages say how a person reaches it, by
     the last the older of two is known. */}}
{{- define "sluice.podEnv" -}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
{{- end -}}

{{/* The kubelet refuses to keep a container with SYS_ADMIN from gaining rights. */}}
{{- define "sluice.security" -}}
privileged: false
{{- if not (has "SYS_ADMIN" .) }}
allowPrivilegeEscalation: false
{{- end }}
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add: [{{ join ", " . }}]
{{- end -}}

{{/* Where containers have what is the node's: the same paths whatever the platform, so
     that a preset is a matter of volumes. */}}
{{- define "sluice.nodeArgs" -}}
- --conf-dir=/host/cni/net.d
- --bin-dir=/host/cni/bin
- --cri={{ include "sluice.cri" . }}
{{- end -}}

{{/* What the installer does, and its probe looks at. */}}
{{- define "sluice.installArgs" -}}
- --mode={{ .Values.cni.mode }}
{{ include "sluice.nodeArgs" . }}
{{- if not .Values.cni.copyBinary }}
- --binary=off
{{- end }}
{{- end -}}

{{- define "sluice.cri" -}}
{{- $socket := include "sluice.socket" . -}}
{{- if eq $socket "off" }}off{{ else }}/host/runtime/{{ base $socket }}{{ end -}}
{{- end -}}

{{- define "sluice.nodeMounts" -}}
- {name: conf-dir, mountPath: /host/cni/net.d}
- {name: bin-dir, mountPath: /host/cni/bin}
{{- end -}}

{{- define "sluice.nodeVolumes" -}}
- name: conf-dir
  hostPath: {path: {{ include "sluice.confDir" . }}, type: DirectoryOrCreate}
- name: bin-dir
  hostPath: {path: {{ include "sluice.binDir" . }}, type: DirectoryOrCreate}
{{- end -}}

{{/* The runtime's socket by its directory: a runtime that starts anew makes another. */}}
{{- define "sluice.socketMount" -}}
{{- if ne (include "sluice.socket" .) "off" -}}
- {name: runtime, mountPath: /host/runtime, readOnly: true}
{{- end }}
{{- end -}}

{{- define "sluice.socketVolume" -}}
{{- if ne (include "sluice.socket" .root) "off" -}}
- name: runtime
  hostPath: {path: {{ dir (include "sluice.socket" .root) }}, type: {{ .type }}}
{{- end }}
{{- end -}}

{{/* These two are at the same paths on the node, where the plugin runs: no values. */}}
{{- define "sluice.stateVolumes" -}}
- name: run
  hostPath: {path: /run/sluice, type: DirectoryOrCreate}
- name: state
  hostPath: {path: /var/lib/sluice, type: DirectoryOrCreate}
{{- end -}}

{{- define "sluice.netnsVolume" -}}
- name: netns
  hostPath: {path: /run/netns, type: DirectoryOrCreate}
{{- end -}}
