//! One step of a plan.

use serde::Serialize;

use super::{DEBUG_FILE, DebugInfo, Engine, Part};

/// A step: what is done, by whom, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
    /// Who does it. For a link this is always the linker that Kbuild names.
    pub engine: Engine,
    /// The reason for the step, as a clause.
    pub why: &'static str,
}

/// An object that was linked in, and where the right contents are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// The object.
    pub linked: String,
    /// An object of the same shape whose contents take the place of the linked ones; `None` if those are right.
    pub contents: Option<String>,
}

impl Filled {
    /// The object that the kernel is as if linked with.
    pub fn object(&self) -> &str {
        self.contents.as_ref().unwrap_or(&self.linked)
    }
}

/// A kernel that was linked without debug information, and what says where everything is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Linked {
    /// The linker's map of it.
    pub map: String,
    /// The kallsyms object that was linked in.
    pub kallsyms: Option<String>,
    /// The BTF object that was linked in.
    pub btf: Option<String>,
}

/// What a step does. File names are relative to the object tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// Makes the kallsyms tables of a symbol list: assembler text with the kernel's tool, an object
    /// with the native engine.
    Ksyms {
        /// The symbol list.
        map: String,
        /// `.S` or `.o`.
        output: String,
        /// Whether the list is empty by design and is created by this step.
        empty: bool,
    },
    /// Makes an object of the size that a part had in the last link of this tree, without contents.
    Sizes {
        /// The object.
        object: String,
        /// Kallsyms or BTF.
        of: Part,
    },
    /// Assembles the kallsyms tables.
    As {
        /// The text.
        source: String,
        /// The object.
        object: String,
    },
    /// Links a kernel.
    Ld {
        /// The linked kernel.
        image: String,
        /// The kallsyms object to link in.
        kallsyms: Option<String>,
        /// The BTF object to link in.
        btf: Option<String>,
        /// Whether debug information is left out.
        strip_debug: bool,
        /// Where the linker is to say what it put where.
        map: Option<String>,
        /// Whether relocations stay in the kernel if the tree's flags say so (`--emit-relocs`). They are as large as
        /// the debug information, and of use only in a kernel that is kept.
        relocations: bool,
        /// Whether `vmlinux.o` is linked without its contents: the kernel only tells where everything is, or gets them
        /// from the step that puts debug information in.
        hollow: bool,
        /// Whether the linker computes the build ID if the tree's flags ask for one. Otherwise the step that puts
        /// debug information in does, over all that the ID covers, and the linker leaves room for it.
        build_id: bool,
        /// Whether the sizes of the objects are those of an earlier link. If the link fails then, that is no error: a
        /// plan that does not know them takes over.
        trial: bool,
    },
    /// Puts the debug information of the kernel's objects into a kernel that was linked without, or where else it
    /// goes, and the right contents of tables and types into their places.
    Debug {
        /// The finished kernel.
        image: String,
        /// The kernel without; the same file is exchanged.
        stripped: String,
        /// The linker's map of it.
        map: String,
        /// The kallsyms object that was linked in.
        kallsyms: Option<Filled>,
        /// The BTF object that was linked in.
        btf: Option<Filled>,
        /// Where debug information goes.
        debug_info: DebugInfo,
    },
    /// Makes BTF of a linked kernel, as an object.
    Btf {
        /// The kernel.
        image: String,
        /// `None` if the kernel has debug information; else that of the kernel's objects is read.
        linked: Option<Linked>,
        /// The object.
        object: String,
        /// Who makes the types; the step's own engine makes the object of them.
        encoder: Engine,
        /// Whether Kbuild's line for the step names the kernel.
        line_names_image: bool,
    },
    /// Lists the symbols of a kernel.
    Nm {
        /// The kernel.
        image: String,
        /// The list.
        map: String,
    },
    /// Fills `.BTF_ids` of a linked kernel in place.
    Btfids {
        /// The kernel.
        image: String,
        /// The temporary kernel that the types were made of; from 7.0 on the ids lie beside it.
        btf_image: String,
    },
    /// Sorts the tables of a linked kernel in place.
    Sorttable {
        /// The kernel.
        image: String,
    },
    /// Compares System.map with the list that kallsyms was made of.
    Compare {
        /// System.map.
        map: String,
        /// The last symbol list.
        last: String,
    },
    /// Makes everything that was filled into the finished kernel once more and compares.
    Verify {
        /// The kernel.
        image: String,
        /// The temporary kernel that the types were made of: what is in its `.BTF_ids` has not been resolved.
        btf_image: Option<String>,
    },
}

