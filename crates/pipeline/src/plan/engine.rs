//! Who does a step: vmlinker itself, or the kernel's own tool.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

/// The engine of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// vmlinker's own core.
    Native,
    /// The tool that the kernel's script would run.
    Kernel,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Native => "native",
            Engine::Kernel => "kernel",
        })
    }
}

/// A part of the stage whose engine can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// `nm -n | scripts/mksysmap`: System.map and the lists that kallsyms reads.
    Sysmap,
    /// `scripts/kallsyms` and the assembler: the kallsyms object.
    Kallsyms,
    /// `pahole`: types out of a linked kernel's debug information.
    Btf,
    /// `objcopy` and `dd`: the object that carries `.BTF`.
    Btfobj,
    /// `resolve_btfids`: the ids of types, and from 7.0 on also the last hand on the types themselves.
    Btfids,
    /// `scripts/sorttable`.
    Sorttable,
    /// The linker's copying of contents and relocations: native, it links a hollow `vmlinux.o`, and contents are put in
    /// after it. Only in the lean schedule, where a kernel is linked from that one object.
    Fill,
}

impl Part {
    /// Every part, in the order in which a link comes to them.
    pub const ALL: [Part; 7] = [
        Part::Sysmap,
        Part::Kallsyms,
        Part::Btf,
        Part::Btfobj,
        Part::Btfids,
        Part::Sorttable,
        Part::Fill,
    ];

    /// The name of the part on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Part::Sysmap => "sysmap",
            Part::Kallsyms => "kallsyms",
            Part::Btf => "btf",
            Part::Btfobj => "btfobj",
            Part::Btfids => "btfids",
            Part::Sorttable => "sorttable",
            Part::Fill => "fill",
        }
    }
}

/// The engine of every part, all resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engines([Engine; Part::ALL.len()]);

impl Engines {
    /// The same engine everywhere.
    pub fn all(engine: Engine) -> Self {
        Engines([engine; Part::ALL.len()])
    }

    /// The engine of `part`.
    pub fn of(&self, part: Part) -> Engine {
        self.0[part as usize]
    }

    /// This choice with another engine for `part`.
    pub fn with(mut self, part: Part, engine: Engine) -> Self {
        self.0[part as usize] = engine;
        self
    }
}

/// What a user asks for: an engine for all parts, or for single ones.
///
/// Written `native`, `kernel`, or `kallsyms=kernel,sysmap=native,...`; what is not named stays at the
/// default, which is native wherever the tree allows it. For `btf` the kernel's tool is also called by its
/// name, `pahole`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineRequest {
    named: Vec<(Part, Engine)>,
}

impl EngineRequest {
    /// The engine that was asked for, if one was.
    pub fn of(&self, part: Part) -> Option<Engine> {
        self.named.iter().rev().find(|(named, _)| *named == part).map(|&(_, engine)| engine)
    }
}

/// A text that is no [`EngineRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// Neither `native` nor `kernel`.
    #[error("no engine is called '{0}': use native or kernel")]
    Engine(String),
    /// No part of that name.
    #[error(
        "no step's engine is called '{0}': use sysmap, kallsyms, btf, btfobj, btfids, \
         sorttable or fill"
    )]
    Part(String),
}

impl FromStr for Engine {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "native" => Ok(Engine::Native),
            "kernel" => Ok(Engine::Kernel),
            _ => Err(EngineError::Engine(text.to_string())),
        }
    }
}

impl FromStr for EngineRequest {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut named = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let Some((part, engine)) = word.split_once('=') else {
                let engine = word.parse()?;
                named.extend(Part::ALL.map(|part| (part, engine)));
                continue;
            };
            let found = Part::ALL.into_iter().find(|known| known.name() == part);
            let part = found.ok_or_else(|| EngineError::Part(part.to_string()))?;
            let engine = match (part, engine) {
                (Part::Btf, "pahole") => Engine::Kernel,
                _ => engine.parse()?,
            };
            named.push((part, engine));
        }
        Ok(EngineRequest { named })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_words_win_and_what_is_unnamed_is_left_open() {
        let request: EngineRequest = "kernel,kallsyms=native".parse().unwrap();
        assert_eq!(request.of(Part::Sysmap), Some(Engine::Kernel));
        assert_eq!(request.of(Part::Kallsyms), Some(Engine::Native));
        let request: EngineRequest = "btfids=kernel".parse().unwrap();
        assert_eq!(request.of(Part::Btfids), Some(Engine::Kernel));
        assert_eq!(request.of(Part::Sorttable), None);
        let request: EngineRequest = "btf=pahole".parse().unwrap();
        assert_eq!(request.of(Part::Btf), Some(Engine::Kernel));
        assert_eq!(request.of(Part::Btfobj), None);
    }

    #[test]
    fn unknown_words_are_refused_by_name() {
        assert_eq!(
            "kallsyms=gnu".parse::<EngineRequest>(),
            Err(EngineError::Engine("gnu".to_string()))
        );
        assert_eq!(
            "linker=native".parse::<EngineRequest>(),
            Err(EngineError::Part("linker".to_string()))
        );
        assert_eq!(
            "sysmap=pahole".parse::<EngineRequest>(),
            Err(EngineError::Engine("pahole".to_string()))
        );
    }
}
