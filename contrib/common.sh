# shellcheck shell=bash
# What the commands in this folder share. Sourced, never run; defines functions and nothing else.

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# packages_for WHAT...: "NAME [VERSION]" of those in contrib/packages that are needed for any of these.
packages_for() {
    local file
    file=$(dirname "${BASH_SOURCE[0]}")/packages
    awk -v wanted="$*" '
        BEGIN { n = split(wanted, w, " "); for (i = 1; i <= n; i++) want[w[i]] = 1 }
        /^[ \t]*(#|$)/ { next }
        $2 in want { print $1, $3 }' "$file"
}

# package_installed NAME [VERSION]: true when it is there, and not older.
package_installed() {
    local status version
    read -r status version < <(dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null)
    [ "$status" = installed ] && dpkg --compare-versions "$version" ge "${2:-0}"
}

# services_of_tests mask|unmask [sudo]: load balancers that the tests start themselves are not to be started as services
# of this machine when they are installed.
services_of_tests() {
    local what=$1 service
    shift
    [ -d /run/systemd/system ] || return 0
    for service in haproxy nginx; do
        systemctl is-active -q "$service" || "$@" systemctl -q --runtime "$what" "$service" 2>/dev/null || true
    done
}

# packages_install WHAT...: installs what is missing or too old and leaves alone what is there.
packages_install() {
    local missing=() name least as_root=()
    command -v apt-get >/dev/null || fail "this needs a Debian machine: there is no apt-get here"
    while read -r name least; do
        package_installed "$name" "$least" || missing+=("$name")
    done < <(packages_for "$@")
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "these packages are missing, and only root can install them: ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    services_of_tests mask "${as_root[@]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -q update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -q install -y --no-install-recommends \
        "${missing[@]}" >/dev/null || fail "apt-get could not install ${missing[*]}"
    services_of_tests unmask "${as_root[@]}"
}

# build_tree FOLDER TARGET MESON-OPTION...: configures the folder once and compiles the target (all: everything).
build_tree() {
    local folder=$1 target=$2
    shift 2
    if [ -f "$folder/build.ninja" ]; then
        meson configure "$folder" "$@" >/dev/null
    else
        meson setup "$folder" "$@" >"$folder.log" 2>&1 || { cat "$folder.log" >&2; fail "meson setup failed"; }
        mv "$folder.log" "$folder/setup.log"
    fi
    ninja -C "$folder" "$target" >"$folder/ninja.log" 2>&1 || { tail -n 60 "$folder/ninja.log" >&2; fail "the build failed"; }
}
