//! The final link of a Linux kernel: vmlinux.o becomes vmlinux.
//!
//! What: everything that `scripts/link-vmlinux.sh` does. The tree's own scripts tell what the stage
//! looks like in this kernel ([`features`]); a [`plan`] says which steps that takes and who does each;
//! a [`Stage`] runs them. A [`Record`] of the call lets [`Relink`] run the same link again without
//! make; its [`timeline`] tells where the time went. [`install`] puts vmlinker into a kernel tree and takes it out again.
//!
//! Why one crate: this is the only one that touches files, environment and processes. All that it
//! computes is computed by the cores (`sysmap`, `kallsyms`, `btf`, `btf-ids`, `sorttable`), which take
//! bytes.
//!
//! Cost: that of the linker and of pahole; the native steps take some 10 ms each.
//!
//! Source of facts: `scripts/link-vmlinux.sh`, `scripts/gen-btf.sh` and `scripts/Makefile.vmlinux` of
//! Linux 6.1, 6.12 and 7.3.
#![warn(missing_docs)]

mod call;
mod clean;
mod config;
mod cost;
pub mod doctor;
mod error;
mod faults;
pub mod features;
mod files;
pub mod install;
mod jobs;
mod known;
mod lock;
pub mod plan;
mod process;
pub mod progress;
mod record;
mod relink;
mod remembered;
mod reuse;
pub mod say;
mod shadow;
mod sizes;
mod stage;
mod strings;
pub mod timeline;
mod toolbox;
mod tree;
mod version;

pub use call::Call;
pub use clean::clean;
pub use config::Config;
pub use error::{Error, Result};
pub use faults::{Heap, watch_faults};
pub use files::{map_open, reader_at, write_beside};
pub use jobs::Jobs;
pub use process::watch_signals;
pub use record::{RECORD, Record};
pub use relink::{Linker, Relink};
pub use sizes::Sizes;
pub use stage::{Options, Stage};
pub use timeline::Timeline;
pub use toolbox::Toolbox;
pub use tree::Tree;
