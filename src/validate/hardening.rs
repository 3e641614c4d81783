//! Rules: hardening.

use super::findings::Findings;
use super::rule::Declared;
use super::subject::Subject;

/// The rules of this group.
pub(super) const RULES: &[Declared] = &[];

/// Looks for them.
pub(super) fn look(_subject: &Subject, _findings: &mut Findings<'_>) {}
