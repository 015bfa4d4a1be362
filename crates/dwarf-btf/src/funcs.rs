//! The functions and per-CPU variables of a unit, as far as they can become part of BTF.
//!
//! Most functions of a unit are inline copies that have no symbol; only those that the image has a
//! symbol for, or may have one, are looked at further. A function that was compiled out of line has an entry that refers
//! to an abstract one, where names and types are; what its own parameters' locations say is noted on
//! the abstract parameters too, as pahole does, because either entry may be the one that is written.
//!
//! Source of facts: dwarf_loader.c of pahole 1.24 and 1.31 (`cu__recode_dwarf_types`,
//! `ftype__recode_dwarf_types`, `function__analyze_parameter_locations`,
//! `cu__resolve_func_ret_types_optimized`), btf_encoder.c (`btf_encoder__encode_cu`,
//! `btf_encoder__encode_cu_variables`).

use gimli::constants as dw;
use hashbrown::HashMap;

use crate::Rules;
use crate::abbrev::Slot;
use crate::candidates::Candidates;
use crate::cu::{Cu, DeclTag, Func, FuncFacts, LocalId, Misplaced, Param, Var, kind, kind_of};
use crate::cursor::{Fault, Read};
use crate::hash::FixedState;
use crate::location::{Registers, parameter_register};
use crate::packed::Packing;
use crate::resolve::Offsets;
use crate::strings::{Code, Names, StrId, Strings};
use crate::symbols::name_is_valid;
use crate::unit::{Unit, Values};
use crate::walk::{Dies, FuncDie, VarDie};

/// The units that were walked together: one, or all of the file where entries of one refer into others.
pub(crate) struct Group<'s, 't> {
    pub units: &'t [Unit<'s, 't>],
}

impl<'s, 't> Group<'s, 't> {
    fn at(&self, offset: u32) -> Read<&'t Unit<'s, 't>> {
        let after = self.units.partition_point(|unit| unit.header.start <= offset as usize);
        let unit = after.checked_sub(1).and_then(|index| self.units.get(index));
        unit.ok_or(Fault { offset: offset as usize, cause: "a reference into no unit" })
    }

    fn read(&self, offset: u32, values: &mut Values) -> Read<(u16, &'t Unit<'s, 't>)> {
        let unit = self.at(offset)?;
        let (abbrev, mut cursor) = unit.entry(offset as usize)?;
        unit.read(abbrev, &mut cursor, values)?;
        Ok((abbrev.tag, unit))
    }
}

/// What the work on functions and variables needs from the walk and from the image.
pub(crate) struct Context<'c, 's, 't, 'w> {
    pub group: Group<'w, 't>,
    pub dies: &'c Dies,
    pub offsets: &'c Offsets,
    pub strings: &'c Strings<'s>,
    pub candidates: &'c Candidates,
    pub rules: &'c Rules,
    pub registers: Registers,
    pub clang: bool,
}

/// A parameter while its function is worked on.
#[derive(Debug, Clone, Copy)]
struct Working {
    /// The name of its function.
    function: StrId,
    name: StrId,
    ty: LocalId,
    origin: u32,
    index: u32,
    has_location: bool,
    has_const_value: bool,
    register: Option<u8>,
    size: u64,
    optimized: bool,
    unexpected: bool,
    /// Where it should be, if it is elsewhere.
    expected: Option<u8>,
}

