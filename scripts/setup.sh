#!/usr/bin/env bash
# Installs what one `make` target needs, and nothing that is there already. Usage: scripts/setup.sh WHAT...
#
#   build   to compile: the Rust toolchain and a C compiler (checked, not installed)
#   test    to run the whole test suite: media tools, browser, Redis, schemathesis, nextest and cargo-deny
#   deny    to check dependencies: cargo-deny
#   bench   to run the benchmark: ffmpeg, and servers to compare with: nginx-rtmp, xiu
#
# Debian packages are installed as root, or through sudo. Python and npm packages go below .tools/ in this folder; cargo's
# tools go where cargo keeps its programs, so that all checkouts share them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Versions are fixed so that two machines check by the same rules.
readonly NEXTEST_VERSION=0.9.143
readonly CARGO_DENY_VERSION=0.20.2
# Carries a static build of a recent ffmpeg, which Debian 12 lacks: enhanced RTMP needs one (ffmpeg 6.1 or later).
readonly IMAGEIO_FFMPEG_VERSION=0.8.1
# Calls the API as its OpenAPI document says, and holds the replies against it.
readonly SCHEMATHESIS_VERSION=4.32.5
# The Standard Webhooks project's own libraries, which verify the signatures of hooks: independent of what made them.
readonly STANDARDWEBHOOKS_PYPI_VERSION=1.1.0
readonly STANDARDWEBHOOKS_NPM_VERSION=1.1.1
# A media server in Rust that the benchmark compares with.
readonly XIU_VERSION=0.14.0

say() { printf '    %s\n' "$*"; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# True where apt-get can be run: as root, or through a sudo that asks for no password or can ask somebody.
can_be_root() {
    [[ $(id -u) -eq 0 ]] || { have sudo && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; }
}

# Installs Debian packages of which the program named beside them is missing: `apt_for PROGRAM=PACKAGE...`.
# A program written `element:NAME` is a GStreamer element, `pc:NAME` a library that pkg-config knows.
apt_for() {
    local missing=() program package pair
    for pair in "$@"; do
        program=${pair%%=*} package=${pair#*=}
        case $program in
            element:*) have gst-inspect-1.0 && gst-inspect-1.0 --exists "${program#element:}" 2>/dev/null && continue ;;
            pc:*) have pkg-config && pkg-config --exists "${program#pc:}" && continue ;;
            *) have "$program" && continue ;;
        esac
        [[ " ${missing[*]-} " == *" $package "* ]] || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    have apt-get || fail "these Debian packages, or your system's counterparts, are missing: ${missing[*]}"
    can_be_root || fail "run as root: apt-get install ${missing[*]} (there is no sudo here that would do it)"
    say "installing Debian packages: ${missing[*]}"
    apt_get update -q >/dev/null || say "apt-get update failed; going on with the package list that is there"
    apt_get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

