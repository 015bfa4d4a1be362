//! Why a function is part of BTF or not, for people.
//!
//! Nothing is decided here: [`crate::saved`] decides, and hands over what it decided by. Without
//! [`crate::Options::explain`] nothing of this is gathered.

use std::collections::BTreeSet;
use std::fmt;

use crate::Report;
use crate::cu::{Cu, kind, kind_of};
use crate::saved::{Decision, Saved, SavedFunctions, Stream, Why, is_changed};
use crate::strings::StrId;
use crate::units::Reader;

/// What became of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name, without the suffixes of a symbol.
    pub name: String,
    /// What is written, or would be.
    pub description: Description,
    /// Why it is left out; `None` if it is there.
    pub reason: Option<Reason>,
}

/// What a unit says of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The unit's name, a source file.
    pub unit: String,
    /// In C.
    pub prototype: String,
}

/// Why a function is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its symbols are at different addresses: a tracer could not tell which one is meant.
    Ambiguous(Vec<(u64, String)>),
    /// The compiler changed what it takes: parameters were optimised away.
    OptimizedAway {
        /// Where that was found.
        unit: String,
        /// Its symbols, whose names may say so (`.isra.0`, `.constprop.0`).
        symbols: Vec<String>,
    },
    /// The compiler changed the order of its parameters, in these units.
    Reordered(Vec<String>),
    /// It cannot be told where a parameter is, in these units.
    Uncertain(Vec<String>),
    /// Two units give it different prototypes.
    Inconsistent(Description, Description),
    /// A parameter is not in the register in which it is passed by the rules of the machine.
    Register {
        /// The unit that says so.
        unit: String,
        /// The parameter, counted from 1, and its name.
        parameter: (u32, String),
        /// Where it should be, and where it is.
        expected: String,
        /// Where it is.
        found: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Ambiguous(symbols) => {
                write!(f, "its symbols are at different addresses:")?;
                symbols.iter().try_for_each(|(address, name)| write!(f, " {name} at {address:#x}"))
            }
            Reason::OptimizedAway { unit, symbols } => {
                let symbols = symbols.join(", ");
                write!(f, "parameters were optimised away in {unit} (symbols: {symbols})")
            }
            Reason::Reordered(units) => {
                write!(f, "its parameters were reordered in {}", units.join(", "))
            }
            Reason::Uncertain(units) => {
                write!(f, "where a parameter is cannot be told in {}", units.join(", "))
            }
            Reason::Inconsistent(a, b) => {
                write!(f, "its prototypes differ: {a}, but {b}")
            }
            Reason::Register { unit, parameter: (number, name), expected, found } => {
                write!(
                    f,
                    "parameter {number} ({name}) is in {found} instead of {expected} in {unit}"
                )
            }
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in {}", self.prototype, self.unit)
    }
}

/// What is gathered on the way.
pub(crate) struct Explain<'r, 's> {
    reader: &'r Reader<'s>,
    machine: u16,
    functions: Vec<Function>,
    no_symbol: BTreeSet<StrId>,
}

impl<'r, 's> Explain<'r, 's> {
    pub fn new(reader: &'r Reader<'s>, machine: u16) -> Self {
        Explain { reader, machine, functions: Vec::new(), no_symbol: BTreeSet::new() }
    }

    /// Takes what a unit's functions were passed over for.
    pub fn unit(&mut self, cu: &Cu) {
        self.no_symbol.extend(&cu.no_symbol);
    }

    /// Takes what was decided on a function.
    pub fn decided(&mut self, decision: &Decision<'_>, stream: &dyn Stream) {
        let name = String::from_utf8_lossy(decision.function.text).into_owned();
        let describe = |saved| self.describe(&name, decision.saved, saved, stream);
        let description = describe(decision.chosen);
        let symbols = decision.symbols;
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let units = |is: fn(&Saved) -> bool| {
            let found = decision.group.iter().filter(|saved| is(saved));
            found.map(|saved| self.text(saved.unit)).collect::<Vec<_>>()
        };
        // The first description has what is known of all, so where it alone is marked it is the cause.
        let reason = decision.why.map(|why| match why {
            Why::Ambiguous => {
                Reason::Ambiguous(symbols.iter().map(|&(at, name)| (at, text(name))).collect())
            }
            Why::Changed => {
                debug_assert!(is_changed(decision.chosen));
                let unit = self.text(decision.chosen.unit);
                let symbols = symbols.iter().map(|&(_, name)| text(name)).collect();
                Reason::OptimizedAway { unit, symbols }
            }
            Why::Reordered => Reason::Reordered(units(|saved| saved.facts.reordered_parm)),
            Why::Uncertain => Reason::Uncertain(units(|saved| saved.facts.uncertain_parm_loc)),
            Why::Inconsistent => {
                let first = &decision.group[0];
                let other = first.inconsistent.and_then(|index| decision.saved.get(index));
                Reason::Inconsistent(describe(first), describe(other.unwrap_or(first)))
            }
            Why::Register => self.register(decision),
        });
        self.functions.push(Function { name, description, reason });
    }

