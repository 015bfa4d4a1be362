//! What must be complete before what.
//!
//! A type is *strong* where its definition must stand before the one that uses it, and *weak* where a
//! forward declaration is enough: behind a pointer, as far as a structure or typedef with a name.

use super::{Dump, DumpError, Ordered};
use crate::{Kind, TypeId};

impl Dump<'_> {
    /// Marks the types that others refer to.
    pub(super) fn mark_referenced(&mut self) {
        let btf = self.btf;
        let mut mark = |id: TypeId| {
            if let Some(state) = self.states.get_mut(id.0 as usize) {
                state.referenced = true;
            }
        };
        let base = btf.base();
        for (_, ty) in base.iter().flat_map(|base| base.types()).chain(btf.types()) {
            match ty.kind {
                // PARITY: what a function returns does not count (random_types_are_bpftools).
                Kind::FuncProto => ty.params().for_each(|param| mark(param.ty)),
                Kind::Array => ty.array().into_iter().for_each(|array| {
                    mark(array.elem);
                    mark(array.index);
                }),
                _ => {
                    ty.type_id().into_iter().for_each(&mut mark);
                    ty.members().for_each(|member| mark(member.ty));
                    ty.var_secinfos().for_each(|var| mark(var.ty));
                }
            }
        }
    }

    /// Queues what `id` needs and then itself; whether it is strong.
    pub(super) fn order(
        &mut self,
        id: TypeId,
        through_ptr: bool,
        depth: u32,
    ) -> Result<bool, DumpError> {
        self.step(id, depth)?;
        let state = *self.state(id)?;
        if state.ordered == Ordered::Yes {
            return Ok(true);
        }
        let ty = self.ty(id)?;
        let named = ty.name_off.0 != 0;
        let composite = matches!(ty.kind, Kind::Struct | Kind::Union);
        let weak = through_ptr && named;
        if state.ordered == Ordered::InWork {
            return if composite && weak { Ok(false) } else { Err(DumpError::Cycle(id)) };
        }
        let target = ty.type_id().unwrap_or(TypeId::VOID);
        let strong = match ty.kind {
            Kind::Struct | Kind::Union => {
                if weak {
                    return Ok(false);
                }
                self.state(id)?.ordered = Ordered::InWork;
                for member in ty.members() {
                    self.order(member.ty, false, depth + 1)?;
                }
                if named {
                    self.queue.push(id);
                }
                true
            }
            Kind::Enum | Kind::Enum64 | Kind::Fwd => {
                if named || !state.referenced {
                    self.queue.push(id);
                }
                true
            }
            Kind::Typedef => {
                let strong = self.order(target, through_ptr, depth + 1)?;
                if through_ptr && !strong {
                    return Ok(false);
                }
                self.queue.push(id);
                true
            }
            Kind::Ptr => self.order(target, true, depth + 1)?,
            // What these are depends on the way that led here, so nothing is noted for them.
            Kind::Array => {
                let elem = ty.array().map_or(TypeId::VOID, |array| array.elem);
                return self.order(elem, false, depth + 1);
            }
            kind if kind.is_modifier() => return self.order(target, through_ptr, depth + 1),
            Kind::FuncProto => {
                let mut strong = self.order(target, through_ptr, depth + 1)?;
                for param in ty.params() {
                    strong |= self.order(param.ty, through_ptr, depth + 1)?;
                }
                return Ok(strong);
            }
            _ => false,
        };
        self.state(id)?.ordered = Ordered::Yes;
        Ok(strong)
    }
}
