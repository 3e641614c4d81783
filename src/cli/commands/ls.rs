//! `ingot ls`: the files of an image, as all its layers together show them.

use crate::cli::args::Ls;
use crate::cli::settings::Session;
use crate::error::Result;
use crate::image::{Rootfs, open};
use crate::layer::TreePath;
use crate::report::files::FilesReport;

/// Runs the command.
pub fn run(args: &Ls, session: &Session) -> Result<()> {
    let access = session.access()?;
    let image = open(&args.look.image.parse()?, &access)?.image(args.look.platform.as_ref())?;
    let rootfs = Rootfs::open(&image.layers, image.blobs.clone(), &access.store, &access.progress)?;
    let folder = match args.path.as_deref().map(|path| path.trim_matches('/')) {
        None | Some("" | ".") => None,
        Some(path) => Some(TreePath::new(path)?),
    };
    let report = FilesReport::new(&rootfs, folder.as_ref());
    session.printer.data(&report, |report| report.text(args.long))
}
