//! In which ways kernels differ, as features of their own sources.

use thiserror::Error;

use crate::OrcEntry;

/// How the kernel's own `sorttable` does it.
///
/// Each field tells how the feature shows in scripts/sorttable.c (with sorttable.h, where there is
/// one); [`Dialect::detect`] looks for exactly that. The default is Linux 7.3 without an ORC layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// LoongArch's exception table is of the 12-byte relative form, not of absolute addresses (6.2).
    /// Source: `sort_relative_table_with_data` stands between `case EM_LOONGARCH:` and the next
    /// `break;`.
    pub loongarch_relative: bool,
    /// The relocation records of `__ex_table` are zeroed (up to 6.13).
    /// Source: `memset(relocs, 0`.
    pub zero_extable_relocs: bool,
    /// Where `main_extable_sort_needed` is looked for.
    pub flag_search: FlagSearch,
    /// ORC tables are sorted in 32-bit images too (6.14).
    /// Source: no `defined(SORTTABLE_64) && defined(UNWINDER_ORC_ENABLED)`.
    pub orc_in_elf32: bool,
    /// What an ORC entry looks like. Source: the struct in orc_types.h of the architecture, which
    /// must be among the sources; and which of its fields `orc_sort_cmp` looks at.
    pub orc: Option<OrcEntry>,
    /// Where the bounds of the ftrace locations come from.
    pub mcount_bounds: BoundsSource,
    /// `-s FILE` is understood: locations outside every function are zeroed (6.15).
    /// Source: `getopt(argc, argv, "s:")`.
    pub mcount_functions: bool,
    /// The bytes between the bounds must be a whole number of words (6.15).
    /// Source: `Expected %u mcount elements`.
    pub mcount_whole_words: bool,
    /// On arm64 the locations may be in the addends of relative relocations (6.15).
    /// Source: `rela_type = 0x403` between `case EM_AARCH64:` and the next `break;`.
    pub arm64_mcount_relas: bool,
    /// On arm64 a location up to 8 bytes before a function belongs to it (6.15).
    /// Source: `before_func = 8` between `case EM_AARCH64:` and the next `break;`.
    pub arm64_before_function: bool,
    /// The same on RISC-V (7.2), with `case EM_RISCV:`.
    pub riscv_before_function: bool,
    /// A failed check (no `__ex_table`, no symbol, ...) is printed and then forgotten when a sorting
    /// thread was started before it: the result of joining the thread takes its place.
    /// Source: `rc = pthread_join(`.
    pub join_hides_errors: bool,
}

/// Where `main_extable_sort_needed` is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagSearch {
    /// From the start of `.symtab` without an end; the tool dies when it is not there (up to 6.13).
    /// Source: `sym < sym +`.
    Endless,
    /// In all symbols but the last (6.14). Source: `symentsize < sym_end`.
    AllButLast,
    /// In all symbols: no such text. No known kernel does so.
    All,
}

/// Where the bounds of the ftrace locations come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundsSource {
    /// From the file System.map (up to 6.13), before anything else is checked.
    /// Source: `grep start_mcount System.map`.
    SystemMap,
    /// From the image's symbols (6.14), after the checks for sections.
    Symbols,
}

/// The sources are not those of sorttable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not the sources of sorttable: main_extable_sort_needed does not occur in them")]
pub struct Unrecognized;

impl Default for Dialect {
    fn default() -> Self {
        Dialect {
            loongarch_relative: true,
            zero_extable_relocs: false,
            flag_search: FlagSearch::AllButLast,
            orc_in_elf32: true,
            orc: None,
            mcount_bounds: BoundsSource::Symbols,
            mcount_functions: true,
            mcount_whole_words: true,
            arm64_mcount_relas: true,
            arm64_before_function: true,
            riscv_before_function: true,
            join_hides_errors: true,
        }
    }
}

