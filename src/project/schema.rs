//! Every key of `ingot.toml`, declared once. The checks below, their suggestions and the tables of
//! `docs/project-file.md` are derived from it.

use super::rule::{self, Rule};

/// What a key takes.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A string that follows a rule.
    Text(Rule),
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// An integer from the first to the second.
    Number(i64, i64),
    /// `true` or `false`.
    Flag,
    /// A string such as "500MB", or an integer of bytes.
    Size,
    /// A string such as "30s".
    Duration,
    /// An array of different strings.
    Set(Rule),
    /// An array of strings with at least one.
    Command,
    /// An array of integers or strings.
    Ports,
    /// A table of strings: the rule of its names, then that of its values.
    Map(Rule, Rule),
    /// A table of the keys that are declared here.
    Table(&'static [Key]),
    /// A table of tables with names that follow the rule.
    Tables(Rule, &'static [Key]),
}

impl Kind {
    /// "a string": what an error says was expected.
    pub fn expected(&self) -> &'static str {
        match self {
            Kind::Text(_) | Kind::Choice(_) => "a string",
            Kind::Number(..) => "an integer",
            Kind::Flag => "true or false",
            Kind::Size => "a size such as \"500MB\"",
            Kind::Duration => "a duration such as \"30s\"",
            Kind::Set(_) | Kind::Command => "an array of strings",
            Kind::Ports => "an array of ports",
            Kind::Map(..) => "a table of strings",
            Kind::Table(_) | Kind::Tables(..) => "a table",
        }
    }
}

/// One key of a table.
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether its table is of no use without it.
    pub required: bool,
    /// Whether a variant can have it too.
    pub in_variants: bool,
    /// What holds without it, for the reader.
    pub default: &'static str,
    /// How it looks.
    pub example: &'static str,
    /// What it means, one sentence.
    pub doc: &'static str,
}

impl Key {
    const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        example: &'static str,
        doc: &'static str,
    ) -> Key {
        Key { name, kind, required: false, in_variants: true, default, example, doc }
    }

    const fn required(mut self) -> Key {
        self.required = true;
        self
    }

    const fn top_only(mut self) -> Key {
        self.in_variants = false;
        self
    }
}

/// What a mode of bytecode may be.
pub const MODES: &[&str] = &["none", "alongside", "only"];
/// What `upgrade` may be.
pub const UPGRADES: &[&str] = &["none", "security", "all"];

/// The whole file.
pub static PROJECT: &[Key] = &[
    Key::new("image", Kind::Table(IMAGE), "", "", "The image's name and its labels.").required(),
    Key::new(
        "args",
        Kind::Map(rule::env_name, rule::text),
        "",
        "CPU_BASE_IMAGE = \"ubuntu:22.04\"",
        "Build arguments with their defaults: any names; `--build-arg NAME=VALUE` overrides one, `${NAME}` in a string of the file stands for it.",
    ),
    Key::new(
        "python",
        Kind::Table(PYTHON),
        "",
        "",
        "The interpreter and the virtual environment. Without this table the image has neither.",
    ),
    Key::new(
        "node",
        Kind::Table(NODE),
        "",
        "",
        "The packages of a Node application; see [Node](node.md). The base, or a package of `[os]`, provides `node` itself.",
    ),
    Key::new("os", Kind::Table(OS), "", "", "Packages of the base's own distribution."),
    Key::new("app", Kind::Table(APP), "", "", "The application. Without this table the image has none."),
    Key::new("user", Kind::Table(USER), "", "", "Who runs the application; never root."),
    Key::new(
        "env",
        Kind::Map(rule::env_name, rule::text),
        "",
        "LOG_LEVEL = \"info\"",
        "Variables of the image's environment: any names.",
    ),
    Key::new("healthcheck", Kind::Table(HEALTHCHECK), "", "", "How an engine asks whether the application is well."),
    Key::new(
        "budget",
        Kind::Table(BUDGET),
        "",
        "",
        "What the image may weigh; checked before anything is written or pushed.",
    ),
    Key::new(
        "gpu",
        Kind::Table(GPU),
        "",
        "",
        "On which GPUs the image will run, for [validate](validate.md): it says that the image is for one.",
    ),
    Key::new("hygiene", Kind::Table(HYGIENE), "", "", "What is checked before a build; see [hygiene](hygiene.md).")
        .top_only(),
    Key::new("validate", Kind::Table(VALIDATE), "", "", "What is checked of an image; see [validate](validate.md).")
        .top_only(),
    Key::new(
        "variants",
        Kind::Tables(rule::variant_name, VARIANT),
        "",
        "",
        "The images that are made of the project: at least one, any names.",
    )
    .required()
    .top_only(),
];

