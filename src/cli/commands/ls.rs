//! `ingot ls`: the files of an image, as all its layers together show them.

use crate::cli::args::Ls;
use crate::cli::settings::{Error, Session};
use crate::error::Result;
use crate::image::{Rootfs, open};
use crate::layer::TreePath;
use crate::report::files::FilesReport;

/// Runs the command.
pub fn run(args: &Ls, session: &Session) -> Result<()> {
    let access = session.access()?;
    let image = open(&args.look.image.parse()?, &access)?.image(args.look.platform.as_ref())?;
    let rootfs = Rootfs::open(&image.own_layers(), image.blobs.clone(), &access.store, &access.progress)?;
    let folder = match args.path.as_deref().map(|path| path.trim_matches('/')) {
        None | Some("" | ".") => None,
        Some(path) => Some(TreePath::new(path)?),
    };
    let report = FilesReport::new(&rootfs, folder.as_ref());
    if let (Some(folder), true) = (&folder, report.is_empty()) {
        let problem = format!("`{}` has no `/{folder}`", args.look.image);
        return Err(Error::usage(problem, "`ingot ls` without a path lists everything").into());
    }
    session.printer.data(&report, |report| report.text(args.long))
}
