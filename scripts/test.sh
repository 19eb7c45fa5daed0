#!/usr/bin/env bash
# `make test`: everything that must hold before a change is handed in. Stops at the first step that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step_name= step_start=0
begun=$SECONDS

# Runs one step under a heading and says how long it took: `step HEADING COMMAND...`.
step() {
    step_name=$1 step_start=$SECONDS
    printf '\n==> %s\n' "$step_name"
    shift
    "$@"
    printf '<== %s: %d s\n' "$step_name" $((SECONDS - step_start))
    step_name=
}

log=$(mktemp)
finish() {
    local code=$?
    rm -f "$log"
    if [[ -n $step_name ]]; then
        printf '\n<== %s: FAILED after %d s\n' "$step_name" $((SECONDS - step_start)) >&2
    fi
    exit "$code"
}
trap finish EXIT

# True when some doc comment has a code block that is a test: one that opens without a word, or with one of rustdoc's own.
has_doc_tests() {
    find crates/*/src -name '*.rs' -exec awk '
        FNR == 1 { open = 0 }
        /^[ \t]*\/\/[\/!] *```/ {
            if (!open && $0 ~ /```(rust|no_run|should_panic|compile_fail)?[ \t]*$/) found = 1
            open = !open
        }
        END { exit !found }' {} +
}

doc_tests() {
    if has_doc_tests; then
        cargo test --quiet --workspace --doc
    else
        echo "    there are none"
    fi
}

tests() {
    # Colour is off so that the summary can be read from the log below.
    cargo nextest run --workspace --color never --no-fail-fast 2>&1 | tee "$log"
}

# nextest's own numbers once more, as one plain line that ends the output: `N passed, N failed`. What was killed for running
# too long, or could not be started, has failed.
closing_line() {
    awk '/^ *Summary \[/ { summary = $0 }
        END {
            if (summary == "") exit
            count = split(summary, parts, /[:,] */)
            for (i = 1; i <= count; i++) {
                if (parts[i] ~ /^[0-9]+ passed/) passed += parts[i]
                if (parts[i] ~ /^[0-9]+ (failed|timed out|exec failed)/) failed += parts[i]
            }
            printf "%d passed, %d failed\n", passed, failed
        }' "$log"
}

step "set-up" scripts/setup.sh test
step "formatting" cargo fmt --all --check
step "dependencies: licences, bans, sources" cargo deny --log-level warn check licenses bans sources
step "lints" cargo clippy --workspace --all-targets --quiet -- -D warnings
step "doc tests" doc_tests

step_name=tests step_start=$SECONDS
printf '\n==> tests\n'
code=0
tests || code=$?
step_name=
printf '<== tests: %d s; all steps: %d s\n\n' $((SECONDS - step_start)) $((SECONDS - begun))
closing_line
exit "$code"
