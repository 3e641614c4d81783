//! Size budgets: checked when every layer is known, before anything is written or sent.

use crate::support::*;

/// The service with this budget for its variant.
fn budgeted(budget: &str) -> Project {
    service_with(|toml| format!("{toml}budget = {{ {budget} }}\n"))
}

#[track_caller]
fn refused(budget: &str, excess: &str) -> String {
    let project = budgeted(budget);
    let ingot = ingot_for(&project);
    let folder = project.folder();
    let archive = ingot.path("image.tar");
    let metadata = ingot.path("metadata.json");
    let (output, file) = (format!("oci-archive:{}", archive.display()), metadata.to_str().unwrap());
    let ran = ingot.run(["build", folder.to_str().unwrap(), "-o", &output, "--metadata-file", file]).exits(3);
    assert_eq!(ran.stdout, "", "nothing was made, so nothing is reported");
    assert!(ran.stderr.contains("error: `team/service (small)` is over its budget: "), "{}", ran.stderr);
    assert!(ran.stderr.contains(excess), "{excess}: {}", ran.stderr);
    assert!(ran.stderr.contains("\nhint: "), "{}", ran.stderr);
    assert_eq!(entries(&ingot.path("")), Vec::<String>::new(), "nothing is written");
    // Without any destination it would go to dist/.
    ingot_for(&project).within(&folder).run(["build"]).exits(3);
    assert!(!folder.join("dist").exists());
    ran.stderr
}

fn entries(folder: &std::path::Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_kind_of_budget_is_kept() {
    let text = refused("compressed = \"20kB\"", "of 20.0 kB allowed");
    // The table names the largest layers, packages and files.
    for line in ["LARGEST LAYERS", "LARGEST PACKAGES", "LARGEST FILES", "/beta_pkg/native.so", "alpha/table.txt"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    refused("uncompressed = \"100kB\"", "uncompressed ");
    refused("layer = \"30kB\"", "layer `venv` ");
    refused("layers = 3", "4 layers of 3 allowed");
}

#[test]
fn a_budget_that_holds_is_no_matter() {
    let project = budgeted("compressed = \"10MB\", uncompressed = \"10MB\", layer = \"5MB\", layers = 4");
    let ingot = ingot_for(&project);
    let output = format!("oci:{}", ingot.path("image").display());
    ingot.run(["build", project.folder().to_str().unwrap(), "-o", &output]).ok();
    assert!(Layout::open(&ingot.path("image")).config()["config"]["Labels"]["ingot.size-check"].is_null());
}

#[test]
fn each_variant_has_its_own() {
    let project = service_with(|toml| {
        format!(
            "{toml}budget = {{ compressed = \"10MB\" }}\n\n[variants.tight]\nbase = \"oci:base\"\nbudget = {{ layers = 2 }}\n"
        )
    });
    let ingot = ingot_for(&project);
    let output = format!("oci:{}", ingot.path("image").display());
    let folder = project.folder();
    let build = |variant: &str| ingot.run(["build", folder.to_str().unwrap(), "--variant", variant, "-o", &output]);
    let ran = build("tight").exits(3);
    assert!(ran.stderr.contains("`team/service (tight)` is over its budget: 4 layers of 2 allowed"), "{}", ran.stderr);
    build("all").exits(3);
    assert!(!ingot.path("image").exists(), "one variant that is too large keeps back the others");
    build("small").ok();
}

#[test]
fn a_registry_hears_nothing_of_what_is_too_large() {
    let registry = Registry::start();
    let project = budgeted("layers = 1");
    let ingot = ingot_for(&project);
    let reference = registry.reference("team/service:1");
    let folder = project.folder();
    let folder = folder.to_str().unwrap();
    let remote = format!("docker://{}", registry.reference("other/service:1"));
    let ran = ingot.run(["build", folder, "-t", &reference, "--push", "-o", &remote]).exits(3);
    assert!(ran.stderr.contains("4 layers of 1 allowed"), "{}", ran.stderr);
    assert_eq!(writes(&registry), Vec::<String>::new());
    // The same command is heard when nobody weighs: so the log would have shown it.
    ingot.run(["build", folder, "-t", &reference, "--push", "--no-size-check"]).ok();
    assert_ne!(writes(&registry), Vec::<String>::new());
}

/// The requests that change something.
fn writes(registry: &Registry) -> Vec<String> {
    let changes = |line: &&str| {
        ["POST", "PUT", "PATCH", "DELETE"].iter().any(|method| {
            line.contains(&format!("\"{method} ")) || line.contains(&format!("http.request.method={method}"))
        })
    };
    registry.log().lines().filter(changes).map(str::to_owned).collect()
}

#[test]
fn without_the_check_it_is_written_and_says_so() {
    let project = budgeted("layers = 1");
    let ingot = ingot_for(&project);
    let output = format!("oci:{}", ingot.path("image").display());
    let ran = ingot.run(["build", project.folder().to_str().unwrap(), "-o", &output, "--no-size-check"]).ok();
    assert!(ran.stderr.contains("warning: size check skipped: `small` 4 layers of 1 allowed"), "{}", ran.stderr);
    let layout = Layout::open(&ingot.path("image"));
    assert_eq!(layout.config()["config"]["Labels"]["ingot.size-check"], "skipped");
    assert_eq!(layout.manifest()["annotations"]["ingot.size-check"], "skipped");
}
