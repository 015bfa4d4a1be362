//! What is remembered of units from one link to the next.
//!
//! Most of a kernel's units are the same as in the link before. What reading them has come to does not depend on the
//! order in which they were read, and can be had without them: the types that were met, each with the first two units
//! that have it ([`noted`]), and the functions and variables of each unit. So this is saved ([`save`]), with a key of
//! each unit's contents. A later run ([`resume`]) takes away what units have said that are not there any more, reads
//! those that are new, and comes to the same as if it had read all. Where that is not certain it reads all.
//!
//! Types are recognised by hashes of the codes that their names have, so names keep their codes ([`crate::strings`]).
//! The saved state holds only for the build of the program that wrote it, and for the same options; whoever saves it
//! says so by the *tie*.
//!
//! Why a unit's key says enough: it covers the bytes of the unit and of its abbreviations, which section each relocation
//! leads to, and the text of all strings that it refers to. Addresses are left out: nothing of types depends on them,
//! those of variables are read again, and those of functions where something depends on them ([`crate::addresses`]). A
//! unit that refers to another is not added one by one at all ([`crate::merge`]), and what a unit's functions are looked
//! up by, the candidates, is compared besides.
//!
//! A run that begins with nothing asks for no key; they are made afterwards ([`to_remember`]).
//!
//! Cost, for the defconfig of 6.12: 53,000 types, 270,000 names.

mod file;
mod key;
mod load;
mod noted;
mod recording;
mod resume;
mod save;
#[cfg(test)]
mod tests;
mod to_remember;

pub(crate) use noted::{Certainty, FirstTwo, NONE, Noted, Notes, Spot};
pub(crate) use recording::{Begun, Recording, begin};
pub use to_remember::ToRemember;
