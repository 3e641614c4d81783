//! Checks: what must not go into an image, as findings of rules.
//!
//! A [`Rule`] has an id, a severity and a fix; a [`Finding`] is a place where one fired. [`Policy`] says which rules
//! are on and how severe they are, [`Allowed`] which findings somebody has answered for. [`hygiene()`] looks at a
//! project before anything is built: at exactly the files that would be packed, at the values that end in the
//! image's configuration, and at the lock.
//!
//! No finding ever carries a secret: [`Evidence`] is made of its first characters and its length, where it is found.

mod allow;
mod config;
mod error;
mod finding;
mod hygiene;
mod image;
mod lock;
mod memory;
mod policy;
mod rule;
mod secret;
mod stray;

pub use allow::{ALLOW_FILE, Allowed};
pub use error::{Check, Error, HYGIENE, STACK, VALIDATE};
pub use finding::{Evidence, Finding, Report, Severity};
pub use hygiene::{Extent, hygiene};
pub use image::{Secret, Told, is_secret_variable, secrets_in_file, secrets_in_lines, secrets_in_stack, stray_file};
pub use policy::Policy;
pub use rule::{Rule, find, markdown, rule, rules};
