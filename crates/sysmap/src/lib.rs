//! System.map as the kernel's build makes it, without nm and sed.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod map;

pub use map::{Entry, MapError, parse_map, write_map};