impl Dialect {
    /// The dialect of a tree.
    ///
    /// `sources` are, in any order, the contents of scripts/sorttable.c, of scripts/sorttable.h if it
    /// exists, and of tools/arch/$SRCARCH/include/asm/orc_types.h if that exists.
    ///
    /// # Errors
    /// Sources that are not those of sorttable.
    pub fn detect(sources: &[&[u8]]) -> Result<Dialect, Unrecognized> {
        let texts: Vec<_> = sources.iter().map(|source| String::from_utf8_lossy(source)).collect();
        let has = |text: &str| texts.iter().any(|source| source.contains(text));
        let case = |machine: &str, text: &str| {
            texts.iter().any(|source| case_contains(source, machine, text))
        };
        if !has("main_extable_sort_needed") {
            return Err(Unrecognized);
        }
        let flag_search = match (has("sym < sym +"), has("symentsize < sym_end")) {
            (true, _) => FlagSearch::Endless,
            (false, true) => FlagSearch::AllButLast,
            (false, false) => FlagSearch::All,
        };
        let from_map = has("grep start_mcount System.map");
        Ok(Dialect {
            loongarch_relative: case("EM_LOONGARCH", "sort_relative_table_with_data"),
            zero_extable_relocs: has("memset(relocs, 0"),
            flag_search,
            orc_in_elf32: !has("defined(SORTTABLE_64) && defined(UNWINDER_ORC_ENABLED)"),
            orc: OrcEntry::detect(&texts),
            mcount_bounds: if from_map { BoundsSource::SystemMap } else { BoundsSource::Symbols },
            mcount_functions: has("getopt(argc, argv, \"s:\")"),
            mcount_whole_words: has("Expected %u mcount elements"),
            arm64_mcount_relas: case("EM_AARCH64", "rela_type = 0x403"),
            arm64_before_function: case("EM_AARCH64", "before_func = 8"),
            riscv_before_function: case("EM_RISCV", "before_func = 8"),
            join_hides_errors: has("rc = pthread_join("),
        })
    }
}

/// Whether `text` stands between the first `case MACHINE:` and the `break;` that ends it.
fn case_contains(source: &str, machine: &str, text: &str) -> bool {
    let label = format!("case {machine}:");
    let body = source.split_once(label.as_str()).map_or("", |(_, after)| after);
    body.split("break;").next().is_some_and(|body| body.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "
        case EM_AARCH64: case EM_RISCV:
            custom_sort = sort_relative_table_with_data; break;
        case EM_LOONGARCH:
            break;
        popen(\" grep start_mcount System.map |
        for (sym = a; sym < sym + n; sym++) main_extable_sort_needed
        memset(relocs, 0, relocs_size);
        #if defined(SORTTABLE_64) && defined(UNWINDER_ORC_ENABLED)
        rc = pthread_join(orc_sort_thread, &retval);";

    const NEW: &str = "
        case EM_AARCH64: sort_reloc = true; rela_type = 0x403;
        case EM_RISCV: before_func = 8;
        case EM_LOONGARCH:
            custom_sort = sort_relative_table_with_data; break;
        for (sym = a; (void *)sym + symentsize < sym_end;) main_extable_sort_needed
        \"Expected %u mcount elements but found %u\"
        getopt(argc, argv, \"s:\")
        rc = pthread_join(orc_sort_thread, &retval);";

    #[test]
    fn each_feature_is_seen_in_the_sources() {
        let old = Dialect {
            loongarch_relative: false,
            zero_extable_relocs: true,
            flag_search: FlagSearch::Endless,
            orc_in_elf32: false,
            orc: None,
            mcount_bounds: BoundsSource::SystemMap,
            mcount_functions: false,
            mcount_whole_words: false,
            arm64_mcount_relas: false,
            arm64_before_function: false,
            riscv_before_function: false,
            join_hides_errors: true,
        };
        assert_eq!(Dialect::detect(&[OLD.as_bytes()]), Ok(old));
        assert_eq!(Dialect::detect(&[NEW.as_bytes()]), Ok(Dialect::default()));
        assert_eq!(Dialect::detect(&[b"int main(void)"]), Err(Unrecognized));
    }

    #[test]
    fn a_bounded_search_is_its_own_kind() {
        let fixed = NEW.replace("symentsize < sym_end", "symentsize <= sym_end");
        let dialect = Dialect::detect(&[fixed.as_bytes()]).unwrap();
        assert_eq!(dialect.flag_search, FlagSearch::All);
    }
}
