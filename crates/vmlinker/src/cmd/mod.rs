//! The subcommands, a file each: its arguments and what it does with them.

pub mod btf;
pub mod compare;
pub mod doctor;
mod files;
pub mod install;
pub mod kallsyms;
pub mod link;
pub mod man;
pub mod pahole;
pub mod plan;
pub mod record;
pub mod relink;
pub mod resolve_btfids;
pub mod sorttable;
pub mod stage_flags;
pub mod sysmap;
pub mod timeline;
