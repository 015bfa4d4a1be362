//! Whether each type comes to an end.
//!
//! The kernel walks from each type to what it refers to, with a stack of 32 types. What it looks
//! through depends on where it began: behind a pointer only pointers and modifiers (what a pointer
//! points at needs no size), inside a structure or array only modifiers, arrays and structures (a pointer
//! has a size of its own). A type that is on the stack already is a circle. The walk is the kernel's, so
//! that the limit of 32 is met where it meets it.

use super::member;
use super::rule::{Fault, MemberRule, Rule, SectionRule};
use crate::{Btf, Kind, Member, Type, TypeId};

/// `MAX_RESOLVE_DEPTH`.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    No,
    OnStack,
    /// The type that it comes to, and the size in bytes if it is an array.
    Resolved(TypeId, u32),
}

/// What is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Any,
    Pointer,
    Composite,
}

/// What a look at the type on top of the stack gives.
enum Step {
    /// Another type must be resolved first; where to go on afterwards.
    Push(TypeId, u32),
    /// It is resolved.
    Done(TypeId, u32),
}

/// The sizes that are known so far.
pub(super) struct Sizes<'a, 'd> {
    btf: &'a Btf<'d>,
    pointer_size: u32,
    /// By own type.
    visits: Vec<Visit>,
}

struct Walk<'a, 'd> {
    sizes: Sizes<'a, 'd>,
    stack: Vec<(TypeId, u32)>,
    mode: Mode,
}

/// The first fault, if there is one.
pub(super) fn check(btf: &Btf<'_>, pointer_size: u32) -> Option<Fault> {
    let sizes = Sizes { btf, pointer_size, visits: vec![Visit::No; btf.len()] };
    let mut walk = Walk { sizes, stack: Vec::new(), mode: Mode::Any };
    for (id, ty) in btf.types() {
        if needs_resolve(ty.kind)
            && let Err(fault) = walk.resolve(id)
        {
            return Some(fault);
        }
        if ty.kind == Kind::FuncProto
            && let Err(fault) = walk.proto(id, &ty)
        {
            return Some(fault);
        }
    }
    None
}

fn needs_resolve(kind: Kind) -> bool {
    let composite = matches!(kind, Kind::Ptr | Kind::Struct | Kind::Union | Kind::Array);
    kind.is_modifier() || composite || kind == Kind::Func || only_source(kind)
}

/// Kinds that refer to others and that nothing refers to but another of them.
fn only_source(kind: Kind) -> bool {
    matches!(kind, Kind::Var | Kind::DeclTag | Kind::Datasec)
}

/// Kinds that never have a size.
fn sizeless(kind: Kind) -> bool {
    matches!(kind, Kind::Void | Kind::Fwd | Kind::Func | Kind::FuncProto | Kind::DeclTag)
}

impl<'a, 'd> Sizes<'a, 'd> {
    pub(super) fn btf(&self) -> &'a Btf<'d> {
        self.btf
    }

    pub(super) fn pointer_size(&self) -> u32 {
        self.pointer_size
    }

    fn visit(&self, id: TypeId) -> Option<Visit> {
        let own = id.0.checked_sub(self.btf.first_id().0)?;
        self.visits.get(own as usize).copied()
    }

    /// Whether it is resolved; the types of a base are.
    fn is_resolved(&self, id: TypeId) -> bool {
        id < self.btf.first_id() || matches!(self.visit(id), Some(Visit::Resolved(..)))
    }

    /// What a modifier or variable comes to.
    fn resolved(&self, id: TypeId) -> TypeId {
        match self.visit(id) {
            Some(Visit::Resolved(to, _)) => to,
            Some(_) => TypeId::VOID,
            None => self.behind(id),
        }
    }

    /// What a type of the base comes to: the base is not walked, so its chain is followed.
    fn behind(&self, mut id: TypeId) -> TypeId {
        for _ in 0..MAX_DEPTH {
            match self.btf.get(id) {
                Some(ty) if ty.kind.is_modifier() || ty.kind == Kind::Var => {
                    id = TypeId(ty.size_or_type);
                }
                _ => return id,
            }
        }
        TypeId::VOID
    }

