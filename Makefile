# What a developer and CI run. Everything works from a clean checkout, as root or as an ordinary user; tools that are
# missing are installed with apt-get (as root, or with sudo).

CARGO ?= cargo
DEMO_IMAGE = oci:dist/gameforge-distroless:latest
# The packages of this machine's own release, because its apt has the mirror and the keys of that one.
DEMO_BASE = $(shell . /etc/os-release; echo "$$ID:$$VERSION_ID/packages")
# The Python of that release.
DEMO_PYTHON = $(shell . /etc/os-release; sed -n '/^\[apt\]/,$$s/^python = "\(.*\)"/\1/p' base-manifests/$$ID-$$VERSION_ID.toml)
DEMO_ARGS = --build-arg DISTROLESS_BASE=$(DEMO_BASE) --build-arg DISTROLESS_PYTHON=$(DEMO_PYTHON)
# The installed cargo-deny, or one of our own.
DENY := $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)

.PHONY: all demo stack test check fmt clippy deny tidy doc bench bench-large install-test-tools install-demo-tools install-stack-tools clean

all: check test

# Builds ingot, casts the example into dist/ and shows what is in it.
demo: install-demo-tools
	$(CARGO) build --release --quiet --locked
	target/release/ingot plan examples/gameforge --variant distroless $(DEMO_ARGS)
	target/release/ingot build examples/gameforge --variant distroless $(DEMO_ARGS) -o $(DEMO_IMAGE)
	target/release/ingot inspect $(DEMO_IMAGE)
	target/release/ingot history $(DEMO_IMAGE)
	target/release/ingot validate --static $(DEMO_IMAGE)
	@du -sh dist/gameforge-distroless

# Builds ingot and the four images of examples/stack, brings them up with the engine that this machine has, plays a game in
# a real browser, and takes them down.
stack: install-stack-tools
	$(CARGO) build --release --quiet --locked
	PATH="$$PATH:$(CURDIR)/target/tools/compose/bin" \
	CONTAINERS_CONF="$${CONTAINERS_CONF-$(CURDIR)/tests/it/support/containers.conf}" \
	examples/stack/demo.sh target/release/ingot

# All tests: the library's own, the rules of the house, and the black-box tests with real registries and engines.
test: install-test-tools target/tools/kubernetes
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
	$(CARGO) fetch --locked --quiet
	$(DENY) --offline check licenses bans sources

target/tools/bin/cargo-deny:
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install cargo-deny --version 0.20.2 --locked --debug --quiet --root target/tools

tidy:
	$(CARGO) test --locked --quiet --test tidy

doc:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --locked --quiet --no-deps --lib --document-private-items

# The figures of benches/README.md: what ingot and the peers that this machine has take for the same inputs. `bench-large`
# needs 3 GB of wheels and 15 GB of disk.
LIMIT = $$($(CARGO) build --release --locked --quiet --bench limit --message-format json | sed -n '/"name":"limit"/s/.*"executable":"\([^"]*\)".*/\1/p')
bench:
	$(CARGO) build --release --quiet --locked
	benches/stack.sh target/release/ingot "$(LIMIT)"
	benches/packages.sh target/release/ingot
	$(CARGO) bench --quiet --locked --bench stages

bench-large:
	$(CARGO) build --release --quiet --locked
	benches/large.sh target/release/ingot "$(LIMIT)"

install-test-tools:
	@tests/tools/install.sh test

# What the manifests of `ingot stack export` are held against: the schemas of Kubernetes' own API, in an environment of its
# own.
target/tools/kubernetes:
	@rm -rf $@.part
	/usr/bin/python3 -m venv $@.part
	$@.part/bin/python3 -m pip install --quiet --disable-pip-version-check kubernetes-validate==1.37.0
	@mv $@.part $@

install-demo-tools:
	@tests/tools/install.sh demo

install-stack-tools:
	@tests/tools/install.sh stack

clean:
	rm -rf dist
	$(CARGO) clean
