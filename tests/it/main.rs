//! Black-box tests: the built program, from outside, with real registries, engines, wheels and users.
//!
//! - `apt_attacks`: a mirror that meddles with the real archive is found out.
//! - `apt_solve`: our resolver chooses the packages that apt chooses.
//! - `apt_trust`: only what the right key has signed is used, and nothing older than the lock.
//! - `bad_input`: what is wrong with a project, a lock, a wheel or a base is refused in clear words.
//! - `bases`: a base in any form, from any place, gives the same layers.
//! - `budget`: what is over its budget is never written nor sent.
//! - `build`: the example, cast by an ordinary user; what the program says, writes and leaves out.
//! - `cli`: commands and options as they are typed.
//! - `deb_files`: real packages are unpacked as dpkg unpacks them, and dpkg finds what was installed.
//! - `deb_memory`: a package of any size needs little memory.
//! - `determinism`: one project and one base give one digest, whatever the environment.
//! - `dpkg_upgrade`: packages over older ones give the root that dpkg makes.
//! - `faults`: full disks, limits, pipes, signals, damaged stores and company end well.
//! - `golden`: every byte of a small image is known; a drift names the file.
//! - `hygiene`: what must not go into an image is found before anything is built, and never shown.
//! - `instructions`: how much work a small build is, counted and not timed.
//! - `ldconfig`: what Ingot configures natively against ldconfig and its like on the same packages.
//! - `lies`: registries that lie are found out, and passwords stay secret.
//! - `distroless`: images made of packages alone: programs run in them, dpkg believes their database, a lock pins them.
//! - `lock`: what ingot.lock pins stays, although registries move on.
//! - `machine`: the helpers themselves, and that this machine can do what the other tests need.
//! - `memory`: peak memory is bounded, whatever the input.
//! - `node`: packages of Node are what npm makes of the same lock, come from where npm would take them, and run.
//! - `os_packages`: packages on a base and for another architecture, updates, and what is refused.
//! - `outputs`: every kind of output, read by the programs that others use.
//! - `overlap`: layers leave while others are made, but never before a budget allows it; `--timings` shows it.
//! - `push`: real registries: what is sent, in which order, with which credentials, and how it comes back.
//! - `run`: the example's image in podman and docker.
//! - `sandbox`: what code in a sandbox can do, how it ends, what comes out, and that nothing stays.
//! - `sandbox_hostile`: images that lie, engines that misbehave, production.
//! - `sandbox_serve`: the service for back ends: limits, streams, cancelling, health, and its end.
//! - `stack_compose`: Compose files of many authors: findings, Docker Compose's own reading, and `--fix`.
//! - `stack_example`: `examples/stack` by podman and by docker, in a real browser, and what goes wrong while it runs.
//! - `stack_export`: manifests are valid for Kubernetes' schemas, read the same elsewhere, and have no secret.
//! - `stack_run`: stacks come up in order and go down again, by podman and by docker, and what does not is told.
//! - `stack_limits`: limits that an engine does not enforce are told.
//! - `stack_run_terminal`: in front of a terminal, `stack up` draws a table, and leaves the terminal in order.
//! - `updates`: what an update of a dependency sends, and that the lock says which wheel is in which layer.
//! - `validate`: the example has no errors; of images that other tools made, what a person would find is found.
//! - `variants`: variants share layers, platforms make an index.
//! - `warm`: a build of what did not change starts no program and asks nobody.
//! - `wheels`: popular wheels, spliced, are what every reader finds in them.
//!
//! A tool that is missing makes a test fail with the command that installs it (`make install-test-tools`).
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests look from outside"
)]

mod apt_attacks;
mod apt_solve;
mod apt_trust;
mod bad_input;
mod bases;
mod budget;
mod build;
mod cli;
mod deb_files;
mod deb_memory;
mod determinism;
mod distroless;
mod dpkg_upgrade;
mod faults;
mod golden;
mod hygiene;
mod instructions;
mod ldconfig;
mod lies;
mod lock;
mod machine;
mod memory;
mod node;
mod node_beside_npm;
mod os_packages;
mod outputs;
mod overlap;
mod push;
mod run;
mod sandbox;
mod sandbox_hostile;
mod sandbox_serve;
mod stack;
mod stack_compose;
mod stack_example;
mod stack_export;
mod stack_limits;
mod stack_run;
mod stack_run_terminal;
mod support;
mod updates;
mod validate;
mod validate_run;
mod variants;
mod warm;
mod wheels;