# apt-get without questions, and patient when another one holds its lock.
apt_get() {
    local sudo=()
    [[ $(id -u) -eq 0 ]] || sudo=(sudo)
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

setup_build() {
    have cargo || fail "no Rust toolchain: install one from https://rustup.rs"
    have cc || have gcc || fail "no C compiler: install gcc (TLS and the allocator are built from C)"
}

# Installs a cargo subcommand unless that version, or a later one, is there: `cargo_tool NAME VERSION`.
cargo_tool() {
    local name=$1 wanted=$2 found
    found=$("cargo-$name" "$name" --version 2>/dev/null | sed -n '1s/^cargo-[a-z]* \([0-9.]*\).*/\1/p') || found=
    if [[ -n $found && $(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1) == "$wanted" ]]; then
        return 0
    fi
    say "building cargo-$name $wanted, once for this machine (about three minutes on two cores)"
    # Its own target folder, and none that the caller has set: a leftover there would slow every later build.
    env -u CARGO_TARGET_DIR cargo install --quiet --locked --version "$wanted" "cargo-$name"
}

setup_deny() {
    setup_build
    cargo_tool deny "$CARGO_DENY_VERSION"
}

# A recent ffmpeg as .tools/bin/ffmpeg-new, where the tests look for it.
setup_ffmpeg_new() {
    local link=.tools/bin/ffmpeg-new where='import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())'
    [[ ! -x $link ]] || return 0
    apt_for python3=python3
    local exe
    if ! exe=$(python3 -c "$where" 2>/dev/null); then
        python3 -m pip --version >/dev/null 2>&1 || apt_for pip3=python3-pip
        say "installing imageio-ffmpeg $IMAGEIO_FFMPEG_VERSION below .tools/"
        # A folder of our own: Debian's Python refuses packages beside its own.
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --target .tools/python \
            "imageio-ffmpeg==$IMAGEIO_FFMPEG_VERSION"
        exe=$(PYTHONPATH=.tools/python python3 -c "$where")
    fi
    mkdir -p .tools/bin
    ln -sfn "$(realpath "$exe")" "$link"
}

# schemathesis below .tools/, where the tests look for it.
setup_schemathesis() {
    apt_for python3=python3
    local there='import importlib.metadata, sys; sys.exit(importlib.metadata.version("schemathesis") != sys.argv[1])'
    if ! PYTHONPATH=.tools/python python3 -c "$there" "$SCHEMATHESIS_VERSION" 2>/dev/null; then
        python3 -m pip --version >/dev/null 2>&1 || apt_for pip3=python3-pip
        say "installing schemathesis $SCHEMATHESIS_VERSION below .tools/"
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --upgrade --target .tools/python \
            "schemathesis==$SCHEMATHESIS_VERSION"
    fi
}

# The two verifiers of signatures below .tools/, where the tests look for them.
setup_standardwebhooks() {
    apt_for python3=python3 node=nodejs
    if [[ ! -d .tools/python/standardwebhooks-$STANDARDWEBHOOKS_PYPI_VERSION.dist-info ]]; then
        python3 -m pip --version >/dev/null 2>&1 || apt_for pip3=python3-pip
        say "installing standardwebhooks $STANDARDWEBHOOKS_PYPI_VERSION (Python) below .tools/"
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --upgrade --target .tools/python \
            "standardwebhooks==$STANDARDWEBHOOKS_PYPI_VERSION"
    fi
    local manifest=.tools/node_modules/standardwebhooks/package.json
    if ! grep -qs "\"version\": \"$STANDARDWEBHOOKS_NPM_VERSION\"" "$manifest"; then
        apt_for npm=npm
        say "installing standardwebhooks $STANDARDWEBHOOKS_NPM_VERSION (Node) below .tools/"
        npm install --silent --no-save --no-audit --no-fund --ignore-scripts --prefix .tools \
            "standardwebhooks@$STANDARDWEBHOOKS_NPM_VERSION" </dev/null
    fi
}

# nginx with its RTMP module from Debian's packages, unpacked as .tools/nginx and not installed: a package would start a web server
# on this machine.
setup_nginx_rtmp() {
    local folder=.tools/nginx draft=.tools/nginx.draft package
    [[ ! -x $folder/usr/sbin/nginx ]] || return 0
    have apt-get && have dpkg-deb || { say "no nginx-rtmp to compare with: this is no Debian"; return 0; }
    say "unpacking nginx-rtmp below .tools/"
    rm -rf "$draft" && mkdir -p "$draft"
    if (cd "$draft" && apt-get -q download nginx libnginx-mod-rtmp >/dev/null 2>&1) &&
        for package in "$draft"/*.deb; do dpkg-deb -x "$package" "$draft/tree" || break; done &&
        "$draft/tree/usr/sbin/nginx" -v 2>/dev/null; then
        rm -rf "$folder" && mv "$draft/tree" "$folder"
    else
        say "no nginx-rtmp to compare with: its packages cannot be had, or do not run here"
    fi
    rm -rf "$draft"
}

# xiu as .tools/bin/xiu. What could not be built is not tried again: that takes minutes.
setup_xiu() {
    local log=.tools/xiu-$XIU_VERSION.log
    [[ ! -x .tools/bin/xiu && ! -e $log ]] || return 0
    # It links Opus. A peer that cannot be had is no reason not to measure.
    (apt_for pkg-config=pkg-config pc:opus=libopus-dev) || { say "so there is no comparison with xiu"; return 0; }
    say "building xiu $XIU_VERSION to compare with, once for this checkout (some minutes)"
    mkdir -p .tools
    if env -u CARGO_TARGET_DIR cargo install --quiet --locked --version "$XIU_VERSION" --root .tools xiu >"$log" 2>&1; then
        rm -f "$log"
    else
        say "xiu cannot be built here, so there is no comparison with it; $log says why; remove it to try again"
    fi
}

setup_bench() {
    setup_build
    apt_for ffmpeg=ffmpeg
    setup_ffmpeg_new
    setup_nginx_rtmp
    setup_xiu
}

setup_test() {
    setup_build
    apt_for ffmpeg=ffmpeg ffprobe=ffmpeg curl=curl strace=strace ps=procps redis-server=redis-server \
        chromium=chromium gst-launch-1.0=gstreamer1.0-tools element:videoconvert=gstreamer1.0-plugins-base \
        element:flvdemux=gstreamer1.0-plugins-good element:rtmp2src=gstreamer1.0-plugins-bad \
        element:rtspclientsink=gstreamer1.0-rtsp element:mpegtsmux=gstreamer1.0-plugins-bad
    setup_ffmpeg_new
    setup_schemathesis
    setup_standardwebhooks
    cargo_tool nextest "$NEXTEST_VERSION"
    cargo_tool deny "$CARGO_DENY_VERSION"
}

[[ $# -gt 0 ]] || fail "say what for: build, test, deny or bench"
for what in "$@"; do
    case $what in
        build | test | deny | bench) "setup_$what" ;;
        *) fail "unknown: $what (build, test, deny or bench)" ;;
    esac
done
