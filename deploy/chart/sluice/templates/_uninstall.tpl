{{/* The DaemonSet that takes the plugin out of each node, those too that nodes.* let have
     it once and do not any more. A pod of it is ready when its node is done; `sluice
     uninstall cluster` makes it, waits for that, and deletes it. */}}
{{- define "sluice.uninstallDaemonSet" -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: sluice-uninstall
  namespace: {{ .Release.Namespace | toYaml }}
  labels: {{- include "sluice.labels" . | nindent 4 }}
    app.kubernetes.io/component: uninstall
spec:
  selector:
    matchLabels: {{- include "sluice.selector" "uninstall" | nindent 6 }}
  updateStrategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 0, maxUnavailable: 100%}
  template:
    metadata:
      labels: {{- include "sluice.selector" "uninstall" | nindent 8 }}
        sluice.dev/inject: "false"
      annotations:
        sluice.dev/inject: "false"
        {{- with include "sluice.appArmorAnnotations" (dict "root" . "containers" (list "uninstall" "done")) | trim }}{{ . | nindent 8 }}{{ end }}
    spec:
      {{- include "sluice.podSpec" . | nindent 6 }}
      {{- include "sluice.everyNode" . | nindent 6 }}
      serviceAccountName: sluice-holder
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 5
      initContainers:
        - name: uninstall
          image: {{ include "sluice.image" . }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          args:
            - uninstall
            - --wait={{ include "sluice.uninstallSeconds" . }}s
            {{- include "sluice.nodeArgs" . | nindent 12 }}
            # An agent that cannot run is a usual reason to uninstall it.
            - --cleanup
          env: {{- include "sluice.podEnv" . | nindent 12 }}
          {{- $capabilities := list "DAC_OVERRIDE" "CHOWN" "SYS_ADMIN" "NET_ADMIN" "SYS_PTRACE" }}
          {{- if .Values.iptables }}{{ $capabilities = concat $capabilities (list "SYS_CHROOT" "NET_RAW") }}{{ end }}
          resources: {{- toYaml .Values.installer.resources | nindent 12 }}
          securityContext: {{- include "sluice.security" $capabilities | nindent 12 }}
          volumeMounts:
            - {name: run, mountPath: /run/sluice}
            - {name: state, mountPath: /var/lib/sluice}
            - {name: netns, mountPath: /run/netns, mountPropagation: HostToContainer}
            {{- include "sluice.nodeMounts" . | nindent 12 }}
            {{- with include "sluice.socketMount" . }}{{ . | nindent 12 }}{{ end }}
      containers:
        - name: done
          image: {{ include "sluice.image" . }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          # At its end it removes what agent and holder have kept on the node, once both are gone.
          args: [uninstall, idle]
          resources: {{- toYaml .Values.installer.resources | nindent 12 }}
          securityContext: {{- include "sluice.security" list | nindent 12 }}
          volumeMounts:
            - {name: run, mountPath: /run/sluice}
            - {name: state, mountPath: /var/lib/sluice}
      volumes:
        {{- include "sluice.stateVolumes" . | nindent 8 }}
        {{- include "sluice.netnsVolume" . | nindent 8 }}
        {{- include "sluice.nodeVolumes" . | nindent 8 }}
        # A node that never had sluice may have another runtime.
        {{- with include "sluice.socketVolume" (dict "root" . "type" "DirectoryOrCreate") }}{{ . | nindent 8 }}{{ end }}
{{- end -}}

{{/* How long a node may take: connections may go on for the drain limit. The Job waits
     three minutes longer than its nodes, which look once more when the agents are gone, and
     helm two minutes longer than that. */}}
{{- define "sluice.uninstallSeconds" -}}
{{ max (int .Values.uninstall.timeoutSeconds) (add .Values.agent.drainSeconds 60) }}
{{- end -}}
{{- define "sluice.uninstallTimeout" -}}
{{ add (include "sluice.uninstallSeconds" . | int) 300 }}s
{{- end -}}

{{- define "sluice.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
helm.sh/hook-output-log-policy: hook-succeeded,hook-failed
{{- end -}}
