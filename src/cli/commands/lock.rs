//! `ingot lock`: writes down what bases, OS packages and wheels are now, for every build to use.

use crate::cli::args::Lock as Args;
use crate::cli::settings::{Session, request};
use crate::error::Result;
use crate::lock::{Error, FILE_NAME, Lock};
use crate::plan::{self, Locking};
use crate::report::lock::LockReport;

/// Runs the command.
pub fn run(args: &Args, session: &Session) -> Result<()> {
    let (project, mut request) = request(&args.selection, Locking::Renew, session)?;
    if request.variants.is_empty() {
        request.variants.push("all".into());
    }
    let access = session.access()?;
    let plan = plan::plan(&project, &request, &access)?;
    let old = Lock::read(&project.root)?;
    let mut new = old.clone().unwrap_or_default();
    new.images.retain(|image| project.variants().contains(&image.variant));
    new.update(plan.images.into_iter().map(|image| image.locked).collect());
    let report = LockReport::new(old.as_ref(), &new);
    if args.check {
        let file = project.root.join(FILE_NAME).display().to_string();
        if old.is_none() {
            return Err(Error::Missing { file }.into());
        }
        if let Some((image, reason)) = report.first_change() {
            let (variant, platform) = (image.variant.clone(), image.platform.clone());
            return Err(Error::Stale { file, variant, platform, reason }.into());
        }
    } else if old.as_ref() != Some(&new) {
        new.write(&project.root)?;
    }
    session.printer.data(&report, LockReport::text)
}