    /// Size of an array in bytes; of one of the base, by its elements.
    fn array_size(&self, id: TypeId, depth: usize) -> Option<u32> {
        match self.visit(id) {
            Some(Visit::Resolved(_, size)) => Some(size),
            Some(_) => Some(0),
            None if depth > MAX_DEPTH => None,
            None => {
                let array = self.btf.get(id)?.array()?;
                let (_, elem) = self.at_depth(array.elem, depth + 1)?;
                elem.checked_mul(array.nelems)
            }
        }
    }

    /// The type that has the size of `id`, and the size in bytes; none for a type without one.
    pub(super) fn of(&self, id: TypeId) -> Option<(Type<'d>, u32)> {
        self.at_depth(id, 0)
    }

    fn at_depth(&self, id: TypeId, depth: usize) -> Option<(Type<'d>, u32)> {
        let direct = self.btf.get(id)?;
        let looked_through = direct.kind.is_modifier() || direct.kind == Kind::Var;
        let id = if looked_through { self.resolved(id) } else { id };
        let ty = self.btf.get(id)?;
        let size = match ty.kind {
            kind if sizeless(kind) => return None,
            kind if kind.has_size() => ty.size_or_type,
            Kind::Array => self.array_size(id, depth)?,
            Kind::Ptr => self.pointer_size,
            _ => return None,
        };
        Some((ty, size))
    }
}

