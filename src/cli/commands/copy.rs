//! `ingot push`, `ingot pull`, `ingot copy`: an image from one place to another, its digest unchanged.

use crate::cli::args::Copy;
use crate::cli::settings::{Error, Session};
use crate::error::Result;
use crate::image::{ImageName, Platforms, copy, open, sink};
use crate::report;

/// `ingot copy SRC DEST`: both are named in full, or are references.
pub fn run(args: &Copy, session: &Session) -> Result<()> {
    transfer(&args.source.parse()?, &args.destination.parse()?, args, session)
}

/// `ingot push SRC REF`: the destination is in a registry.
pub fn push(args: &Copy, session: &Session) -> Result<()> {
    transfer(&args.source.parse()?, &in_registry(&args.destination, "push", "to")?, args, session)
}

/// `ingot pull REF DEST`: the source is in a registry.
pub fn pull(args: &Copy, session: &Session) -> Result<()> {
    transfer(&in_registry(&args.source, "pull", "from")?, &args.destination.parse()?, args, session)
}

fn in_registry(text: &str, command: &str, direction: &str) -> Result<ImageName> {
    let name: ImageName = text.parse()?;
    if matches!(name, ImageName::Registry(_)) {
        return Ok(name);
    }
    let problem = format!("`ingot {command}` goes {direction} a registry, and `{text}` is in none");
    Err(Error::usage(problem, "use `ingot copy`, which goes from anywhere to anywhere").into())
}

fn transfer(from: &ImageName, to: &ImageName, args: &Copy, session: &Session) -> Result<()> {
    if from == to {
        let advice = "name two different places";
        return Err(Error::usage(format!("`{from}` is both the source and the destination"), advice).into());
    }
    let access = session.access()?;
    let opened = open(from, &access)?;
    let platforms = match &args.platform {
        Some(platform) => Platforms::One(Some(platform.clone())),
        None => Platforms::All,
    };
    let sink = sink(to, &access, from.reference())?;
    let receipt = copy(&opened, &platforms, sink.as_ref(), &session.progress)?;
    session.printer.data(&receipt, report::receipt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_not_in_a_registry() {
        for text in ["localhost:5000/x:1", "docker://localhost:5000/x:1", "ubuntu:22.04"] {
            assert!(matches!(in_registry(text, "push", "to"), Ok(ImageName::Registry(_))), "{text}");
        }
        let error = in_registry("oci:dist/x", "push", "to").unwrap_err();
        assert_eq!(error.to_string(), "`ingot push` goes to a registry, and `oci:dist/x` is in none");
        assert_eq!(error.class().code(), 2);
    }
}
