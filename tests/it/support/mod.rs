//! What black-box tests stand on: programs with a time limit, an unprivileged user, registries, engines, fixtures.

#![allow(dead_code, unused_imports, reason = "the tests of the product use the rest")]
mod apt;
mod archive;
mod base;
mod distroless;

mod debs;
mod derived;
mod docker;
mod fixture;
mod gameforge;
mod http;
mod ingot;
mod layout;
mod meddler;
mod npm;
mod podman;
mod program;
mod registry;
mod sandboxes;
mod scratch;
mod server;
mod service;
mod signed_archive;
mod stacks;
mod terminal;
mod user;
mod wheel;

pub use apt::{AptLists, apt_fetches, apt_lists, apt_simulate};
pub use archive::{Member, members};
pub use base::{debian_base, tiny_base, tiny_bases};
pub use debs::downloaded_debs;
pub use derived::{derive, tar_of};
pub use distroless::{Distroless, distroless, release, release_args};
pub use docker::Docker;
pub use fixture::{Project, copy_of, example};
pub use gameforge::{GameForge, gameforge};
pub use http::{Answer, free_port, get, get_until_ready, post};
pub use ingot::Ingot;
pub use layout::Layout;
pub use meddler::Meddler;
pub use npm::{NODE_TOML, NpmRegistry, integrity, node_base, npm, npm_ci, npm_registry, npm_tarball};
pub use podman::{Container, Podman};
pub use program::{Ran, skopeo, tool, umoci};
pub use registry::{Registry, Request};
pub use sandboxes::{Sandboxes, sandboxes};
pub use scratch::{Scratch, overwrite};
pub use server::{Reply, Server, index_of, registry_of};
pub use service::{
    Cast, build_on, changes, ingot_for, listing, service, service_on_any_base, service_with, store_is_sound,
    with_wheels,
};
pub use signed_archive::SignedArchive;
pub use stacks::{Place, Stacks, path_with_providers, providers};
pub use terminal::{Screen, Terminal};
pub use user::TestUser;
pub use wheel::{PackedFile, Wheel};
