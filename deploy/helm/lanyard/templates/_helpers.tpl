{{- define "lanyard.labels" -}}
app.kubernetes.io/name: lanyard
app.kubernetes.io/part-of: lanyard
{{- end }}

{{- define "lanyard.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "lanyard.server" -}}
app.kubernetes.io/name: lanyard
app.kubernetes.io/component: server
{{- end }}

{{- define "lanyard.migrate" -}}
app.kubernetes.io/name: lanyard
app.kubernetes.io/component: migrate
{{- end }}

{{/* What every pod has. */}}
{{- define "lanyard.pod" -}}
serviceAccountName: lanyard
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "lanyard.container" -}}
image: {{ include "lanyard.image" . }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "lanyard.env" -}}
- name: LANYARD_CONFIG
  value: /etc/lanyard/lanyard.toml
- name: LANYARD__DATABASE__URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secrets.database }}
      key: url
{{- end }}

{{- define "lanyard.mounts" -}}
- { name: config, mountPath: /etc/lanyard/lanyard.toml, subPath: lanyard.toml, readOnly: true }
- { name: keys, mountPath: /etc/lanyard/keys, readOnly: true }
- { name: tls, mountPath: /etc/lanyard/tls, readOnly: true }
{{- end }}

{{/* The name of the configuration ends with a hash of it: a change rolls the servers. */}}
{{- define "lanyard.config" -}}
lanyard-config-{{ .Values.configuration | sha256sum | trunc 10 }}
{{- end }}

{{- define "lanyard.volumes" -}}
- name: config
  configMap: { name: {{ include "lanyard.config" . }} }
- name: keys
  secret: { secretName: {{ .Values.secrets.keys }}, defaultMode: 0440 }
- name: tls
  secret: { secretName: {{ .Values.secrets.tls }}, defaultMode: 0440 }
{{- end }}

{{- define "lanyard.dns" -}}
- to:
    - namespaceSelector:
        matchLabels: {{- toYaml .Values.network.dns | nindent 10 }}
  ports:
    - { port: 53, protocol: UDP }
    - { port: 53, protocol: TCP }
{{- end }}