/// Fills [`Cu::funcs`].
pub(crate) fn functions(
    context: &Context<'_, '_, '_, '_>,
    names: &mut Names,
    cu: &mut Cu,
) -> Read<()> {
    let dies = context.dies;
    // The names of all functions that an image has are known; others matter only where it may have more.
    let all =
        context.candidates.too_many || context.candidates.functions() == 0 || context.rules.explain;
    let function_names = function_names(dies, context.strings, all)?;
    let considered = |index: usize| {
        let die = &dies.funcs[index];
        let name = function_names[index];
        name != 0
            && match context.candidates.functions() {
                0 => die.external,
                _ => context.candidates.function(name).is_some(),
            }
    };
    let order: Vec<usize> =
        dies.func_order.iter().map(|&index| index as usize).filter(|&i| considered(i)).collect();

    if context.rules.explain {
        let others = (0..dies.funcs.len()).filter(|&index| !considered(index));
        let named = others.map(|index| function_names[index]).filter(|&name| name != 0);
        cu.no_symbol.extend(named);
        cu.no_symbol.sort_unstable();
        cu.no_symbol.dedup();
    }
    let mut params: Vec<Working> = Vec::new();
    let mut spans = Vec::with_capacity(order.len());
    let mut by_offset: HashMap<u32, u32, FixedState> = HashMap::with_hasher(FixedState);
    for &index in &order {
        let start = params.len();
        let (first, end) = dies.funcs[index].params;
        for (at, &offset) in dies.params[first as usize..end as usize].iter().enumerate() {
            by_offset.insert(offset, params.len() as u32);
            let param = working(context, names, offset, at as u32, cu)?;
            params.push(Working { function: function_names[index], ..param });
        }
        spans.push(start..params.len());
    }
    let mut facts = vec![FuncFacts::default(); order.len()];
    for (span, facts) in spans.iter().zip(&mut facts) {
        for at in span.clone() {
            facts.reordered_parm |=
                inherit(context, names, &by_offset, &mut params, at, &mut cu.foreign)?;
        }
    }
    if context.rules.check_locations {
        for ((&index, span), facts) in order.iter().zip(&spans).zip(&mut facts) {
            facts.signature_changed = context.clang && signature_changed(dies, &dies.funcs[index]);
            analyze(context, cu, &mut params[span.clone()], facts);
        }
        uncertain_locations(context, cu, &params, &spans, &mut facts);
    } else {
        facts.fill(FuncFacts::default());
    }

    for ((&index, span), facts) in order.iter().zip(spans).zip(facts) {
        let die = &dies.funcs[index];
        let params = &params[span];
        if params.iter().any(|param| param.name == 0) {
            continue;
        }
        let first = cu.params.len() as u32;
        cu.params.extend(params.iter().map(|param| Param {
            name: param.name,
            ty: param.ty,
            dropped: facts.reordered_parm && (!param.has_location || param.optimized),
        }));
        if context.rules.explain {
            cu.misplaced.extend(misplaced(cu.funcs.len() as u32, params));
        }
        let tag = cu.func_tags.len() as u32;
        for tag in dies.func_tags.iter().filter(|tag| tag.owner as usize == index) {
            let value = context.strings.of_code(tag.value)?;
            cu.func_tags.push(DeclTag { value, ty: 0, component: tag.component });
        }
        cu.funcs.push(Func {
            name: function_names[index],
            ret: return_type(context, die),
            params: (first, cu.params.len() as u32),
            variadic: die.variadic,
            low_pc: die.low_pc,
            low_pc_at: low_pc_at(context, die)?,
            facts,
            tags: (tag, cu.func_tags.len() as u32),
        });
    }
    Ok(())
}

/// The parameters that are in unexpected registers.
fn misplaced(func: u32, params: &[Working]) -> impl Iterator<Item = Misplaced> {
    params.iter().filter_map(move |param| {
        let (expected, found) = (param.expected?, param.register?);
        Some(Misplaced { func, param: param.index, expected, found })
    })
}

/// Names of all functions that are not declarations only, those of abstract origins and specifications
/// filled in, in pahole's order; 0 for the others. Unless `all` are asked for, 0 may stand for a name that was not
/// met before.
fn function_names(dies: &Dies, strings: &Strings<'_>, all: bool) -> Read<Vec<StrId>> {
    let mut codes: Vec<Code> = dies.funcs.iter().map(|die| die.name).collect();
    for &index in &dies.func_order {
        let die = &dies.funcs[index as usize];
        if codes[index as usize] == 0 {
            let target = find(dies, die.origin).or_else(|| find(dies, die.specification));
            codes[index as usize] = target.map_or(0, |target| codes[target]);
        }
    }
    let named = |(die, &code): (&FuncDie, &Code)| match die.declaration {
        true => Ok(0),
        false if all => strings.of_code(code),
        false => strings.if_met(code),
    };
    dies.funcs.iter().zip(&codes).map(named).collect()
}

/// The function whose entry is at `offset`.
fn find(dies: &Dies, offset: u32) -> Option<usize> {
    if offset == 0 {
        return None;
    }
    dies.funcs.binary_search_by_key(&offset, |die| die.offset).ok()
}

