//! The table of section names, in the linker's order.
//!
//! GNU ld: the three tables' own names come first, then those of the sections as they stand in the file. A
//! name that ends another one is a part of it. ld.lld: the names as the sections stand in the file,
//! each once. Source of facts: GNU ld 2.40, `bfd/elf-strtab.c` and `bfd/elf.c`; ld.lld 19, `ELF/Writer.cpp`.

use hashbrown::HashMap;

use crate::linker::Linker;

/// A table of names, and where each one is.
#[derive(Debug)]
pub(crate) struct Names {
    /// The table's bytes.
    pub(crate) bytes: Vec<u8>,
    offsets: HashMap<Vec<u8>, u64>,
}

impl Names {
    /// The table for sections of these names, the tables of symbols and names included.
    pub(crate) fn new(sections: impl Iterator<Item = Vec<u8>>, linker: Linker) -> Self {
        let tables: &[&[u8]] = match linker {
            Linker::Gnu => &[b".symtab", b".strtab", b".shstrtab"],
            Linker::Lld => &[],
        };
        let all: Vec<Vec<u8>> = sections.collect();
        let mut names: Vec<&[u8]> = Vec::new();
        for name in tables.iter().copied().chain(all.iter().map(|name| &name[..])) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        let mut reversed = names.clone();
        reversed.sort_unstable_by(|a, b| a.iter().rev().cmp(b.iter().rev()));
        // Each name and the one that it is a part of; from the last, so that the longest are met first.
        let mut holders: HashMap<&[u8], &[u8]> = HashMap::new();
        let mut holder: &[u8] = b"";
        for name in reversed.into_iter().rev() {
            if !holder.ends_with(name) || !linker.folds_names() {
                holder = name;
            }
            holders.insert(name, holder);
        }
        let mut bytes = vec![0];
        let mut offsets = HashMap::from([(Vec::new(), 0)]);
        for &name in names.iter().filter(|&name| holders.get(name) == Some(name)) {
            offsets.insert(name.to_vec(), bytes.len() as u64);
            bytes.extend_from_slice(name);
            bytes.push(0);
        }
        for name in names {
            let at = holders.get(name).and_then(|holder| {
                Some(offsets.get(*holder)? + (holder.len() - name.len()) as u64)
            });
            offsets.extend(at.map(|at| (name.to_vec(), at)));
        }
        Names { bytes, offsets }
    }

    /// Offset of a name in the table.
    pub(crate) fn offset(&self, name: &[u8]) -> Option<u64> {
        self.offsets.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_ends_another_is_a_part_of_it() {
        let sections: [&[u8]; 4] = [b".text", b".rela.text", b".data", b".text"];
        let names = Names::new(sections.into_iter().map(<[u8]>::to_vec), Linker::Gnu);
        assert_eq!(names.bytes, b"\0.symtab\0.strtab\0.shstrtab\0.rela.text\0.data\0");
        assert_eq!(names.offset(b".text"), Some(27 + 5));
        assert_eq!(names.offset(b".data"), Some(38));
        assert_eq!(names.offset(b".bss"), None);
        let names = Names::new(sections.into_iter().map(<[u8]>::to_vec), Linker::Lld);
        assert_eq!(names.bytes, b"\0.text\0.rela.text\0.data\0");
        assert_eq!(names.offset(b".text"), Some(1));
    }
}
