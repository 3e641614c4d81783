use std::path::Path;

use serde_json::json;

use super::{RULES, profiles};
use crate::oci::media_type::{self, Compression};
use crate::oci::{Descriptor, json::canonical};
use crate::validate::fixture::{Case, Recipe, hold};

fn to(recipe: &mut Recipe, target: &str) {
    recipe.declared.targets = vec![target.into()];
}

/// Puts the layout's index into the layout, as pushed indexes are.
fn nest(layout: &Path) {
    let index = std::fs::read(layout.join("index.json")).unwrap();
    let descriptor = Descriptor::of(media_type::INDEX, &index);
    std::fs::write(layout.join("blobs/sha256").join(descriptor.digest.hex()), &index).unwrap();
    let outer = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [descriptor] });
    std::fs::write(layout.join("index.json"), canonical(&outer)).unwrap();
}

const CASES: &[Case] = &[
    Case {
        rule: "target-layers",
        breaks: |recipe| {
            for n in 0..124 {
                recipe.folder(n + 2, &format!("l{n}"), 0o755);
            }
            to(recipe, "docker20");
        },
        passes: |recipe| to(recipe, "docker20"),
    },
    Case { rule: "target-size", breaks: |recipe| to(recipe, "test"), passes: |recipe| to(recipe, "lambda") },
    Case {
        rule: "target-index",
        breaks: |recipe| {
            recipe.edit_index = |index| {
                index["manifests"][0]["platform"] = json!({ "os": "linux", "architecture": "amd64" });
            };
            recipe.edit_layout = nest;
            to(recipe, "lambda");
        },
        passes: |recipe| to(recipe, "lambda"),
    },
    Case {
        rule: "target-compression",
        breaks: |recipe| {
            recipe.compression = Compression::Zstd;
            to(recipe, "docker20");
        },
        passes: |recipe| {
            recipe.compression = Compression::Zstd;
            to(recipe, "docker23");
        },
    },
    Case {
        rule: "target-architecture",
        breaks: |recipe| {
            recipe.edit_config = |config| config["architecture"] = json!("arm64");
            to(recipe, "cloud-run");
        },
        passes: |recipe| to(recipe, "cloud-run"),
    },
    Case {
        rule: "target-user",
        breaks: |recipe| {
            recipe.config["User"] = json!("app");
            to(recipe, "kubernetes-restricted");
        },
        passes: |recipe| {
            recipe.config["User"] = json!("1001");
            to(recipe, "kubernetes-restricted");
        },
    },
    Case {
        rule: "target-folder",
        breaks: |recipe| {
            recipe.config["WorkingDir"] = json!("/srv/app");
            to(recipe, "podman");
        },
        passes: |recipe| to(recipe, "podman"),
    },
];

#[test]
fn every_rule_of_this_group_holds() {
    hold(RULES, CASES);
}

#[test]
fn the_good_image_runs_everywhere() {
    for profile in profiles().iter().filter(|profile| profile.name != "test") {
        let mut recipe = Recipe::good();
        to(&mut recipe, profile.name);
        assert_eq!(recipe.report().findings, [], "{}", profile.name);
    }
    assert!(profiles().windows(2).all(|pair| pair[0].name < pair[1].name), "sorted");
}

#[test]
fn every_limit_says_where_it_is_from() {
    for profile in profiles().iter().filter(|profile| profile.name != "test") {
        assert!(!profile.about.is_empty() && !profile.source.is_empty(), "{}", profile.name);
    }
}

#[test]
fn absurd_users_are_no_numbers() {
    for user in ["", "0", "root", "-1", "99999999999", "0:5", "\u{1b}[31m"] {
        let mut recipe = Recipe::good();
        recipe.config["User"] = json!(user);
        to(&mut recipe, "kubernetes-restricted");
        assert_eq!(recipe.findings("target-user").len(), 1, "{user:?}");
    }
}
