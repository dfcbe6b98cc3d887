{{/* The name in labels. */}}
{{- define "windlass-hub.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of all objects. 50 characters leave room for what is appended. */}}
{{- define "windlass-hub.fullname" -}}
{{- $name := include "windlass-hub.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "windlass-hub.selectorLabels" -}}
app.kubernetes.io/name: {{ include "windlass-hub.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "windlass-hub.labels" -}}
{{ include "windlass-hub.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: windlass
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "windlass-hub.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "windlass-hub.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image by its values; `windlass-hub.image` is given a dict of image and Chart. */}}
{{- define "windlass-hub.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The image of the command line. It lies beside the hub's, where that has the name that we give it. */}}
{{- define "windlass-hub.testImage" -}}
{{- $image := .Values.test.image -}}
{{- $repository := $image.repository -}}
{{- if not $repository -}}
{{- $repository = ternary (trimSuffix "-hub" .Values.image.repository) "windlass.dev/windlass" (hasSuffix "/windlass-hub" .Values.image.repository) -}}
{{- end -}}
{{- $tag := $image.tag | default .Values.image.tag -}}
{{- include "windlass-hub.image" (dict "image" (dict "repository" $repository "tag" $tag "digest" $image.digest) "Chart" .Chart) -}}
{{- end -}}

{{- define "windlass-hub.apiService" -}}
{{- include "windlass-hub.fullname" . }}-api
{{- end -}}

{{- define "windlass-hub.linkService" -}}
{{- include "windlass-hub.fullname" . }}-link
{{- end -}}

{{- define "windlass-hub.kubeconfigSecret" -}}
{{- .Values.adminKubeconfig.secretName | default (printf "%s-admin-kubeconfig" (include "windlass-hub.fullname" .)) -}}
{{- end -}}

{{/* What agents dial. */}}
{{- define "windlass-hub.advertiseAddress" -}}
{{- .Values.advertiseAddress | default (printf "%s.%s.svc" (include "windlass-hub.linkService" .) .Release.Namespace) -}}
{{- end -}}

{{- define "windlass-hub.advertiseLinkPort" -}}
{{- if .Values.advertiseLinkPort -}}
{{- int .Values.advertiseLinkPort -}}
{{- else if eq .Values.link.service.type "NodePort" -}}
{{- int .Values.link.service.nodePort -}}
{{- else -}}
{{- int .Values.link.service.port -}}
{{- end -}}
{{- end -}}

{{/* HOST:PORT of a dict of both. */}}
{{- define "windlass-hub.hostPort" -}}
{{- if contains ":" .host }}[{{ .host }}]{{ else }}{{ .host }}{{ end }}:{{ int .port }}
{{- end -}}

{{/* Where the hub can be reached, and its certificates have to say so. */}}
{{- define "windlass-hub.names" -}}
{{- $names := list -}}
{{- range $service := list (include "windlass-hub.apiService" .) (include "windlass-hub.linkService" .) -}}
{{- $inNamespace := printf "%s.%s" $service $.Release.Namespace -}}
{{- $names = concat $names (list $service $inNamespace (printf "%s.svc" $inNamespace) (printf "%s.svc.%s" $inNamespace $.Values.clusterDomain)) -}}
{{- end -}}
{{- with .Values.adminKubeconfig.server -}}
{{- $names = append $names (urlParse .).hostname -}}
{{- end -}}
{{- $names = append $names .Values.api.service.loadBalancerIP -}}
{{- $names = append $names .Values.link.service.loadBalancerIP -}}
{{- concat $names .Values.tlsSANs | compact | uniq | toJson -}}
{{- end -}}

{{/* The hub's configuration file. */}}
{{- define "windlass-hub.config" -}}
{{- $config := deepCopy (default dict .Values.config) -}}
{{- $_ := set $config "dataDir" "/var/lib/windlass" -}}
{{- $_ := set $config "apiListen" (printf ":%d" (int .Values.api.port)) -}}
{{- $_ := set $config "linkListen" (printf ":%d" (int .Values.link.port)) -}}
{{- $_ := set $config "advertiseAddress" (include "windlass-hub.advertiseAddress" .) -}}
{{- $_ := set $config "advertiseLinkPort" (include "windlass-hub.advertiseLinkPort" . | int) -}}
{{- $_ := set $config "tlsSANs" (include "windlass-hub.names" . | fromJsonArray) -}}
{{- $_ := set $config "logLevel" .Values.logLevel -}}
{{- if .Values.pki.existingSecret -}}
{{- $_ := set $config "pkiDir" "/etc/windlass-pki" -}}
{{- end -}}
{{- if .Values.api.tls.existingSecret -}}
{{- /* Beside the hub's own certificate and not in its place: who dials another name, or none, still gets that. */}}
{{- $flags := merge (dict "tls-sni-cert-key" "/etc/windlass-api-tls/tls.crt,/etc/windlass-api-tls/tls.key") (default dict $config.apiServerFlags) -}}
{{- $_ := set $config "apiServerFlags" $flags -}}
{{- end -}}
{{- with .Values.etcd.external -}}
{{- if .endpoints -}}
{{- $etcd := dict "servers" .endpoints -}}
{{- if .existingSecret -}}
{{- $etcd = merge $etcd (dict "caFile" "/etc/windlass-etcd/ca.crt" "certFile" "/etc/windlass-etcd/tls.crt" "keyFile" "/etc/windlass-etcd/tls.key") -}}
{{- end -}}
{{- $_ := set $config "etcd" $etcd -}}
{{- end -}}
{{- end -}}
{{- if .Values.adminKubeconfig.create -}}
{{- $server := .Values.adminKubeconfig.server | default (printf "https://%s.%s.svc:%d" (include "windlass-hub.apiService" .) .Release.Namespace (int .Values.api.service.port)) -}}
{{- $secret := dict "name" (include "windlass-hub.kubeconfigSecret" .) "server" $server -}}
{{- if .Values.api.tls.existingSecret -}}
{{- $_ := set $secret "caFile" "/etc/windlass-api-tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $config "kubeconfigSecret" $secret -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}

{{/* A duration such as 1m30s in nanoseconds. */}}
{{- define "windlass-hub.nanoseconds" -}}
{{- $units := dict "ns" 1 "us" 1000 "ms" 1000000 "s" 1000000000 "m" 60000000000 "h" 3600000000000 -}}
{{- $sum := 0.0 -}}
{{- range $part := regexFindAll `[0-9.]+[a-z]+` . -1 -}}
{{- $sum = addf $sum (mulf (regexFind `^[0-9.]+` $part | float64) (get $units (regexFind `[a-z]+$` $part))) -}}
{{- end -}}
{{- int64 $sum -}}
{{- end -}}

{{/* Refuses what is no label of Kubernetes in a dict of labels and the path of their value. */}}
{{- define "windlass-hub.checkLabels" -}}
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
