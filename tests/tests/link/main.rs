//! The whole link beside the kernel's own script, on real kernels: `cmp` decides.
//!
//! - `debug_info`: debug information in a file of its own, or nowhere.
//! - `doctor`: what is said of a tree before a link.
//! - `engines`: every schedule and every single engine exchanged changes no byte.
//! - `variants`: another linker, the linker's map, the extra pass, and symbols that disagree.
//! - `make`: vmlinker installed in a kernel tree and called by Kbuild.
//! - `git`: an installed vmlinker in a git tree leaves the kernel's release as it is.
//! - `plan`: the plan that is printed is the link that runs.
//! - `verify`: `--verify` passes what is right and finds what is not.
//! - `warm`: the lean schedule with the sizes of the link before, right and wrong.

mod debug_info;
mod doctor;
mod engines;
mod git;
mod make;
mod plan;
mod variants;
mod verify;
mod warm;
