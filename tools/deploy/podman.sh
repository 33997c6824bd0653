# shellcheck shell=bash
# Containers for the steps: `image` and, after `run`, `container`. `settings` comes from start_sim.
image=localhost/auth-proxy-test-$$
settings=()

# build_image: from the binary that `make build` made; no registry is asked.
build_image() {
    later "podman rmi --force $image >/dev/null"
    # Docker's format: the other one has no HEALTHCHECK.
    timeout 120 podman build --quiet --format docker --layers=false -f Dockerfile.scratch --target prebuilt \
        --build-arg "BINARY=$BINARY" -t "$image" .
}

# find_engine IMAGE: whether this machine runs containers. Some sandboxes let only runc run, and only with limits that they
# may set.
find_engine() {
    local try=(timeout 60 podman run --rm --network=host --memory=32m "$1" --version)
    if "${try[@]}"; then return; fi
    printf '[engine]\nruntime = "runc"\n[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n' \
        >"$WORK/containers.conf"
    export CONTAINERS_CONF=$WORK/containers.conf
    "${try[@]}"
}

# run NAME [PODMAN OPTION...]: in the background, with every restriction there is; sets `container`.
run() {
    container=auth-proxy-test-$$-$1
    shift
    later "podman rm --force --time 1 $container >/dev/null"
    timeout 60 podman run --detach --name "$container" --network=host --memory=32m --memory-swap=32m \
        --read-only --cap-drop=ALL --security-opt=no-new-privileges --security-opt=label=disable \
        --volume "$WORK/sim:/sim:ro" "${settings[@]/#/--env=}" "$@" "$image"
}