/// What a variant has besides the tables of the project.
pub static VARIANT: &[Key] = &[Key::new(
    "base",
    Kind::Text(rule::base),
    "",
    "\"debian:12-slim\"",
    "The image to build on: a reference, `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, or packages alone (`debian:12/packages`).",
)
.required()];

static IMAGE: &[Key] = &[
    Key::new(
        "name",
        Kind::Text(rule::image_name),
        "",
        "\"gameforge\"",
        "The repository part of the reference, lower-case.",
    )
    .required(),
    Key::new(
        "default-variant",
        Kind::Text(rule::variant_name),
        "the only variant, if there is one",
        "\"cpu\"",
        "The variant that is built when none is asked for.",
    )
    .top_only(),
    Key::new(
        "labels",
        Kind::Map(rule::label_key, rule::text),
        "",
        "{ \"org.opencontainers.image.title\" = \"GameForge\" }",
        "Labels of the image, and annotations of its manifest.",
    ),
];

static PYTHON: &[Key] = &[
    Key::new(
        "version",
        Kind::Text(rule::python_version),
        "",
        "\"3.11\"",
        "The Python that the base, or a package of `[os]`, provides.",
    )
    .required(),
    Key::new(
        "lock",
        Kind::Text(rule::project_path),
        "no dependencies",
        "\"requirements.lock\"",
        "The locked dependencies: a requirements file with hashes, or `pylock.toml`; relative to the project file.",
    ),
    Key::new(
        "venv",
        Kind::Text(rule::image_path),
        "\"/opt/venv\"",
        "\"/opt/venv\"",
        "Where the virtual environment is in the image.",
    ),
    Key::new(
        "bytecode",
        Kind::Choice(MODES),
        "\"alongside\"",
        "\"alongside\"",
        "The dependencies' bytecode: \"none\" (sources only), \"alongside\" (both) or \"only\" (no sources).",
    ),
];

static NODE: &[Key] = &[
    Key::new(
        "lock",
        Kind::Text(rule::project_path),
        "",
        "\"package-lock.json\"",
        "The locked packages: `package-lock.json` or `npm-shrinkwrap.json`, lockfileVersion 2 or 3; relative to the project file.",
    )
    .required(),
    Key::new(
        "package",
        Kind::Text(rule::project_path),
        "`package.json` beside the lock",
        "\"package.json\"",
        "What the lock was made from: a lock that is out of date is an error; relative to the project file.",
    ),
    Key::new(
        "modules",
        Kind::Text(rule::modules_path),
        "`node_modules` in `app.target`",
        "\"/app/node_modules\"",
        "Where the packages are in the image.",
    ),
];