impl Step {
    /// The word that Kbuild prints for the step.
    pub fn verb(&self) -> &'static str {
        match self.action {
            Action::Ksyms { .. } => "KSYMS",
            Action::Sizes { .. } => "SIZES",
            Action::As { .. } => "AS",
            Action::Ld { .. } => "LD",
            Action::Debug { debug_info: DebugInfo::Drop, .. } => "FILL",
            Action::Debug { .. } => "DEBUG",
            Action::Btf { .. } => "BTF",
            Action::Nm { .. } => "NM",
            Action::Btfids { .. } => "BTFIDS",
            Action::Sorttable { .. } => "SORTTAB",
            Action::Compare { .. } => "CMP",
            Action::Verify { .. } => "VERIFY",
        }
    }

    /// The file that the step makes or changes.
    pub fn output(&self) -> &str {
        match &self.action {
            Action::Ksyms { output, .. } => output,
            Action::Sizes { object, .. }
            | Action::As { object, .. }
            | Action::Btf { object, .. } => object,
            Action::Ld { image, .. }
            | Action::Debug { image, .. }
            | Action::Btfids { image, .. }
            | Action::Sorttable { image }
            | Action::Verify { image, .. } => image,
            Action::Nm { map, .. } | Action::Compare { map, .. } => map,
        }
    }

    /// The temporary files that the step reads; the kernel's own objects are not named.
    pub fn inputs(&self) -> Vec<&str> {
        match &self.action {
            Action::Ksyms { map, empty, .. } => {
                if *empty {
                    vec![]
                } else {
                    vec![map]
                }
            }
            Action::Sizes { .. } => vec![],
            Action::As { source, .. } => vec![source],
            Action::Ld { kallsyms, btf, .. } => {
                kallsyms.iter().chain(btf).map(String::as_str).collect()
            }
            Action::Debug { stripped, map, kallsyms, btf, .. } => {
                let filled = [kallsyms, btf].into_iter().flatten();
                let objects = filled.flat_map(|f| [Some(&f.linked), f.contents.as_ref()]);
                let names = [stripped, map].into_iter().chain(objects.flatten());
                names.map(String::as_str).collect()
            }
            Action::Btf { image, linked: Some(linked), .. } => {
                let objects = [&linked.kallsyms, &linked.btf].into_iter().flatten();
                [image, &linked.map].into_iter().chain(objects).map(String::as_str).collect()
            }
            Action::Btf { image, .. } | Action::Nm { image, .. } => vec![image],
            Action::Btfids { image, btf_image } => vec![image, btf_image],
            Action::Sorttable { image } => vec![image],
            Action::Verify { image, btf_image } => [Some(image), btf_image.as_ref()]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
            Action::Compare { map, last } => vec![map, last],
        }
    }

    /// Who does the step: `native`, `kernel`, or `linker` for a link. Where pahole makes the types, it is named
    /// beside the engine that makes the object, and `native` beside the linker where it gets a hollow object.
    pub fn engine_name(&self) -> &'static str {
        match (&self.action, self.engine) {
            (Action::Ld { hollow: true, .. }, _) => "native+linker",
            (Action::Ld { .. }, _) => "linker",
            (Action::Btf { encoder: Engine::Kernel, .. }, Engine::Native) => "pahole+native",
            (Action::Btf { encoder: Engine::Kernel, .. }, Engine::Kernel) => "pahole+kernel",
            (_, Engine::Native) => "native",
            (_, Engine::Kernel) => "kernel",
        }
    }

    /// Whether the step takes the place of a link with debug information.
    pub fn replaces_link(&self) -> bool {
        matches!(self.action, Action::Debug { .. })
    }

    /// Whether the step may fail without the link failing: it depends on sizes that may be others by now.
    pub fn is_trial(&self) -> bool {
        matches!(self.action, Action::Sizes { .. } | Action::Ld { trial: true, .. })
    }

    /// Kbuild's line for the step, without a line feed.
    pub fn line(&self) -> String {
        let named = match &self.action {
            Action::Btf { image, line_names_image: true, .. } => image,
            Action::Debug { debug_info: DebugInfo::Separate, .. } => DEBUG_FILE,
            _ => self.output(),
        };
        format!("  {:<7} {named}", self.verb())
    }
}
