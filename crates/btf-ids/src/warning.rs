//! What is worth telling, in the peer's words and order.

use std::fmt;

use btf::{Kind, TypeId};

use crate::collect::{Target, Wanted, lossy};

/// Something that does not end the run. It prints as the peer's line, to the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Several types have the wanted kind and name.
    MultipleIds {
        /// The name.
        name: String,
        /// The lowest id, which is the one used.
        first: TypeId,
        /// The other one.
        other: TypeId,
    },
    /// No type has the wanted kind and name; its bytes become 0.
    Unresolved {
        /// The wanted kind.
        target: Target,
        /// The name.
        name: String,
        /// The first type of each other kind that has this name; looked for only with
        /// [`Options::explain`](crate::Options::explain).
        namesakes: Vec<Namesake>,
    },
    /// No symbol names a member of a set of kfuncs, which stays without tags.
    NoSymbol {
        /// The set.
        set: String,
        /// Index of the member.
        index: u32,
    },
    /// A kfunc that is no function of the image's own types; it stays without tags.
    NoFunction {
        /// The kfunc.
        name: String,
        /// The set that has it.
        set: String,
    },
}

/// A type that has the wanted name, but not the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namesake {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: TypeId,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::MultipleIds { name, first, other } => {
                write!(f, "WARN: multiple IDs found for '{name}': {first}, {other} - using {first}")
            }
            Warning::Unresolved { name, .. } => {
                write!(f, "WARN: resolve_btfids: unresolved symbol {name}")
            }
            Warning::NoSymbol { set, index } => {
                write!(f, "WARN: resolve_btfids: no BTF ID symbol for {set} entry {index}")
            }
            Warning::NoFunction { name, set } => {
                write!(f, "WARN: resolve_btfids: no BTF func for kfunc {name} in {set}")
            }
        }
    }
}

impl Warning {
    /// One line on the reason, which the peer does not give.
    pub fn help(&self) -> String {
        match self {
            Warning::MultipleIds { first, other, .. } => {
                format!("types {first} and {other} differ, else pahole would have merged them")
            }
            Warning::NoSymbol { .. } => {
                "the member was not made with BTF_ID_FLAGS, or its symbol was stripped".to_owned()
            }
            Warning::NoFunction { name, .. } => format!(
                "BTF has no func '{name}': pahole leaves out functions that are inlined, optimized or \
                 absent, and a base's functions do not count"
            ),
            Warning::Unresolved { target, name, namesakes } if namesakes.is_empty() => {
                let cause = match target {
                    Target::Func => {
                        "pahole leaves out functions that are inlined, optimized or absent"
                    }
                    _ => "no object that was linked defines it",
                };
                format!("BTF has no {target} '{name}', nor another type of that name: {cause}")
            }
            Warning::Unresolved { target, name, namesakes } => {
                let list: Vec<String> =
                    namesakes.iter().map(|n| format!("{} {}", n.kind, n.id)).collect();
                let list = list.join(", ");
                format!("BTF has no {target} '{name}', but of that name: {list}")
            }
        }
    }
}

/// Gathers warnings and, if asked to, every line that the peer prints with `-v`.
#[derive(Debug)]
pub(crate) struct Log {
    warnings: Vec<Warning>,
    trace: Option<Vec<String>>,
}

impl Log {
    pub fn new(trace: bool) -> Self {
        Log { warnings: Vec::new(), trace: trace.then(Vec::new) }
    }

    pub fn warn(&mut self, warning: Warning) {
        self.line(|| warning.to_string());
        self.warnings.push(warning);
    }

    pub fn added(&mut self, wanted: &Wanted<'_>) {
        for name in &wanted.added {
            self.line(|| format!("adding symbol {}", lossy(name)));
        }
    }

    pub fn patching(&mut self, offset: u64, id: u32, name: &[u8]) {
        self.line(|| format!("patching addr {offset:5}: ID {:7} [{}]", id as i32, lossy(name)));
    }

    pub fn sorting(&mut self, offset: u64, count: u32, name: &[u8]) {
        self.line(|| format!("sorting  addr {offset:5}: cnt {:6} [{}]", count as i32, lossy(name)));
    }

    pub fn line(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(text());
        }
    }

    pub fn finish(self) -> (Vec<Warning>, Vec<String>) {
        (self.warnings, self.trace.unwrap_or_default())
    }
}
