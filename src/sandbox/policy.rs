//! Production means production: there is no way to run without an engine.

/// What may be done when there is no engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A container or nothing.
    Production,
    /// A subprocess, if somebody asks for it by name.
    Development,
}

/// Of this process's environment: `INGOT_ENV=production` or `FORCE_DOCKER_EXECUTION=true` is production.
#[allow(clippy::disallowed_methods, reason = "what is allowed here decides no bytes of an image")]
pub fn mode() -> Mode {
    of(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
}

fn of(variable: impl Fn(&str) -> Option<String>) -> Mode {
    let is = |name: &str, accepted: &[&str]| {
        variable(name).is_some_and(|value| accepted.contains(&value.trim().to_ascii_lowercase().as_str()))
    };
    let forced = is("FORCE_DOCKER_EXECUTION", &["true", "1", "yes", "on"]);
    if forced || is("INGOT_ENV", &["production", "prod"]) { Mode::Production } else { Mode::Development }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_variable_is_enough() {
        let with = |pairs: &'static [(&str, &str)]| {
            of(move |name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_string()))
        };
        for production in [
            &[("INGOT_ENV", "production")][..],
            &[("INGOT_ENV", "Production ")],
            &[("FORCE_DOCKER_EXECUTION", "true")],
            &[("FORCE_DOCKER_EXECUTION", "1"), ("INGOT_ENV", "development")],
        ] {
            assert_eq!(with(production), Mode::Production, "{production:?}");
        }
        for development in [&[][..], &[("INGOT_ENV", "development")], &[("FORCE_DOCKER_EXECUTION", "false")]] {
            assert_eq!(with(development), Mode::Development, "{development:?}");
        }
    }
}
