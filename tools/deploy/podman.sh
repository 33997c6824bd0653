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

# pods WHAT: builds the image for `podman play kube`; `python` runs what translates manifests for it. Where that cannot be had,
# WHAT is skipped and the step ends.
pods() {
    if ! have podman podman "$1" || ! have kubectl kubernetes-client "$1"; then exit; fi
    python=$PWD/target/tools/deploy/bin/python
    if ! "$python" -c 'import yaml'; then
        skipped "$1" 'no PyYAML (PyPI)'
        exit
    fi
    if [[ $(id -u) != 0 ]]; then
        skipped "$1" 'only root gives files to the group of the pod'
        exit
    fi
    build_image
    if ! find_engine "$image"; then
        skipped "$1" 'podman runs no container here'
        exit
    fi
    # The image of the pause container is podman's own work, and stays only if it was there before.
    local pause
    pause=$(podman images --quiet --filter reference='localhost/podman-pause')
    later "[[ -n '$pause' ]] || podman images --quiet --filter reference=localhost/podman-pause | xargs --no-run-if-empty podman rmi --force >/dev/null"
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
