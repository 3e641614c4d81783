//! The image's configuration, labels and annotations (image-spec config.md, annotations.md).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Base;
use super::layers::{LAUNCHER, has_launcher};
use crate::oci::{Config, Platform};
use crate::project::{AppSpec, Healthcheck, Variant};

/// The search path of a base that sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Fields of a base that speak of the base's own making.
const BASE_FIELDS: [&str; 6] = ["author", "container", "container_config", "docker_version", "id", "parent"];

/// The base's configuration with everything that the variant says, and without Ingot's layers.
/// `programs`: whether packages of Node have programs.
pub fn config(
    variant: &Variant,
    base: &Base,
    platform: &Platform,
    labels: &BTreeMap<String, String>,
    programs: bool,
) -> Config {
    let mut config = base.config.clone();
    BASE_FIELDS.iter().for_each(|field| config.remove(field));
    config.set_platform(platform);
    config.set_created(variant.epoch);
    config.set("User", json!(format!("{}:{}", variant.user.uid, variant.user.gid)));
    config.set("StopSignal", json!("SIGTERM"));
    config.set("Healthcheck", variant.healthcheck.as_ref().map_or(Value::Null, healthcheck));
    environment(&mut config, variant, programs);
    match &variant.app {
        Some(app) => application(&mut config, app, has_launcher(variant, base)),
        None if variant.python.is_some() => {
            config.set("Entrypoint", Value::Null);
            config.set("Cmd", json!(["python"]));
        }
        None if variant.node.is_some() => {
            config.set("Entrypoint", Value::Null);
            config.set("Cmd", json!(["node"]));
        }
        None => {}
    }
    let mut all: BTreeMap<String, String> = config.labels();
    all.retain(|key, _| !key.starts_with("org.opencontainers.image."));
    all.extend(labels.clone());
    config.set_labels(&all);
    config
}

fn environment(config: &mut Config, variant: &Variant, programs: bool) {
    if let Some(python) = &variant.python {
        let path = config.env_var("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let bin = format!("{}/bin", python.venv.value.trim_end_matches('/'));
        config.set_env("PATH", &format!("{bin}:{path}"));
        config.set_env("VIRTUAL_ENV", &python.venv.value);
        config.set_env("PYTHONUNBUFFERED", "1");
        config.set_env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(app) = &variant.app {
            config.set_env("PYTHONPATH", &app.target.value);
        }
    } else if config.env_var("PATH").is_none() {
        config.set_env("PATH", DEFAULT_PATH);
    }
    if let Some(node) = &variant.node {
        config.set_env("NODE_ENV", "production");
        // Behind the system's own: a package may call a program of its own `node` or `sh`.
        if let Some(path) = config.env_var("PATH").filter(|_| programs) {
            config.set_env("PATH", &format!("{path}:{}/.bin", node.modules.value));
        }
    }
    variant.env.iter().for_each(|(name, value)| config.set_env(name, value));
}

fn application(config: &mut Config, app: &AppSpec, launcher: bool) {
    config.set("WorkingDir", json!(app.target.value));
    config.set("Entrypoint", if launcher { json!([format!("/{LAUNCHER}")]) } else { Value::Null });
    config.set("Cmd", json!(app.command));
    let mut ports = match config.get("ExposedPorts") {
        Some(Value::Object(ports)) => ports.clone(),
        _ => serde_json::Map::new(),
    };
    ports.extend(app.expose.iter().map(|port| (port.to_string(), json!({}))));
    config.set("ExposedPorts", if ports.is_empty() { Value::Null } else { Value::Object(ports) });
}

/// Docker's extension: durations in nanoseconds.
fn healthcheck(check: &Healthcheck) -> Value {
    let test: Vec<&str> = std::iter::once("CMD").chain(check.command.iter().map(String::as_str)).collect();
    json!({
        "Test": test, "Interval": check.interval, "Timeout": check.timeout,
        "StartPeriod": check.start_period, "Retries": check.retries,
    })
}

/// The labels of the specification that can be told, under those that the project sets. They are the manifest's
/// annotations as well.
pub fn labels(variant: &Variant, base: &Base) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut set = |key: &str, value: &str| {
        if !value.is_empty() {
            labels.insert(format!("org.opencontainers.image.{key}"), value.to_string());
        }
    };
    let arg = |name: &str| variant.args.get(name).map_or("", String::as_str);
    set("title", variant.image.name.rsplit('/').next().unwrap_or_default());
    set("version", arg("BUILD_VERSION"));
    set("revision", arg("VCS_REF"));
    set("created", &variant.epoch.rfc3339());
    // The path of a layout on this machine is nobody's business, and would make the digest depend on it.
    if let Some(reference) = &base.reference {
        set("base.name", &reference.to_string());
    }
    set("base.digest", &base.root_digest.map(|digest| digest.to_string()).unwrap_or_default());
    labels.extend(variant.image.labels.clone());
    labels
}
