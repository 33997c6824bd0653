# From a running pod with the proxy, what `kubectl run --overrides` needs to run `check` of another image as that pod runs the
# proxy: same ConfigMap, Secrets, ServiceAccount and security context. docs/runbooks/upgrade.md has the command.
.metadata as $metadata | .spec as $spec
| [$spec.initContainers[]?, $spec.containers[]] | map(select(.name == "auth-proxy"))[0] as $proxy
| {
    apiVersion: "v1",
    # For network policies; the Service does not select it.
    metadata: {labels: ($metadata.labels | {"auth-proxy"})},
    spec: (
      ($spec | {securityContext, serviceAccountName, imagePullSecrets, nodeSelector, tolerations} | map_values(values))
      + {
        restartPolicy: "Never",
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        volumes: [$spec.volumes[]? | select(.name as $name | any($proxy.volumeMounts[]?; .name == $name))],
        containers: [
          ($proxy | del(.restartPolicy, .startupProbe, .readinessProbe, .livenessProbe, .lifecycle, .ports))
          + {name: "auth-proxy-check", image: $image, args: ["check"]}
        ]
      }
    )
  }