impl<'d> Walk<'_, 'd> {
    fn ty(&self, id: TypeId) -> Result<Type<'d>, Rule> {
        self.sizes.btf.get(id).ok_or(Rule::NoType(id))
    }

    /// Resolves a type and all that it needs.
    fn resolve(&mut self, id: TypeId) -> Result<(), Fault> {
        if self.sizes.is_resolved(id) {
            return Ok(());
        }
        self.mode = Mode::Any;
        self.stack.clear();
        let start = |rule| Fault { id: Some(id), rule };
        self.push(id).map_err(start)?;
        while let Some(&(top, next)) = self.stack.last() {
            let at_top = |rule| Fault { id: Some(top), rule };
            let ty = self.ty(top).map_err(at_top)?;
            match self.look(&ty, next).map_err(at_top)? {
                Step::Push(id, next) => {
                    if let Some(frame) = self.stack.last_mut() {
                        frame.1 = next;
                    }
                    self.push(id).map_err(start)?;
                }
                Step::Done(to, size) => {
                    self.stack.pop();
                    self.set(top, Visit::Resolved(to, size));
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, id: TypeId, visit: Visit) {
        let own = id.0.wrapping_sub(self.sizes.btf.first_id().0) as usize;
        if let Some(slot) = self.sizes.visits.get_mut(own) {
            *slot = visit;
        }
    }

    fn push(&mut self, id: TypeId) -> Result<(), Rule> {
        if self.stack.len() == MAX_DEPTH {
            return Err(Rule::Depth);
        }
        if self.sizes.visit(id) != Some(Visit::No) {
            return Err(Rule::Circle(id));
        }
        self.set(id, Visit::OnStack);
        self.stack.push((id, 0));
        if self.mode == Mode::Any {
            self.mode = match self.ty(id)?.kind {
                Kind::Ptr => Mode::Pointer,
                Kind::Struct | Kind::Union | Kind::Array => Mode::Composite,
                _ => Mode::Any,
            };
        }
        Ok(())
    }

    /// Whether a type of that kind must be resolved before what refers to it.
    fn first(&self, id: TypeId, kind: Kind) -> bool {
        let looked_through = match self.mode {
            Mode::Any => needs_resolve(kind),
            Mode::Pointer => kind.is_modifier() || kind == Kind::Ptr,
            Mode::Composite => {
                kind.is_modifier() || matches!(kind, Kind::Array | Kind::Struct | Kind::Union)
            }
        };
        looked_through && !self.sizes.is_resolved(id)
    }

    fn look(&mut self, ty: &Type<'d>, next: u32) -> Result<Step, Rule> {
        match ty.kind {
            Kind::Struct | Kind::Union => self.composite(ty, next),
            Kind::Array => self.array(ty),
            Kind::Func => self.func(ty),
            Kind::DeclTag => self.decl_tag(ty),
            Kind::Datasec => self.datasec(ty, next),
            _ => self.reference(ty),
        }
    }

    /// A pointer, modifier or variable.
    fn reference(&self, ty: &Type<'d>) -> Result<Step, Rule> {
        let target = TypeId(ty.size_or_type);
        let kind = self.ty(target)?.kind;
        if only_source(kind) {
            return Err(Rule::Target(target, kind));
        }
        if self.first(target, kind) {
            return Ok(Step::Push(target, 0));
        }
        // A modifier that was resolved inside a structure ended at the first pointer.
        if kind.is_modifier() && !ty.kind.is_modifier() {
            let last = self.sizes.resolved(target);
            let is_ptr = self.sizes.btf.get(last).is_some_and(|ty| ty.kind == Kind::Ptr);
            if is_ptr && self.first(last, Kind::Ptr) {
                return Ok(Step::Push(last, 0));
            }
        }
        if self.sizes.of(target).is_some() {
            let id = if kind.is_modifier() { self.sizes.resolved(target) } else { target };
            return Ok(Step::Done(id, 0));
        }
        // `const void`, a pointer to a forward declaration or to a function.
        let resolved = self.sizes.is_resolved(target) && kind.is_modifier();
        let end = if resolved { self.sizes.resolved(target) } else { target };
        let end_kind = self.ty(end)?.kind;
        let open = matches!(end_kind, Kind::Void | Kind::Fwd | Kind::FuncProto);
        if open && ty.kind != Kind::Var {
            Ok(Step::Done(end, 0))
        } else {
            Err(Rule::Target(end, end_kind))
        }
    }

    fn array(&self, ty: &Type<'d>) -> Result<Step, Rule> {
        let array = ty.array().ok_or(Rule::Index(TypeId::VOID))?;
        let kind = |id| Ok::<_, Rule>(self.ty(id)?.kind);
        let bad = |kind| sizeless(kind) || only_source(kind);
        let index = kind(array.index)?;
        if bad(index) {
            return Err(Rule::Index(array.index));
        }
        if self.first(array.index, index) {
            return Ok(Step::Push(array.index, 0));
        }
        let plain = |ty: &Type<'_>| ty.int().is_some_and(|int| member::is_plain(&int));
        if !self.sizes.of(array.index).is_some_and(|(ty, _)| plain(&ty)) {
            return Err(Rule::Index(array.index));
        }
        let elem = kind(array.elem)?;
        if bad(elem) {
            return Err(Rule::Element(array.elem));
        }
        if self.first(array.elem, elem) {
            return Ok(Step::Push(array.elem, 0));
        }
        let (end, size) = self.sizes.of(array.elem).ok_or(Rule::Element(array.elem))?;
        if end.kind == Kind::Int && !plain(&end) {
            return Err(Rule::Element(array.elem));
        }
        let total = size.checked_mul(array.nelems);
        let total = total.ok_or(Rule::ArraySize(array.nelems, size))?;
        Ok(Step::Done(array.elem, total))
    }

    fn composite(&self, ty: &Type<'d>, next: u32) -> Result<Step, Rule> {
        let check = |index: u32, member: &Member| {
            member::check(ty, member, &self.sizes).map_err(|rule| Rule::Member(index, rule))
        };
        // The member before `next` has just been resolved.
        let from = next.saturating_sub(1);
        for (index, member) in (0..).zip(ty.members()).skip(from as usize) {
            let bad = Rule::Member(index, MemberRule::Type(member.ty));
            let kind = self.sizes.btf.get(member.ty).map_or(Kind::Void, |ty| ty.kind);
            if sizeless(kind) || only_source(kind) {
                return Err(bad);
            }
            if self.first(member.ty, kind) {
                return Ok(Step::Push(member.ty, index + 1));
            }
            check(index, &member)?;
        }
        Ok(Step::Done(TypeId::VOID, 0))
    }

    fn func(&self, ty: &Type<'d>) -> Result<Step, Rule> {
        let id = TypeId(ty.size_or_type);
        let proto = self.ty(id)?;
        if proto.kind != Kind::FuncProto {
            return Err(Rule::Target(id, proto.kind));
        }
        let nameless = |param: &crate::Param| param.name_off.0 == 0 && param.ty != TypeId::VOID;
        match proto.params().position(|param| nameless(&param)) {
            Some(index) => Err(Rule::Param(index as u32)),
            None => Ok(Step::Done(id, 0)),
        }
    }

    fn decl_tag(&self, ty: &Type<'d>) -> Result<Step, Rule> {
        let id = TypeId(ty.size_or_type);
        let target = self.ty(id)?;
        let count = match target.kind {
            Kind::Struct | Kind::Union => target.vlen,
            Kind::Func => self.ty(TypeId(target.size_or_type))?.vlen,
            Kind::Var | Kind::Typedef => 0,
            kind => return Err(Rule::Target(id, kind)),
        };
        if self.first(id, target.kind) {
            return Ok(Step::Push(id, 0));
        }
        match ty.component_idx() {
            Some(-1) => Ok(Step::Done(id, 0)),
            Some(index) if (index as u32) < count => Ok(Step::Done(id, 0)),
            index => Err(Rule::Component(index.unwrap_or(i32::MIN))),
        }
    }

    fn datasec(&mut self, ty: &Type<'d>, next: u32) -> Result<Step, Rule> {
        self.mode = Mode::Any;
        for (index, info) in (0..).zip(ty.var_secinfos()).skip(next.saturating_sub(1) as usize) {
            let fault = |rule| Rule::Section(index, rule);
            let var = self.sizes.btf.get(info.ty).filter(|ty| ty.kind == Kind::Var);
            let var = var.ok_or(fault(SectionRule::Type(info.ty)))?;
            if self.first(info.ty, Kind::Var) {
                return Ok(Step::Push(info.ty, index + 1));
            }
            let size = self.sizes.of(TypeId(var.size_or_type)).map(|(_, size)| size);
            let size = size.ok_or(fault(SectionRule::Type(info.ty)))?;
            if info.size < size {
                return Err(fault(SectionRule::Size(info.size)));
            }
        }
        Ok(Step::Done(TypeId::VOID, 0))
    }

    /// A prototype: its result and its parameters must have sizes.
    fn proto(&mut self, id: TypeId, ty: &Type<'d>) -> Result<(), Fault> {
        let fault = |rule| Fault { id: Some(id), rule };
        let result = TypeId(ty.size_or_type);
        if result != TypeId::VOID {
            self.sized(result).map_err(|e| e.unwrap_or(fault(Rule::Result(result))))?;
        }
        let count = ty.params().len();
        for (index, param) in ty.params().enumerate() {
            let bad = || fault(Rule::Param(index as u32));
            let name = self.sizes.btf.name(param.name_off).map_err(|_| bad())?;
            if param.ty == TypeId::VOID && index + 1 == count {
                return if param.name_off.0 == 0 { Ok(()) } else { Err(bad()) };
            }
            if param.name_off.0 != 0 && !super::names::identifier(name) {
                return Err(bad());
            }
            self.sized(param.ty).map_err(|e| e.unwrap_or_else(bad))?;
        }
        Ok(())
    }

    /// Resolves a type that must have a size; no fault of its own where it has none.
    fn sized(&mut self, id: TypeId) -> Result<(), Option<Fault>> {
        let kind = self.sizes.btf.get(id).ok_or(None)?.kind;
        if only_source(kind) {
            return Err(None);
        }
        if needs_resolve(kind) {
            self.resolve(id)?;
        }
        if self.sizes.of(id).is_some() { Ok(()) } else { Err(None) }
    }
}