fn return_type(context: &Context<'_, '_, '_, '_>, die: &FuncDie) -> LocalId {
    let ty = context.offsets.id(die.ty);
    if ty != 0 || !die.has_origin {
        return ty;
    }
    // PARITY: a function that only has a specification is taken to return nothing.
    let origin = find(context.dies, die.origin);
    origin.map_or(0, |index| context.offsets.id(context.dies.funcs[index].ty))
}

fn working(
    context: &Context<'_, '_, '_, '_>,
    names: &mut Names,
    offset: u32,
    index: u32,
    cu: &Cu,
) -> Read<Working> {
    let mut values = Values::default();
    let (_, unit) = context.group.read(offset, &mut values)?;
    let name = names.name(context.strings, unit, &values, Slot::Name)?;
    let ty = context.offsets.id(values.reference(Slot::Type));
    let origin = match values.reference(Slot::Type) {
        0 => values.reference(Slot::AbstractOrigin),
        _ => 0,
    };
    let mut param = Working {
        function: 0,
        name,
        ty,
        origin,
        index,
        has_location: values.has(Slot::Location),
        has_const_value: values.has(Slot::ConstValue),
        register: None,
        size: 0,
        optimized: false,
        unexpected: false,
        expected: None,
    };
    if context.rules.check_locations {
        let typed = match origin {
            0 => ty,
            _ => {
                let mut values = Values::default();
                context.group.read(origin, &mut values)?;
                context.offsets.id(values.reference(Slot::Type))
            }
        };
        param.size = byte_size(cu, typed, unit.header.sizes.address);
        if param.has_location {
            param.register = parameter_register(unit, &values, context.registers, param.size);
        }
    }
    Ok(param)
}

/// Size of a parameter's type; arrays and functions count by what they are made of, as in pahole.
fn byte_size(cu: &Cu, ty: LocalId, address_size: u8) -> u64 {
    let mut id = ty;
    for _ in 0..256 {
        if id == 0 || id > cu.starts.len() as u32 {
            return 0;
        }
        let record = cu.record(id);
        match kind_of(record[1]) {
            kind::PTR => return u64::from(address_size),
            kind::STRUCT | kind::UNION | kind::INT | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                return u64::from(record[2]);
            }
            kind::ARRAY => id = record[3],
            kind::FWD => return 0,
            _ => id = record[2],
        }
    }
    0
}

/// Takes name and type from the parameter's abstract origin, and tells that what is known here.
///
/// Returns whether the two stand at different places of their lists.
fn inherit(
    context: &Context<'_, '_, '_, '_>,
    names: &mut Names,
    by_offset: &HashMap<u32, u32, FixedState>,
    params: &mut [Working],
    at: usize,
    foreign: &mut bool,
) -> Read<bool> {
    let param = params[at];
    if param.origin == 0 {
        return Ok(false);
    }
    let Some(&origin) = by_offset.get(&param.origin) else {
        let mut values = Values::default();
        let (tag, unit) = context.group.read(param.origin, &mut values)?;
        if gimli::DwTag(tag) == dw::DW_TAG_formal_parameter {
            params[at].name = names.name(context.strings, unit, &values, Slot::Name)?;
            params[at].ty = context.offsets.id(values.reference(Slot::Type));
        }
        return Ok(false);
    };
    let origin = origin as usize;
    // The other function might not be there, and then nothing of it would be known.
    *foreign |= context.candidates.too_many && params[origin].function != param.function;
    params[at].name = params[origin].name;
    params[at].ty = params[origin].ty;
    let known = &mut params[origin];
    known.has_location |= param.has_location;
    known.has_const_value |= param.has_const_value;
    known.register = param.register.or(known.register);
    if param.size != 0 {
        known.size = param.size;
    }
    Ok(param.index != params[origin].index)
}

/// clang marks a function whose parameters it changed with `DW_CC_nocall`.
fn signature_changed(dies: &Dies, die: &FuncDie) -> bool {
    if die.inlined {
        return false;
    }
    if !die.has_origin {
        return die.nocall;
    }
    find(dies, die.origin).is_some_and(|index| dies.funcs[index].nocall)
}

