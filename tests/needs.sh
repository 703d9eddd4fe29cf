# Sourced by tests/run.sh and .ci/run: installs what is missing and can be had from the package manager.

# need COMMAND PACKAGE...: the command exists, or its packages get installed.
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null && return
    echo "$command is missing: installing $*"
    if ! command -v apt-get >/dev/null; then
        echo "There is no apt-get here. Please install $command yourself and start again." >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "Not root, and there is no sudo. Please install $* yourself and start again." >&2
        return 1
    fi
    install_quietly "$@" || return 1
    if ! command -v "$command" >/dev/null; then
        echo "$* did not bring $command. Please install it yourself and start again." >&2
        return 1
    fi
}

# Install packages without starting the services in them: the tests start what they need, and nothing is left running.
install_quietly() {
    local policy=/usr/sbin/policy-rc.d ours=no failed=0
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy" || return 1
    fi
    as_root apt-get update -q </dev/null || failed=1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" </dev/null && failed=0 || failed=1
    if [ "$ours" = yes ]; then
        as_root rm -f "$policy"
    fi
    return "$failed"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}
