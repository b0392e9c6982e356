//! The builder.
#![forbid(unsafe_code)]