fn analyze(
    context: &Context<'_, '_, '_, '_>,
    cu: &Cu,
    params: &mut [Working],
    facts: &mut FuncFacts,
) {
    let address_size = context.group.units.first().map_or(8, |unit| unit.header.sizes.address);
    let word = u64::from(address_size);
    let registers = context.registers;
    let mut next = 0;
    for param in params.iter_mut() {
        let slots = match param.size.div_ceil(word) as usize {
            slots if registers.pairs && param.size > word => slots,
            _ => 1,
        };
        let limit = if registers.pairs { 2 * word } else { word };
        let in_memory = param.size > limit;
        if context.clang && !facts.signature_changed {
            clang_parameter(param, registers, slots, in_memory, &mut next);
            continue;
        }
        let available = next < registers.count;
        if param.has_location {
            if !available {
                continue;
            }
            match (param.register, registers.order.get(next)) {
                (None, _) => param.optimized = true,
                (Some(found), Some(&expected)) if found != expected => {
                    param.unexpected = true;
                    param.expected = Some(expected);
                }
                (Some(_), Some(_)) => {}
                (Some(_), None) => {}
            }
        } else if param.has_const_value && !context.clang {
            param.optimized = true;
        }
        next += if in_memory { 1 } else { slots };
    }
    facts.optimized_parms = params.iter().any(|param| param.optimized || !param.has_location);
    facts.unexpected_reg = params.iter().any(|param| param.unexpected)
        && !params.iter().any(|param| is_struct(cu, param.ty));
}

fn clang_parameter(
    param: &mut Working,
    registers: Registers,
    slots: usize,
    in_memory: bool,
    next: &mut usize,
) {
    if in_memory || *next >= registers.count {
        return;
    }
    if let Some(found) = param.register {
        let end = registers.order.len().min(*next + slots);
        let window = registers.order.get(*next..end).unwrap_or_default();
        if !window.contains(&found) {
            param.unexpected = true;
            param.expected = window.first().copied();
        }
    }
    *next += slots;
}

/// Marks the functions that take a packed structure behind their register parameters.
fn uncertain_locations(
    context: &Context<'_, '_, '_, '_>,
    cu: &Cu,
    params: &[Working],
    spans: &[std::ops::Range<usize>],
    facts: &mut [FuncFacts],
) {
    let address_size = context.group.units.first().map_or(8, |unit| unit.header.sizes.address);
    let mut packing = Packing::new(cu, address_size);
    for (span, facts) in spans.iter().zip(facts) {
        let params = &params[span.clone()];
        if params.iter().any(|param| param.name == 0) {
            continue;
        }
        let behind = params.iter().skip(context.registers.count);
        facts.uncertain_parm_loc = behind
            .into_iter()
            .any(|param| packing.is_packed(param.ty, || alignment(context, param.ty)));
    }
}

/// `DW_AT_alignment` of a type, 0 where it has none.
fn alignment(context: &Context<'_, '_, '_, '_>, ty: LocalId) -> u64 {
    let dies = context.dies;
    let Some(index) = dies.ids.iter().position(|&id| id == ty && id != 0) else { return 0 };
    let mut values = Values::default();
    match context.group.read(dies.offsets[index], &mut values) {
        Ok(_) => values.number(Slot::Alignment),
        Err(_) => 0,
    }
}

/// Whether a parameter is a structure by value, through typedefs and `const`.
fn is_struct(cu: &Cu, ty: LocalId) -> bool {
    let mut id = ty;
    for _ in 0..256 {
        if id == 0 || id > cu.starts.len() as u32 {
            return false;
        }
        let record = cu.record(id);
        match kind_of(record[1]) {
            kind::STRUCT => return true,
            kind::FWD => return record[1] >> 31 == 0,
            kind::CONST | kind::TYPEDEF => id = record[2],
            _ => return false,
        }
    }
    false
}

/// Fills [`Cu::vars`].
pub(crate) fn variables(
    context: &Context<'_, '_, '_, '_>,
    names: &mut Names,
    cu: &mut Cu,
) -> Read<()> {
    for die in context.dies.vars.iter().filter(|die| context.candidates.is_percpu(die.address)) {
        let Some(mut var) = variable(context, names, *die, cu)? else { continue };
        var.tags.0 = cu.var_tags.len() as u32;
        if context.rules.decl_tags {
            variable_tags(context, names, die.offset, cu)?;
        }
        var.tags.1 = cu.var_tags.len() as u32;
        cu.vars.push(var);
    }
    Ok(())
}

