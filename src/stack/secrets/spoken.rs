//! Secrets in what a service is told besides its variables: whoever lists processes or containers reads commands, health
//! checks and labels.

use super::values::weakness;
use crate::check::{Evidence, secrets_in_stack};
use crate::stack::check::Checker;
use crate::stack::node::Node;
use crate::stack::told;

/// Looks at the commands, checks and labels of a service.
pub(in crate::stack) fn spoken(checker: &mut Checker<'_>, name: &str, service: &Node) {
    for told in told::all(service) {
        let text = told.text();
        for hit in secrets_in_stack(text.as_bytes()) {
            let Some(secret) = text.get(hit.range.clone()) else { continue };
            let Some((place, _)) = told.pieces.get(told.piece(hit.range.start)) else { continue };
            let problem = match weakness(secret) {
                Some(problem) => problem,
                None if checker.stack.is_written(*place, secret) => "stands in the file",
                None => continue,
            };
            let message = format!("{} in `{}` of `{name}` {problem}", hit.title, told.key);
            let evidence = Some(Evidence::of(secret.as_bytes()));
            checker.add_secret("secret-value", *place, message, evidence, checker.production);
        }
    }
}
