//! Packages files.
