//! What is installed of Node's packages, and what was not done for them.

use serde::Serialize;

use crate::plan::node::Modules;

/// One package.
#[derive(Serialize)]
struct PackageLine {
    path: String,
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    integrity: Option<String>,
}

/// The layer of Node's packages.
#[derive(Serialize)]
pub struct NodeLines {
    target: String,
    packages: Vec<PackageLine>,
    scripts_not_run: Vec<String>,
    other_platforms: Vec<String>,
    other_nodes: Vec<(String, String)>,
}

impl NodeLines {
    /// Of a planned layer.
    pub fn new(modules: &Modules) -> Self {
        let packages = modules.layer.spec().packages.iter().map(|installed| PackageLine {
            path: installed.package.path.clone(),
            name: installed.package.name.clone(),
            version: installed.package.version.clone(),
            integrity: installed.package.tarball.as_ref().map(|origin| origin.integrity.to_string()),
        });
        NodeLines {
            target: modules.target.to_string(),
            packages: packages.collect(),
            scripts_not_run: modules.scripts(),
            other_platforms: modules.other_platforms.clone(),
            other_nodes: modules.other_nodes.clone(),
        }
    }

    /// For people: how many packages, and what is to be known of them, a line each.
    pub fn text(&self) -> String {
        let mut out = format!("packages of Node for {}: {}\n", self.target, self.packages.len());
        self.other_nodes.iter().for_each(|(package, range)| out.push_str(&format!("{}\n", other_node(package, range))));
        self.scripts_not_run.iter().for_each(|package| out.push_str(&format!("{}\n", not_run(package))));
        if !self.other_platforms.is_empty() {
            out.push_str(&format!(
                "left out, because they are for other platforms: {}\n",
                self.other_platforms.join(", ")
            ));
        }
        out
    }
}

/// What is told of a package that is for other versions of Node than the image's.
pub fn other_node(package: &str, range: &str) -> String {
    format!("for another Node: {package} wants {range}")
}

/// What is told of a package with an install script.
pub fn not_run(package: &str) -> String {
    format!("not run: the install script of {package}")
}
