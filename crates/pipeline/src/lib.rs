//! The final link of a Linux kernel: vmlinux.o becomes vmlinux.
mod config;
pub mod plan;
pub use config::Config;
