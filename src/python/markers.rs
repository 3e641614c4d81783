//! Environment markers (PEP 508), evaluated for the target and never for the machine that builds.

use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder, MarkerTree};

use super::{Error, Target};

/// A marker of a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    text: String,
    tree: MarkerTree,
}

impl Marker {
    /// Parses the part after `;`. `place` is for the error.
    pub fn parse(text: &str, place: &str) -> Result<Self, Error> {
        let tree = text.parse::<MarkerTree>().map_err(|error| Error::Syntax {
            place: place.to_string(),
            // Only its message: its Display counts characters as bytes.
            reason: format!("`{}` is not an environment marker: {}", super::names::shown(text), error.message),
        })?;
        Ok(Marker { text: text.trim().to_string(), tree })
    }

    /// Whether it holds in `environment`.
    pub fn holds(&self, environment: &MarkerEnvironment) -> bool {
        self.tree.evaluate(environment, &[])
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The marker variables of a target.
pub fn environment(target: &Target) -> Result<MarkerEnvironment, Error> {
    let short = target.python.short();
    // Nothing may depend on the micro version of a base; where it is unknown, the first release stands for all.
    let full = format!("{short}.{}", target.python.micro.unwrap_or(0));
    MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: &full,
        os_name: "posix",
        platform_machine: target.platform.machine(),
        platform_python_implementation: "CPython",
        // What the kernel of the machine that runs the image says cannot be known; empty, as uv has it.
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: &full,
        python_version: &short,
        sys_platform: "linux",
    })
    .map_err(|error| Error::OtherTarget { place: "the target".into(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::python::Libc;
    use crate::python::tags::tests::target;

    #[test]
    fn markers_are_those_of_the_target() {
        let environment = environment(&target(10, "arm64", Libc::Glibc(2, 35))).unwrap();
        for (text, expected) in [
            ("python_version < '3.11'", true),
            ("python_version >= '3.11'", false),
            ("python_full_version == '3.10.0'", true),
            ("sys_platform == 'win32'", false),
            ("sys_platform == 'linux' and platform_machine == 'aarch64'", true),
            ("platform_machine == 'x86_64' or os_name == 'nt'", false),
            ("implementation_name == 'cpython' and platform_system != 'Windows'", true),
            ("platform_python_implementation == 'PyPy'", false),
            ("extra == 'test'", false),
            ("platform_release != ''", false),
        ] {
            assert_eq!(Marker::parse(text, "x:1").unwrap().holds(&environment), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_not_but_never_panics(text in "[a-z_'\"<>=!~() .0-9]{0,40}|.{0,30}") {
            let _ = Marker::parse(&text, "x");
        }
    }

    #[test]
    fn nonsense_is_an_error_with_its_place() {
        for bad in ["python_version", "foo == 'bar'", "python_version < '3.11", "ö == 'ü'"] {
            let error = Marker::parse(bad, "requirements.lock:3").unwrap_err();
            assert!(error.to_string().starts_with("requirements.lock:3: "), "{error}");
        }
    }
}
