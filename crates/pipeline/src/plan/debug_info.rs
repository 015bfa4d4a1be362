//! What becomes of debug information.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

/// Name of the file that holds debug information by itself, in the object tree.
pub const DEBUG_FILE: &str = "vmlinux.debug";

/// Where the debug information of a kernel goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DebugInfo {
    /// Into the kernel, as the kernel's own script does it.
    #[default]
    Keep,
    /// Into [`DEBUG_FILE`]; the kernel has a link to it (`.gnu_debuglink`).
    Separate,
    /// Nowhere: it is of use only for BTF.
    Drop,
}

/// A text that names nothing that can be done with debug information.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("debug information cannot be '{0}': use keep, separate or drop")]
pub struct DebugInfoError(String);

impl FromStr for DebugInfo {
    type Err = DebugInfoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "keep" => Ok(DebugInfo::Keep),
            "separate" => Ok(DebugInfo::Separate),
            "drop" => Ok(DebugInfo::Drop),
            _ => Err(DebugInfoError(text.to_string())),
        }
    }
}

impl fmt::Display for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DebugInfo::Keep => "keep",
            DebugInfo::Separate => "separate",
            DebugInfo::Drop => "drop",
        })
    }
}
