//! Signatures: good ones, and every kind of bad one.
