//! The final link of a Linux kernel: vmlinux.o becomes vmlinux.
mod call;
mod config;
mod error;
pub mod features;
mod jobs;
pub mod plan;
mod process;
pub use call::Call;
pub use config::Config;
pub use error::{Error, Result};
