{{/* The name in labels. */}}
{{- define "windlass-agent.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of all objects. 50 characters leave room for what is appended. */}}
{{- define "windlass-agent.fullname" -}}
{{- $name := include "windlass-agent.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of objects outside the namespace: releases of one name may be in several. */}}
{{- define "windlass-agent.globalName" -}}
{{- printf "%s:%s" .Release.Namespace (include "windlass-agent.fullname" .) -}}
{{- end -}}

{{- define "windlass-agent.selectorLabels" -}}
app.kubernetes.io/name: {{ include "windlass-agent.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "windlass-agent.labels" -}}
{{ include "windlass-agent.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: windlass
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "windlass-agent.serviceAccount" -}}
{{- default (include "windlass-agent.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "windlass-agent.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the token; empty when there is none. */}}
{{- define "windlass-agent.tokenSecret" -}}
{{- if .Values.hub.existingSecret -}}
{{- .Values.hub.existingSecret -}}
{{- else if .Values.hub.token -}}
{{- include "windlass-agent.fullname" . }}-token
{{- end -}}
{{- end -}}

{{/* The ConfigMap with the proxy's authorities; empty when there is none. */}}
{{- define "windlass-agent.proxyCA" -}}
{{- if .Values.proxy.caConfigMap -}}
{{- .Values.proxy.caConfigMap -}}
{{- else if .Values.proxy.caBundle -}}
{{- include "windlass-agent.fullname" . }}-proxy-ca
{{- end -}}
{{- end -}}

{{/* The agent's configuration file. */}}
{{- define "windlass-agent.config" -}}
{{- $config := deepCopy (default dict .Values.config) -}}
{{- /* A pod that ended would be started again and again, and could not say why. */}}
{{- $config := merge $config (dict "retryRefused" "1m") -}}
{{- $_ := set $config "hub" .Values.hub.address -}}
{{- if eq .Values.rbac.preset "namespaced" -}}
{{- $_ := set $config "watchByNamespace" true -}}
{{- end -}}
{{- $_ := set $config "logLevel" .Values.logLevel -}}
{{- $_ := set $config "healthListen" (printf ":%d" (int .Values.health.port)) -}}
{{- with .Values.cluster -}}
{{- if .name }}{{ $_ := set $config "clusterName" .name }}{{ end -}}
{{- if .labels }}{{ $_ := set $config "labels" .labels }}{{ end -}}
{{- if .provider }}{{ $_ := set $config "provider" .provider }}{{ end -}}
{{- if .region }}{{ $_ := set $config "region" .region }}{{ end -}}
{{- if .zones }}{{ $_ := set $config "zones" .zones }}{{ end -}}
{{- end -}}
{{- if include "windlass-agent.tokenSecret" . -}}
{{- $_ := set $config "tokenFile" "/etc/windlass-token/token" -}}
{{- end -}}
{{- if include "windlass-agent.proxyCA" . -}}
{{- $_ := set $config "proxyCAFile" "/etc/windlass-proxy/ca.crt" -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}

{{/* A duration such as 1m30s in nanoseconds. */}}
{{- define "windlass-agent.nanoseconds" -}}
{{- $units := dict "ns" 1 "us" 1000 "ms" 1000000 "s" 1000000000 "m" 60000000000 "h" 3600000000000 -}}
{{- $sum := 0.0 -}}
{{- range $part := regexFindAll `[0-9.]+[a-z]+` . -1 -}}
{{- $sum = addf $sum (mulf (regexFind `^[0-9.]+` $part | float64) (get $units (regexFind `[a-z]+$` $part))) -}}
{{- end -}}
{{- int64 $sum -}}
{{- end -}}

{{/* Refuses what is no label of Kubernetes in a dict of labels and the path of their value. */}}
{{- define "windlass-agent.checkLabels" -}}
{{- $path := .path -}}
{{- $labels := default dict .labels -}}
{{- range $key := keys $labels | sortAlpha -}}
{{- if not (regexMatch `^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$` $key) -}}
{{- fail (printf "\n\n%s: %q is no label's key: at most 63 letters, digits, -, _ and ., the first and last of them a letter or digit, and before that, if need be, a domain in small letters and a /" $path $key) -}}
{{- end -}}
{{- if not (regexMatch `^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$` (get $labels $key)) -}}
{{- fail (printf "\n\n%s.%s: %q is no label's value: at most 63 letters, digits, -, _ and ., the first and last of them a letter or digit" $path $key (get $labels $key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
