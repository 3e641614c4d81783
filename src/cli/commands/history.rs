//! `ingot history`: which layer was made by what, newest first.

use crate::cli::args::Look;
use crate::cli::settings::Session;
use crate::error::Result;
use crate::image::open;
use crate::report::image::HistoryReport;

/// Runs the command.
pub fn run(args: &Look, session: &Session) -> Result<()> {
    let image = open(&args.image.parse()?, &session.access()?)?.image(args.platform.as_ref())?;
    session.printer.data(&HistoryReport::new(&image)?, HistoryReport::text)
}
