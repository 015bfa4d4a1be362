//! Names that are unique within the header.
//!
//! BTF has a name as often as the kernel has different types of that name; C has it once. The second
//! becomes `name___2`, by the order in which they are written. Tags (`struct`, `union`, `enum`) and
//! identifiers (typedefs, enumerators) are separate spaces, as in C.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Dump, DumpError};
use crate::{Kind, Type, TypeId};

/// How often each name has been given, and to whom.
pub(super) struct Names<'d> {
    tags: HashMap<&'d [u8], u32>,
    idents: HashMap<&'d [u8], u32>,
    /// The names given so far, by id.
    given: Vec<Option<Cow<'d, [u8]>>>,
}

impl Names<'_> {
    pub(super) fn new(count: usize) -> Self {
        Names { tags: HashMap::new(), idents: HashMap::new(), given: vec![None; count] }
    }
}

/// The `count`th use of a name.
fn nth<'d>(uses: &mut HashMap<&'d [u8], u32>, name: &'d [u8]) -> u32 {
    let count = uses.entry(name).or_insert(0);
    *count = count.saturating_add(1);
    *count
}

impl<'d> Dump<'d> {
    /// The name of a structure, union or enumeration; of an integer too.
    pub(super) fn type_name(
        &mut self,
        id: TypeId,
        ty: &Type<'_>,
    ) -> Result<Cow<'d, [u8]>, DumpError> {
        self.unique(id, ty, |names| &mut names.tags)
    }

    /// The name of a typedef.
    pub(super) fn ident_name(
        &mut self,
        id: TypeId,
        ty: &Type<'_>,
    ) -> Result<Cow<'d, [u8]>, DumpError> {
        self.unique(id, ty, |names| &mut names.idents)
    }

    fn unique(
        &mut self,
        id: TypeId,
        ty: &Type<'_>,
        space: impl for<'n> Fn(&'n mut Names<'d>) -> &'n mut HashMap<&'d [u8], u32>,
    ) -> Result<Cow<'d, [u8]>, DumpError> {
        let index = id.0 as usize;
        if let Some(Some(name)) = self.names.given.get(index) {
            return Ok(name.clone());
        }
        let name = self.name(ty.name_off)?;
        // A forward declaration is the type that it declares, not another one.
        let declares = ty.kind == Kind::Fwd || (ty.kind == Kind::Enum && ty.vlen == 0);
        let given = if ty.name_off.0 == 0 {
            return Ok(Cow::Borrowed(b""));
        } else if declares {
            Cow::Borrowed(name)
        } else {
            match nth(space(&mut self.names), name) {
                1 => Cow::Borrowed(name),
                count => {
                    let mut name = name.to_vec();
                    name.extend_from_slice(format!("___{count}").as_bytes());
                    // PARITY: libbpf's buffer holds 255 bytes (limits_are_bpftools).
                    name.truncate(255);
                    Cow::Owned(name)
                }
            }
        };
        if let Some(slot) = self.names.given.get_mut(index) {
            *slot = Some(given.clone());
        }
        Ok(given)
    }

    /// Writes the name of an enumerator.
    pub(super) fn enumerator(&mut self, name: &'d [u8]) {
        self.bytes(name);
        let count = nth(&mut self.names.idents, name);
        if count > 1 {
            self.text(&format!("___{count}"));
        }
    }
}
