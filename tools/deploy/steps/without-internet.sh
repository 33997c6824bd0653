# shellcheck shell=bash
# The air-gap bundle where it is meant for: in a network namespace with a loopback and nothing else, docs/air-gap.md of the
# bundle, word for word but for the values.
. tools/deploy/lib.sh
. tools/deploy/podman.sh

bundle=$(find dist -name 'auth-proxy-*-air-gap.tar.gz' 2>/dev/null)
if [[ -z $bundle ]]; then
    skipped 'the air-gap bundle' 'dist/ has none: the step release makes it'
    exit
fi
if ! have minisign minisign 'the air-gap bundle'; then exit; fi
alone 'the air-gap bundle'
start_sim "$WORK/sim"
declare -A simulated
for setting in "${settings[@]}"; do simulated[${setting%%=*}]=${setting#*=}; done

# block HEADING: the first code block of the page that follows that heading.
# shellcheck disable=SC2016  # the backticks are Markdown's
block() { awk -v text="$1" 'index($0, text) == 1 { found = 1 } found && /^```/ { if (open) exit; open = 1; next } open' docs/air-gap.md; }

mkdir "$WORK/arrived"
cp "$bundle" "$WORK/arrived"
cp target/tools/deploy/trial.key.pub "$WORK/arrived/auth-proxy.pub"
block '### Verify' >"$WORK/verify.sh"
(cd "$WORK/arrived" && timeout 120 "${inside[@]}" bash -e "$WORK/verify.sh")
unpacked=$(echo "$WORK"/arrived/auth-proxy-*-air-gap)
[[ -z $(python3 deploy/dist/links.py "$unpacked") ]] || fail 'links that lead out of the bundle'
grep -q 'image: auth-proxy:[0-9]' "$unpacked/docker-compose.yml"
if grep 'build:' "$unpacked/docker-compose.yml"; then fail 'docker-compose.yml builds without sources'; fi
ok 'docs/air-gap.md: unpacked and verified with nothing but a loopback' "$(wc -l <"$unpacked/SHA256SUMS") files, $(mb $(($(stat -c %s "$bundle") / 1024)))"

# The image, as docs/air-gap.md copies it; a folder is the registry.
if have skopeo skopeo 'the image of the bundle'; then
    mkdir "$WORK/registry"
    block '### The image' | grep -v '^#' | sed "s| docker://[^ ]*| dir:$WORK/registry|" >"$WORK/image.sh"
    (cd "$unpacked" && timeout 120 "${inside[@]}" bash -e "$WORK/image.sh")
    digest=sha256:$(sha256sum <"$WORK/registry/manifest.json" | cut -d ' ' -f 1)
    [[ $digest == "$(cat "$unpacked/IMAGE-DIGEST")" ]]
    ok 'docs/air-gap.md: the image into a registry' "its digest is that of IMAGE-DIGEST"
    if have kubectl kubernetes-client 'the manifests of the bundle'; then
        for form in example sidecar-classic standalone; do
            timeout 60 "${inside[@]}" kubectl kustomize "$unpacked/deploy/kubernetes/$form" >"$WORK/$form.yaml"
            grep -q "image: registry.example.com/auth-proxy@$digest" "$WORK/$form.yaml" || fail "$form has another image"
        done
        grep -q "@$digest" "$unpacked/deploy/podman/auth-proxy.container"
        ok 'the manifests of the bundle name the image by that digest'
    fi
fi

# The binary, with the page's variables.
block '# Without internet' | sed 's/ *#.*//' >"$WORK/variables"
grep -q '^AZURE_AUTHORITY_HOST=login.example.internal$' "$WORK/variables"
grep -q '^API_BASE_URL=https://openai.example.internal$' "$WORK/variables"
for variable in AZURE_AUTHORITY_HOST API_BASE_URL; do
    port=$(grep -o ':[0-9]*' <<<"${simulated[$variable]}" | tail -n 1)
    # The simulator's certificate is for these names.
    sed -i "/^$variable=/ { s|example.internal|sim.test$port|; }" "$WORK/variables"
done
sed -i "s|^SSL_CERT_FILE=.*|SSL_CERT_FILE=$sim/ca.pem|" "$WORK/variables"
mapfile -t variables <"$WORK/variables"
mapfile -t others < <(grep -v -e '^AZURE_AUTHORITY_HOST=' -e '^API_BASE_URL=' -e '^SSL_CERT_FILE=' "$WORK/env")
# The last command in place of the shell, so that it ends with the step.
block '### The binary' | sed '$ s/^/exec /' >"$WORK/binary.sh"
start "$WORK/proxy.log" "${inside[@]}" env -i "PATH=$PATH" "${others[@]}" "${variables[@]}" HOST=127.0.0.1 PORT=8080 \
    bash -ec "cd '$unpacked' && . '$WORK/binary.sh'"
healthy() { ask http://127.0.0.1:8080/health | grep '"ok"'; }
eventually 60 healthy
chat http://127.0.0.1:8080 >"$WORK/response"
grep -q '"content"' "$WORK/response"
grep -q 'host: openai.sim.test' "$WORK/sim.log"
ok 'docs/air-gap.md: checked, started, a request through' "$(grep -c '^' "$WORK/binary.sh") commands; names from /etc/hosts, no name server"