fn variable(
    context: &Context<'_, '_, '_, '_>,
    names: &mut Names,
    die: VarDie,
    cu: &Cu,
) -> Read<Option<Var>> {
    let mut values = Values::default();
    let (_, unit) = context.group.read(die.offset, &mut values)?;
    let address_size = unit.header.sizes.address;
    let mut own_name = names.name(context.strings, unit, &values, Slot::Name)?;
    let artificial = values.has(Slot::Artificial);
    let mut name = own_name;
    let mut ty = values.reference(Slot::Type);
    let mut external = values.has(Slot::External);
    let specification = values.reference(Slot::Specification);
    let origin = values.reference(Slot::AbstractOrigin);
    if values.has(Slot::Declaration) && specification == 0 {
        return Ok(None);
    }
    if specification != 0 {
        let (_, unit) = context.group.read(specification, &mut values)?;
        name = names.name(context.strings, unit, &values, Slot::Name)?;
        ty = values.reference(Slot::Type);
        external = values.has(Slot::External);
    } else if ty == 0 && origin != 0 {
        let (_, unit) = context.group.read(origin, &mut values)?;
        name = names.name(context.strings, unit, &values, Slot::Name)?;
        ty = values.reference(Slot::Type);
        own_name = name;
    }
    if !context.rules.percpu_by_symbol {
        let text = context.strings.get(name);
        let named = name != 0 && !is_generated(text) && name_is_valid(text);
        if !die.top || artificial || !named {
            return Ok(None);
        }
    }
    let ty = context.offsets.id(ty);
    if ty == 0 {
        return Ok(None);
    }
    let size = u32::try_from(cu.size_of(ty, address_size)).ok().filter(|&size| size != 0);
    let Some(size) = size else { return Ok(None) };
    let (address_at, displacement) = address_at(context, die)?;
    let address = die.address;
    let tags = (0, 0);
    Ok(Some(Var { name, own_name, ty, external, address, address_at, displacement, size, tags }))
}

/// Where the address of a function stands, if it matters and is to be read again.
fn low_pc_at(context: &Context<'_, '_, '_, '_>, die: &FuncDie) -> Read<u32> {
    if die.low_pc == 0 || !context.rules.save_functions {
        return Ok(0);
    }
    context.group.at(die.offset)?.address_at(die.offset as usize, Slot::LowPc)
}

/// Where the address of a variable stands, and what is added to it.
fn address_at(context: &Context<'_, '_, '_, '_>, die: VarDie) -> Read<(u32, u64)> {
    let mut values = Values::default();
    let (_, unit) = context.group.read(die.offset, &mut values)?;
    let Some((start, _)) = values.block(Slot::Location) else { return Ok((0, 0)) };
    let mut cursor = unit.cursor(start);
    if gimli::DwOp(cursor.u8()?) != dw::DW_OP_addr {
        return Ok((0, 0));
    }
    let at = unit.since_start(cursor.pos);
    Ok((at, die.address.wrapping_sub(cursor.uint(unit.header.sizes.address)?)))
}

/// Adds the `btf_decl_tag`s of the variable whose entry is at `offset`.
fn variable_tags(
    context: &Context<'_, '_, '_, '_>,
    names: &mut Names,
    offset: u32,
    cu: &mut Cu,
) -> Read<()> {
    let unit = context.group.at(offset)?;
    let (abbrev, mut cursor) = unit.entry(offset as usize)?;
    unit.table.skip(abbrev, &mut cursor)?;
    let mut open = u32::from(abbrev.children);
    let mut values = Values::default();
    while open > 0 {
        let at = cursor.pos;
        let code = cursor.uleb()?;
        if code == 0 {
            open -= 1;
            continue;
        }
        let abbrev = unit.table.get(code, at)?;
        unit.read(abbrev, &mut cursor, &mut values)?;
        if open == 1 && abbrev.is_annotation() {
            let name = names.name(context.strings, unit, &values, Slot::Name)?;
            if context.strings.get(name) == b"btf_decl_tag" {
                let value = names.name(context.strings, unit, &values, Slot::ConstValue)?;
                cu.var_tags.push(DeclTag { value, ty: 0, component: -1 });
            }
        }
        open += u32::from(abbrev.children);
    }
    Ok(())
}

/// Variables that macros make.
fn is_generated(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 5] = [
        b"__UNIQUE_ID",
        b"__tpstrtab_",
        b"__exitcall_",
        b"__gendwarfksyms_ptr_",
        b"__func_stack_frame_non_standard_",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
