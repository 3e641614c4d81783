//! `ingot push`, `ingot pull`, `ingot copy`: an image from one place to another, its digest unchanged.

use crate::cli::args::Copy;
use crate::cli::settings::{Error, Session};
use crate::error::Result;
use crate::image::{ImageName, Platforms, copy, open, sink};
use crate::oci::Reference;
use crate::report;

/// `ingot copy SRC DEST`: both are named in full, or are references.
pub fn run(args: &Copy, session: &Session) -> Result<()> {
    transfer(&args.source.parse()?, &args.destination.parse()?, args, session)
}

/// `ingot push SRC REF`: the destination is in a registry.
pub fn push(args: &Copy, session: &Session) -> Result<()> {
    let reference: Reference = args.destination.strip_prefix("docker://").unwrap_or(&args.destination).parse()?;
    transfer(&args.source.parse()?, &ImageName::Registry(reference), args, session)
}

/// `ingot pull REF DEST`: the source is in a registry.
pub fn pull(args: &Copy, session: &Session) -> Result<()> {
    let reference: Reference = args.source.strip_prefix("docker://").unwrap_or(&args.source).parse()?;
    transfer(&ImageName::Registry(reference), &args.destination.parse()?, args, session)
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
