//! Whole stacks, translated.
