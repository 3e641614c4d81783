//! `ingot stack export`: a stack as manifests of another orchestrator.

use super::settings::Session;
use super::stack_args::{Export, Publish};
use crate::error::Result;
use crate::stack::{Stack, export};

/// Translates a stack; what is lost and what has to be known goes to stderr.
pub fn run(args: &Export, stack: &Stack, session: &Session) -> Result<()> {
    let publish = args.publish.map(|publish| match publish {
        Publish::None => export::Publish::None,
        Publish::LoadBalancer => export::Publish::LoadBalancer,
        Publish::NodePort => export::Publish::NodePort,
    });
    let options = export::Options {
        namespace: args.namespace.clone(),
        images: args.image.iter().cloned().collect(),
        publish,
        volume_size: args.volume_size.clone(),
        allow: args.allow.iter().cloned().collect(),
        lossy: args.lossy,
    };
    let manifests = export::kubernetes(stack, &options)?;
    let printer = &session.printer;
    match &args.output {
        Some(path) => export::write(&manifests, path)?,
        None => printer.data(&manifests.list(), |_| manifests.yaml())?,
    }
    manifests.lost.iter().for_each(|line| printer.message(&format!("let go: {line}")));
    manifests.notes.iter().for_each(|line| printer.message(&format!("note: {line}")));
    if !manifests.secrets.is_empty() {
        printer.message("these Secrets must be there:");
        manifests.secrets.iter().for_each(|line| printer.message(&format!("  {line}")));
    }
    Ok(())
}
