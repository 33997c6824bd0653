# shellcheck shell=bash
# Containers for the steps: `image`, `engine` (the flags with which this machine runs it) and, after `run`, `container`.
# `settings` comes from start_sim.
settings=()

image=localhost/auth-proxy-test-$$

# build_image: from the binary that `make build` made; no registry is asked.
build_image() {
    later "podman rmi --force $image >/dev/null"
    timeout 120 podman build --quiet --layers=false -f Dockerfile.scratch --target prebuilt --build-arg "BINARY=$BINARY" -t "$image" .
}

# find_engine IMAGE: some sandboxes let only runc run, and only with limits that they may set.
find_engine() {
    engine=()
    if timeout 60 podman run --rm --network=host --memory=32m "$1" --version; then return; fi
    engine=(--runtime=runc --ulimit=nofile=4096:4096 --ulimit=nproc=4096:4096)
    timeout 60 podman run --rm "${engine[@]}" --network=host --memory=32m "$1" --version
}

# run NAME [PODMAN OPTION...]: in the background, with every restriction there is; sets `container`.
run() {
    container=auth-proxy-test-$$-$1
    shift
    later "podman rm --force --time 1 $container >/dev/null"
    timeout 60 podman run --detach --name "$container" "${engine[@]}" --network=host --memory=32m --memory-swap=32m \
        --read-only --cap-drop=ALL --security-opt=no-new-privileges --security-opt=label=disable \
        --volume "$WORK/sim:/sim:ro" "${settings[@]/#/--env=}" "$@" "$image"
}
