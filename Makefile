# What a developer and CI run. Everything works from a clean checkout, as root or as an ordinary user; tools that are
# missing are installed with apt-get (as root, or with sudo).

CARGO ?= cargo
DEMO_BASE = dist/base
DEMO_IMAGE = oci:dist/gameforge-local:latest
# The base is made of this machine's own release, so it has the Python of that release.
DEMO_PYTHON = $(shell /usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# The installed cargo-deny, or one of our own.
DENY := $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)

.PHONY: all demo test check fmt clippy deny tidy doc bench install-test-tools install-demo-tools clean

all: check test

# Builds ingot, casts the example into dist/ and shows what is in it.
demo: install-demo-tools
	$(CARGO) build --release --quiet --locked
	examples/base/make-base.sh $(DEMO_BASE)
	target/release/ingot build examples/gameforge --variant local --build-arg LOCAL_PYTHON=$(DEMO_PYTHON) -o $(DEMO_IMAGE)
	target/release/ingot inspect $(DEMO_IMAGE)
	target/release/ingot history $(DEMO_IMAGE)
	@du -sh dist/gameforge-local

# All tests: the library's own, the rules of the house, and the black-box tests with real registries and engines.
test: install-test-tools
	tests/tools/count.sh $(CARGO) test --locked --no-fail-fast

# What needs no test machine: format, lints, dependencies, rules of the house, links in the docs.
check: fmt clippy deny tidy doc

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --locked --all-targets --quiet -- -D warnings

# deny.toml: licences, bans, sources. Advisories would need a network that CI does not have. cargo-deny is compiled
# unoptimised, once, if it is not installed.
deny: $(DENY)
	$(DENY) --offline check licenses bans sources

target/tools/bin/cargo-deny:
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install cargo-deny --version 0.20.2 --locked --debug --quiet --root target/tools

tidy:
	$(CARGO) test --locked --quiet --test tidy

doc:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --locked --quiet --no-deps --lib --document-private-items

bench:
	$(CARGO) build --release --quiet --locked
	benches/cast.sh target/release/ingot

install-test-tools:
	@tests/tools/install.sh test

install-demo-tools:
	@tests/tools/install.sh demo

clean:
	rm -rf dist
	$(CARGO) clean