static OS: &[Key] = &[
    Key::new(
        "packages",
        Kind::Set(rule::package),
        "[]",
        "[\"python3\", \"libgomp1\"]",
        "Packages to install, with what they depend on, from the base's own apt sources.",
    ),
    Key::new(
        "upgrade",
        Kind::Choice(UPGRADES),
        "\"none\"",
        "\"security\"",
        "Which packages of the base are brought up to date: \"none\", \"security\" or \"all\".",
    ),
    Key::new("recommends", Kind::Flag, "false", "true", "Whether what packages recommend is installed, too."),
    Key::new(
        "keep",
        Kind::Set(rule::keep),
        "[]",
        "[\"locale:de\"]",
        "What is not left out of packages: \"docs\", \"man\", \"info\", \"locales\", \"locale:LANGUAGE\" or \"all\". Licences always stay.",
    ),
    Key::new(
        "mirror",
        Kind::Text(rule::mirror),
        "this machine's apt sources",
        "\"https://mirror.example/debian/\"",
        "For a base of packages alone: the archive that its packages come from.",
    ),
    Key::new(
        "keyring",
        Kind::Text(rule::project_path),
        "this machine's apt keys",
        "\"archive-keyring.gpg\"",
        "For a base of packages alone: the OpenPGP keys that sign the archive's index; relative to the project file.",
    ),
];

static APP: &[Key] = &[
    Key::new(
        "source",
        Kind::Text(rule::source_path),
        "",
        "\"src\"",
        "The folder of the application, relative to the project file; `.dockerignore` holds.",
    )
    .required(),
    Key::new(
        "target",
        Kind::Text(rule::image_path),
        "\"/app\"",
        "\"/app\"",
        "Where it is in the image; the working directory.",
    ),
    Key::new(
        "bytecode",
        Kind::Choice(MODES),
        "\"only\"; \"none\" without `[python]`",
        "\"only\"",
        "The application's bytecode: \"none\" (sources only), \"alongside\" (both) or \"only\" (no sources).",
    ),
    Key::new(
        "command",
        Kind::Command,
        "",
        "[\"gunicorn\", \"gameforge.wsgi:app\"]",
        "What runs when the container starts, word by word; no shell reads it.",
    )
    .required(),
    Key::new("expose", Kind::Ports, "[]", "[8080, \"53/udp\"]", "The ports that the application listens on."),
    Key::new(
        "require-env",
        Kind::Map(rule::env_name, rule::text),
        "",
        "{ GAMEFORGE_ENV = \"production\" }",
        "Variables that must have these values, or the launcher refuses to start the application.",
    ),
    Key::new("writable", Kind::Set(rule::image_path), "[]", "[\"/app/data\"]", "Folders that belong to the user."),
];

static USER: &[Key] = &[
    Key::new("name", Kind::Text(rule::user_name), "\"app\"", "\"gameforge\"", "The user's and the group's name."),
    Key::new("uid", Kind::Number(1, rule::ID_LIMIT), "1001", "1001", "The user's number."),
    Key::new("gid", Kind::Number(1, rule::ID_LIMIT), "1001", "1001", "The group's number."),
];

static HEALTHCHECK: &[Key] = &[
    Key::new("command", Kind::Command, "", "[\"python\", \"-m\", \"gameforge.health\"]", "Exits 0 when all is well.")
        .required(),
    Key::new("interval", Kind::Duration, "\"30s\"", "\"30s\"", "The time between two checks."),
    Key::new("timeout", Kind::Duration, "\"30s\"", "\"15s\"", "How long one check may take."),
    Key::new("start-period", Kind::Duration, "\"0s\"", "\"120s\"", "How long failures after the start do not count."),
    Key::new("retries", Kind::Number(1, 1000), "3", "3", "How many failures in a row make it unhealthy."),
];

static BUDGET: &[Key] = &[
    Key::new("compressed", Kind::Size, "no limit", "\"500MB\"", "All layers as they are pushed, base included."),
    Key::new("uncompressed", Kind::Size, "no limit", "\"1.5GB\"", "All layers unpacked, base included."),
    Key::new("layer", Kind::Size, "no limit", "\"250MB\"", "The largest single layer, compressed."),
    Key::new("layers", Kind::Number(1, 100), "100", "60", "The number of layers, base included."),
];

