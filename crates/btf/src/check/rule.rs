//! What can be wrong, in words.

use std::fmt;

use crate::{Kind, TypeId};

/// What the kernel would refuse, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The type; none for the header.
    pub id: Option<TypeId>,
    /// What is wrong.
    pub rule: Rule,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.id {
            write!(f, "type {id}: ")?;
        }
        write!(f, "{}", self.rule)
    }
}

/// A rule that is broken. Members, parameters and variables are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// `flags` of the header.
    #[error("the header's flags are {0:#x}, not 0")]
    Flags(u8),
    /// A header longer than the kernel knows, with something in it.
    #[error("the header has fields that the kernel does not know")]
    HeaderFields,
    /// Bytes that belong to no part.
    #[error("there are bytes that belong to no section at {0:#x}")]
    Gap(u64),
    /// More than a program can load.
    #[error("the blob has {0} bytes, more than 16 MiB")]
    BlobSize(usize),
    /// No types.
    #[error("there are no types")]
    NoTypes,
    /// Names would be out of reach.
    #[error("the string section has {0} bytes, more than 16 MiB")]
    StringsSize(usize),
    /// Types would be out of reach.
    #[error("the last type is {0}, more than 1048575")]
    TypeCount(u32),
    /// A kind that the kernel does not know.
    #[error("kind {0} is not known to the kernel")]
    UnknownKind(u8),
    /// Bits of `info` without a meaning.
    #[error("info {0:#010x} has bits without a meaning")]
    Info(u32),
    /// A name outside the strings.
    #[error("name offset {0:#x} is outside the strings")]
    NameOffset(u32),
    /// A name where there must be none.
    #[error("{0} must not have a name")]
    HasName(Kind),
    /// No name where there must be one.
    #[error("{0} must have a name")]
    NoName(Kind),
    /// A name that is not allowed.
    #[error("{0:?} is not a valid name")]
    Name(String),
    /// Entries where there can be none.
    #[error("vlen is {0}, not 0")]
    Vlen(u32),
    /// `kflag` where it means nothing.
    #[error("kflag must not be set in {0}")]
    Kflag(Kind),
    /// A third word where there is none.
    #[error("size is {0}, not 0")]
    Third(u32),
    /// A size that the kind cannot have.
    #[error("{0} cannot have a size of {1} bytes")]
    Size(Kind, u32),
    /// Bits of an `INT` without a meaning.
    #[error("int data {0:#010x} has bits without a meaning")]
    IntData(u32),
    /// An `INT` wider than it can be.
    #[error("{0} bits do not fit into {1} bytes, or are more than 128")]
    IntBits(u32, u32),
    /// More than one encoding.
    #[error("encoding {0} is not supported")]
    IntEncoding(u8),
    /// A reference to `void`, or beyond the largest id.
    #[error("reference to type {0} is not allowed here")]
    Reference(TypeId),
    /// A reference to a type that does not exist.
    #[error("type {0} does not exist")]
    NoType(TypeId),
    /// An index that is no plain integer.
    #[error("the index (type {0}) is not a plain integer")]
    Index(TypeId),
    /// An element without a size.
    #[error("the element (type {0}) has no size, or is a partial integer")]
    Element(TypeId),
    /// An array of more than 4 GiB.
    #[error("{0} elements of {1} bytes are more than 32 bits count")]
    ArraySize(u32, u32),
    /// A member with a bad type, offset or size.
    #[error("member {0}: {1}")]
    Member(u32, MemberRule),
    /// A value without a valid name.
    #[error("value {0}: its name is not valid")]
    Value(u32),
    /// A linkage that is not supported.
    #[error("linkage {0} is not supported")]
    Linkage(u32),
    /// A variable of a section.
    #[error("variable {0} of the section: {1}")]
    Section(u32, SectionRule),
    /// A tag's component that does not exist.
    #[error("component {0} does not exist")]
    Component(i32),
    /// A result without a size.
    #[error("the result (type {0}) has no size")]
    Result(TypeId),
    /// A parameter without a size, or without a valid name.
    #[error("parameter {0} has no size or no valid name")]
    Param(u32),
    /// A type that cannot be referred to from here.
    #[error("type {0} ({1}) cannot be referred to from here")]
    Target(TypeId, Kind),
    /// A circle.
    #[error("it refers to itself through type {0}")]
    Circle(TypeId),
    /// Too many references until a type comes to an end.
    #[error("it takes more than 32 types to resolve it")]
    Depth,
}

/// What is wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemberRule {
    /// Its name.
    #[error("its name is not valid")]
    Name,
    /// Its type.
    #[error("type {0} cannot be a member")]
    Type(TypeId),
    /// In a union all members begin at 0.
    #[error("it does not begin at bit 0 of the union")]
    Union,
    /// Members are in ascending order.
    #[error("it begins before the member before it")]
    Order,
    /// Beyond the structure.
    #[error("it ends behind the structure's {0} bytes")]
    Outside(u32),
    /// Only bitfields begin within a byte.
    #[error("it does not begin on a byte, or is not aligned")]
    Unaligned,
    /// A bitfield of a kind that cannot be one, or wider than its type.
    #[error("a bitfield of {0} bits is not possible with its type")]
    Bitfield(u8),
    /// The integer of a structure with bitfields must be a plain one.
    #[error("its integer is not a plain one")]
    Integer,
    /// More than the kernel copies.
    #[error("it takes more than 128 bits")]
    Wide,
}

/// What is wrong with a variable of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SectionRule {
    /// Not a variable.
    #[error("type {0} is not a variable")]
    Type(TypeId),
    /// Before the end of the one before it, or beyond the section.
    #[error("offset {0} overlaps the variable before it or lies behind the section")]
    Offset(u32),
    /// A size of 0, beyond the section, or less than the type's.
    #[error("size {0} is not possible")]
    Size(u32),
}
