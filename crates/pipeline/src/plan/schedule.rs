//! The schedules, and the file names that each of them uses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Which temporary kernels are linked on the way to vmlinux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// One temporary kernel for BTF, two for kallsyms (Linux before 6.11).
    Separate,
    /// BTF and the first kallsyms pass share one temporary kernel (Linux 6.11 and later).
    Merged,
    /// No link has debug information: it is put into the linked kernel afterwards, and the last kallsyms tables
    /// into the place of those before them, so that there is no final link either.
    Lean,
}

/// A text that names no schedule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no schedule is called '{0}': use separate, merged or lean")]
pub struct ScheduleError(String);

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "separate" => Ok(Schedule::Separate),
            "merged" => Ok(Schedule::Merged),
            "lean" => Ok(Schedule::Lean),
            _ => Err(ScheduleError(text.to_string())),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Schedule::Separate => "separate",
            Schedule::Merged => "merged",
            Schedule::Lean => "lean",
        })
    }
}

impl Schedule {
    pub(super) fn names(self) -> Names {
        Names(self)
    }
}

/// The names of the temporary files, those of the kernel's own script for the same schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names(Schedule);

impl Names {
    /// The symbol list of the empty kallsyms table, itself empty.
    pub fn empty_map(self) -> String {
        match self.0 {
            Schedule::Separate => ".tmp_vmlinux.kallsyms0.syms".to_string(),
            Schedule::Merged | Schedule::Lean => ".tmp_vmlinux0.syms".to_string(),
        }
    }

    /// The kernel that a kallsyms pass is made of.
    pub fn kallsyms_image(self, pass: u32) -> String {
        match self.0 {
            Schedule::Separate => format!(".tmp_vmlinux.kallsyms{pass}"),
            Schedule::Merged | Schedule::Lean => format!(".tmp_vmlinux{pass}"),
        }
    }

    /// The kallsyms source and object of a pass, without `.S` and `.o`.
    pub fn kallsyms(self, pass: u32) -> String {
        match self.0 {
            Schedule::Separate => format!(".tmp_vmlinux.kallsyms{pass}"),
            Schedule::Merged | Schedule::Lean => format!(".tmp_vmlinux{pass}.kallsyms"),
        }
    }

    /// The kernel that BTF is made of.
    pub fn btf_image(self) -> String {
        match self.0 {
            Schedule::Separate => ".tmp_vmlinux.btf".to_string(),
            Schedule::Merged | Schedule::Lean => ".tmp_vmlinux1".to_string(),
        }
    }

    /// The object that keeps a place for `.BTF` before there are types; only the lean schedule has it.
    pub fn btf_room(self) -> String {
        ".tmp_vmlinux0.btf.o".to_string()
    }

    /// The object that carries `.BTF`.
    pub fn btf_object(self) -> String {
        match self.0 {
            Schedule::Separate => ".btf.vmlinux.bin.o".to_string(),
            Schedule::Merged | Schedule::Lean => ".tmp_vmlinux1.btf.o".to_string(),
        }
    }
}
