//! `ingot inspect`: digest, platform, configuration and layers, without unpacking anything.

use crate::cli::args::Look;
use crate::cli::settings::Session;
use crate::error::Result;
use crate::image::open;
use crate::report::image::ImageReport;

/// Runs the command.
pub fn run(args: &Look, session: &Session) -> Result<()> {
    let opened = open(&args.image.parse()?, &session.access()?)?;
    let image = opened.image(args.platform.as_ref())?;
    session.printer.data(&ImageReport::new(&image, &opened.platforms()?), ImageReport::text)
}
