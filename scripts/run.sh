#!/usr/bin/env bash
# Builds the server with optimisation and starts it in place of this script, so that signals reach it.
# Arguments are handed on to the program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
if [[ ! -x $target/release/tidegate ]]; then
    echo "First build: this takes some minutes (about five on two cores). Later starts take seconds."
fi
# What `/index/api/version` answers; only for the build, since the program takes TIDEGATE_ variables for configuration.
commit=$(git rev-parse --short HEAD 2>/dev/null || true)
branch=$(git rev-parse --abbrev-ref HEAD 2>/dev/null || true)
env ${commit:+TIDEGATE_COMMIT="$commit"} ${branch:+TIDEGATE_BRANCH="$branch"} cargo build --release --bin tidegate
exec "$target/release/tidegate" "$@"