    /// The first parameter that is out of place.
    fn register(&self, decision: &Decision<'_>) -> Reason {
        let placed = |saved| Some((saved, decision.saved.misplaced(saved).first()?));
        let Some((saved, found)) = decision.group.iter().find_map(placed) else {
            // Of a parameter without a number of its own.
            let unknown = || "another register".to_owned();
            let unit = self.text(decision.group[0].unit);
            let parameter = (0, String::new());
            return Reason::Register { unit, parameter, expected: unknown(), found: unknown() };
        };
        let params = decision.saved.params(saved);
        let name = params.get(found.param as usize).map_or(0, |param| param.0);
        Reason::Register {
            unit: self.text(saved.unit),
            parameter: (found.param + 1, self.text(name)),
            expected: register_name(self.machine, found.expected),
            found: register_name(self.machine, found.found),
        }
    }

    /// Puts all into the report.
    pub fn report(mut self, report: &mut Report) {
        report.functions = std::mem::take(&mut self.functions);
        let names: BTreeSet<String> = self.no_symbol.iter().map(|&name| self.text(name)).collect();
        report.no_symbol = names.into_iter().collect();
    }

    fn text(&self, name: StrId) -> String {
        String::from_utf8_lossy(self.reader.strings.get(name)).into_owned()
    }

    fn describe(
        &self,
        name: &str,
        functions: &SavedFunctions,
        saved: &Saved,
        stream: &dyn Stream,
    ) -> Description {
        let params = functions.params(saved);
        let declarator = format!("{name}({})", self.parameters(params, stream, 0));
        let prototype = self.declare(saved.ret, declarator, stream, 0);
        Description { unit: self.text(saved.unit), prototype }
    }

    fn parameters(&self, params: &[(StrId, u32)], stream: &dyn Stream, depth: u32) -> String {
        if params.is_empty() {
            return "void".to_owned();
        }
        let one = |&(name, ty): &(StrId, u32)| match (name, ty) {
            (0, 0) => "...".to_owned(),
            _ => self.declare(ty, self.text(name), stream, depth + 1),
        };
        params.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// A declaration in C, from the declarator outwards.
    fn declare(&self, ty: u32, mut inner: String, stream: &dyn Stream, depth: u32) -> String {
        const MAX_DEPTH: u32 = 16;
        const MAX_STEPS: u32 = 64;
        let mut id = ty;
        let mut qualifiers = String::new();
        for _ in 0..MAX_STEPS {
            let record = match id {
                0 => return joined(&qualifiers, "void", &inner),
                id => stream.record(id),
            };
            let kind = kind_of(record[1]);
            let keyword = match kind {
                kind::CONST => "const ",
                kind::VOLATILE => "volatile ",
                kind::RESTRICT => "restrict ",
                _ => "",
            };
            match kind {
                kind::CONST | kind::VOLATILE | kind::RESTRICT | kind::TYPE_TAG => {
                    qualifiers.push_str(keyword);
                    id = record[2];
                }
                kind::PTR => {
                    inner = format!("*{qualifiers}{inner}");
                    qualifiers.clear();
                    id = record[2];
                }
                kind::ARRAY => {
                    inner = format!("{}[{}]", bracketed(&inner), record[5]);
                    id = record[3];
                }
                kind::FUNC_PROTO if depth < MAX_DEPTH => {
                    let (params, _) = record[3..].as_chunks::<2>();
                    let params: Vec<_> = params.iter().map(|&[name, ty]| (name, ty)).collect();
                    let params = self.parameters(&params, stream, depth);
                    inner = format!("{}({params})", bracketed(&inner));
                    id = record[2];
                }
                kind => {
                    let word = match kind {
                        kind::STRUCT => "struct ",
                        kind::UNION => "union ",
                        kind::FWD if record[1] >> 31 != 0 => "union ",
                        kind::FWD => "struct ",
                        kind::ENUM | kind::ENUM64 => "enum ",
                        _ => "",
                    };
                    let name = match record[0] {
                        0 => "{...}".to_owned(),
                        name => self.text(name),
                    };
                    return joined(&qualifiers, &format!("{word}{name}"), &inner);
                }
            }
        }
        joined(&qualifiers, "...", &inner)
    }
}

fn joined(qualifiers: &str, base: &str, inner: &str) -> String {
    let space = if inner.is_empty() { "" } else { " " };
    format!("{qualifiers}{base}{space}{inner}")
}

/// A pointer to an array or a function is put in brackets.
fn bracketed(inner: &str) -> String {
    if inner.starts_with('*') { format!("({inner})") } else { inner.to_owned() }
}

/// The machine's name of one of DWARF's registers, where it passes parameters in it.
fn register_name(machine: u16, number: u8) -> String {
    const X86_64: [&str; 16] = [
        "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ];
    if machine != image::consts::EM_X86_64.0 {
        return format!("register {number}");
    }
    match (X86_64.get(usize::from(number)), number) {
        (Some(name), _) => (*name).to_owned(),
        (None, 17..=32) => format!("xmm{}", number - 17),
        (None, _) => format!("register {number}"),
    }
}
