# shellcheck shell=bash
# A Docker daemon of the step's own, in a network namespace, so that its bridge and its packet rules are nobody else's.

# start_docker WHAT: sets DOCKER_HOST and `inside`; where there can be no daemon, WHAT is skipped.
start_docker() {
    if ! have dockerd docker.io "$1" || ! have docker docker.io "$1" || ! have nsenter util-linux "$1"; then return 1; fi
    local space=auth-proxy-docker-$$ place=$WORK/docker
    if ! ip netns add "$space"; then
        skipped "$1" 'a daemon in a network of its own needs root here'
        return 1
    fi
    later "ip netns delete $space"
    # Not `ip netns exec`, which hides the control groups.
    inside=(nsenter "--net=/var/run/netns/$space")
    "${inside[@]}" ip link set lo up
    mkdir "$place"
    export DOCKER_HOST=unix://$place/socket
    # The limits are those that some sandboxes let a daemon set.
    start "$WORK/dockerd.log" "${inside[@]}" dockerd --data-root "$place/data" --exec-root "$place/exec" --pidfile "$place/pid" \
        --host "$DOCKER_HOST" --default-ulimit nofile=4096:4096 --default-ulimit nproc=4096:4096
    local daemon=$! end=$((SECONDS + 60))
    until docker version >/dev/null 2>&1; do
        if ((SECONDS >= end)) || ! kill -0 "$daemon" 2>/dev/null; then
            tail -n 5 "$WORK/dockerd.log"
            skipped "$1" "dockerd does not start here: $(tail -n 1 "$WORK/dockerd.log")"
            return 1
        fi
        sleep 0.1
    done
}