static GPU: &[Key] = &[
    Key::new(
        "arch",
        Kind::Set(rule::gpu_architecture),
        "not checked",
        "[\"sm_80\", \"sm_90\"]",
        "The architectures of the GPUs.",
    ),
    Key::new("driver", Kind::Text(rule::gpu_driver), "not checked", "\"535\"", "The oldest driver of the hosts."),
];

static HYGIENE: &[Key] = &[
    Key::new(
        "skip",
        Kind::Set(rule::text),
        "[]",
        "[\"notebook-output\"]",
        "Rules that are switched off; `.ingot-allow` answers for single findings.",
    )
    .top_only(),
    Key::new(
        "severity",
        Kind::Map(rule::text, rule::severity),
        "none",
        "{ env-file = \"error\" }",
        "Rules with another severity: \"error\" stops a build, \"warning\" is told, \"info\" is told by `ingot hygiene` alone.",
    )
    .top_only(),
    Key::new("large-file", Kind::Size, "\"100MB\"", "\"1GB\"", "A file that is larger is told.").top_only(),
];

static VALIDATE: &[Key] = &[
    Key::new("skip", Kind::Set(rule::text), "[]", "[\"no-healthcheck\"]", "Rules that are switched off.").top_only(),
    Key::new(
        "severity",
        Kind::Map(rule::text, rule::severity),
        "none",
        "{ no-healthcheck = \"error\" }",
        "Rules with another severity: an \"error\" fails a validation, \"warning\" and \"info\" are told.",
    )
    .top_only(),
];

/// Paths of the tables that have a key of this name: "did you mean to write it there?"
pub fn tables_with(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for key in PROJECT {
        match key.kind {
            Kind::Table(keys) if keys.iter().any(|inner| inner.name == name) => found.push(key.name.to_string()),
            Kind::Tables(_, keys) if keys.iter().any(|inner| inner.name == name) => {
                found.push(format!("{}.NAME", key.name));
            }
            _ => {}
        }
    }
    found
}

/// The reference part of `docs/project-file.md`.
pub fn markdown() -> String {
    let mut page = String::new();
    for key in PROJECT {
        let (keys, suffix) = match key.kind {
            Kind::Table(keys) => (keys, ""),
            Kind::Tables(_, keys) => (keys, ".NAME"),
            _ => (&[][..], ""),
        };
        let required = if key.required { " (required)" } else { "" };
        page += &format!("### `[{}{suffix}]`{required}\n\n{}\n\n", key.name, key.doc);
        if keys.is_empty() {
            page += &format!("Takes {}. Example: `{}`\n\n", key.kind.expected(), key.example);
            continue;
        }
        page += "| key | takes | default | example | meaning |\n|---|---|---|---|---|\n";
        for key in keys {
            let default = match (key.required, key.default) {
                (true, _) => "**required**".to_string(),
                (_, "") => "none".to_string(),
                (_, default) => default.to_string(),
            };
            let (name, takes, example, doc) = (key.name, takes(&key.kind), key.example, key.doc);
            page += &format!("| `{name}` | {takes} | {default} | `{example}` | {doc} |\n");
        }
        page += "\n";
    }
    page
}

fn takes(kind: &Kind) -> String {
    match kind {
        Kind::Number(low, high) => format!("an integer, {low} to {high}"),
        Kind::Choice(choices) => choices.iter().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(", "),
        other => other.expected().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_project_file_lists_every_key() {
        crate::project::page::holds("project-file.md", "src/project/schema.rs", &markdown());
    }

    #[test]
    fn keys_are_unique_and_documented() {
        for key in PROJECT {
            assert!(key.doc.ends_with('.'), "{}", key.name);
            if let Kind::Table(keys) | Kind::Tables(_, keys) = key.kind {
                let mut names: Vec<_> = keys.iter().map(|key| key.name).collect();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), keys.len(), "{}", key.name);
                assert!(keys.iter().all(|key| key.doc.ends_with('.') && !key.example.is_empty()), "{}", key.name);
            }
        }
    }
}
