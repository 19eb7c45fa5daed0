# Each target does all the set-up it needs by itself; nothing has to be installed by hand beyond Rust, a C compiler,
# Python 3 and, for the tests, the package manager of Debian 12 (or of a system like it).
#
#   make run                   build the server and start it on its built-in defaults
#   make run ARGS="-c FILE"    the same with arguments for the program
#   make demo                  a tour: a synthetic camera that opens on demand
#   make test                  everything that must hold before a change is handed in
#   make check                 the quick part of it: formatting and types
#   make fmt                   format all code
#   make deny                  licences and origins of all dependencies
#   make bench                 the benchmark; see bench/

.DEFAULT_GOAL := help
.PHONY: help run demo test check fmt deny bench

ARGS ?=

help:
	@sed -n 's/^#   //p' Makefile

run:
	@scripts/setup.sh build
	@scripts/run.sh $(ARGS)

demo:
	@scripts/setup.sh build
	@scripts/run.sh demo

test:
	@scripts/test.sh

check:
	@scripts/setup.sh build
	cargo fmt --all --check
	cargo check --workspace --all-targets

fmt:
	cargo fmt --all

deny:
	@scripts/setup.sh deny
	cargo deny --log-level warn check licenses bans sources

bench:
	@scripts/setup.sh bench
	cargo build --release --bin tidegate
	cargo run --release --manifest-path bench/Cargo.toml -- $(ARGS)
