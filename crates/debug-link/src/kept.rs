//! Relocations that stay in the image (`--emit-relocs`), where the contents of an input are exchanged.
//!
//! The linker keeps the records of an input section together and in their order, in a table that belongs to the output
//! section. Two objects of one shape have the same records but for the addends: the kallsyms tables of 7.0 and later
//! have a record for each symbol, and its addend says where the symbol is.

use image::consts::{SHF_ALLOC, SHT_REL, SHT_RELA};
use image::{Class, Elf, Endian, Patch, Section};

use crate::error::{Error, lossy};
use crate::object::Object;

/// A table of relocations as numbers of the width of an address: offset, symbol and type, and the addend if the table has
/// any.
struct Records<'a> {
    bytes: &'a [u8],
    class: Class,
    endian: image::Endianness,
    /// Numbers of a record.
    numbers: usize,
}

impl<'a> Records<'a> {
    fn of(elf: &Elf<'a>, table: &Section<'_>) -> Result<Self, Error> {
        let numbers = if table.sh_type == SHT_RELA.0 { 3 } else { 2 };
        Ok(Records { bytes: elf.bytes(table)?, class: elf.class(), endian: elf.endian(), numbers })
    }

    /// Those of a section of an object.
    fn for_section(object: &Object<'a>, section: u32) -> Result<Option<Self>, Error> {
        match object.relocations.get(section as usize) {
            None | Some(0) => Ok(None),
            Some(&table) => {
                Records::of(&object.elf, &object.elf.sections()[table as usize]).map(Some)
            }
        }
    }

    fn width(&self) -> usize {
        self.class.address_size() as usize
    }

    fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.chunks_exact(self.numbers * self.width())
    }

    /// A number of a record, sign-extended.
    fn number(&self, record: &[u8], index: usize) -> i64 {
        let bytes = &record[index * self.width()..];
        match (self.class, bytes.first_chunk(), bytes.first_chunk()) {
            (Class::Elf64, Some(bytes), _) => self.endian.read_u64(*bytes) as i64,
            (_, _, Some(bytes)) => (self.endian.read_u32(*bytes) as i32).into(),
            _ => 0,
        }
    }

    fn offset(&self, record: &[u8]) -> u64 {
        let offset = self.number(record, 0) as u64;
        if self.class == Class::Elf64 { offset } else { offset & u64::from(u32::MAX) }
    }

    fn encoded(&self, number: i64) -> Vec<u8> {
        match self.class {
            Class::Elf64 => self.endian.write_u64(number as u64).to_vec(),
            Class::Elf32 => self.endian.write_u32(number as u32).to_vec(),
        }
    }
}

/// The new addends of what `image`, which was linked with `old`, has kept of the section `index`, which both objects have
/// and the image has at `addr`.
///
/// # Errors
/// Records that differ in more than addends, or that the image has not kept.
pub(crate) fn new_addends(
    image: &Elf<'_>,
    addr: u64,
    index: u32,
    old: &Object<'_>,
    new: &Object<'_>,
) -> Result<Vec<Patch>, Error> {
    let Some(table) = table_for(image, addr) else { return Ok(Vec::new()) };
    let kept = Records::of(image, table)?;
    let changed = |what: &str| {
        let table = lossy(table.name);
        Error::unsupported(format!("{}: {table} keeps relocations {what}", new.name))
    };
    let (before, after) =
        match (Records::for_section(old, index)?, Records::for_section(new, index)?) {
            (None, None) => return Ok(Vec::new()),
            (Some(before), Some(after)) if before.bytes.len() == after.bytes.len() => {
                (before, after)
            }
            _ => return Err(changed("of another number")),
        };
    if before.bytes == after.bytes {
        return Ok(Vec::new());
    }
    if [&kept, &before, &after].map(|records| records.numbers) != [3; 3] {
        return Err(changed("without addends"));
    }
    let section = &new.elf.sections()[index as usize];
    let here = addr..addr.saturating_add(section.size);
    let mut listed = (table.offset..)
        .step_by(kept.numbers * kept.width())
        .zip(kept.iter())
        .filter(|(_, record)| here.contains(&kept.offset(record)));
    let mut patches = Vec::new();
    for (before_record, after_record) in before.iter().zip(after.iter()) {
        let same = |index| before.number(before_record, index) == after.number(after_record, index);
        let place = addr.wrapping_add(after.offset(after_record));
        let Some((offset, record)) =
            listed.next().filter(|(_, record)| kept.offset(record) == place)
        else {
            return Err(changed("at other places"));
        };
        if !same(0) || !same(1) {
            return Err(changed("that are others"));
        }
        let moved = after.number(after_record, 2).wrapping_sub(before.number(before_record, 2));
        if moved != 0 {
            let offset = offset + 2 * kept.width() as u64;
            let bytes = kept.encoded(kept.number(record, 2).wrapping_add(moved));
            patches.push(Patch { offset, bytes });
        }
    }
    match listed.next() {
        None => Ok(patches),
        Some(_) => Err(changed("of another number")),
    }
}

/// The table of kept relocations for the output section that is at `addr`.
fn table_for<'e, 'a>(image: &'e Elf<'a>, addr: u64) -> Option<&'e Section<'a>> {
    let sections = image.sections();
    let (at, _) = image.locate(addr, 1)?;
    let index = sections.iter().position(|section| section == at)?;
    sections.iter().find(|section| {
        [SHT_RELA.0, SHT_REL.0].contains(&section.sh_type)
            && section.flags & SHF_ALLOC.0 == 0
            && section.info as usize == index
    })
}

#[cfg(test)]
mod tests {
    use image::consts::{EM_386, EM_PPC, EM_S390, EM_X86_64};
    use image::{DataSection, Endianness, Header, NewSymbol, Relocatable, Relocation};

    use super::*;
    use crate::object::Input;
    use crate::testing::header;

    /// An object with a section of 32 bytes and these relocations against one symbol: offset, type, addend.
    fn object(header: Header, rela: bool, relocations: &[(u64, u32, i64)]) -> Vec<u8> {
        let relocation =
            |&(offset, r_type, addend)| Relocation { offset, symbol: 0, r_type, addend };
        let section = DataSection {
            name: ".rodata",
            flags: SHF_ALLOC.0,
            align: 8,
            bytes: &[0; 32],
            relocations: relocations.iter().map(relocation).collect(),
        };
        let symbols = vec![NewSymbol { name: "_text", section: None, value: 0, size: 0 }];
        Relocatable { header, sections: vec![section], symbols, rela }.write().unwrap()
    }

    /// The object stands for an image that has it at address 0, as an object has its sections and their relocations
    /// in the form of an image that keeps them.
    fn patches(old: &[u8], new: &[u8]) -> Result<Vec<Patch>, Error> {
        let parse = |data| Object::parse_all(&[Input::new("k.o", data)]).unwrap().remove(0);
        let image = Elf::parse(old).unwrap();
        let (index, _) = image.section(".rodata").unwrap();
        new_addends(&image, 0, index, &parse(old), &parse(new))
    }

    const OLD: [(u64, u32, i64); 3] = [(0, 2, 16), (8, 2, -4), (16, 1, 0)];

    #[test]
    fn addends_become_those_of_the_new_object_in_either_class_and_byte_order() {
        let headers = [
            header(Class::Elf64, Endianness::Little, EM_X86_64.0),
            header(Class::Elf64, Endianness::Big, EM_S390.0),
            header(Class::Elf32, Endianness::Big, EM_PPC.0),
        ];
        for header in headers {
            let (old, new) =
                (object(header, true, &OLD), [(0, 2, 16), (8, 2, 1 << 20), (16, 1, -1)]);
            let new = object(header, true, &new);
            let mut image = old.clone();
            let patches = patches(&old, &new).unwrap();
            assert_eq!(patches.len(), 2);
            image::apply(&mut image, &patches).unwrap();
            assert_eq!(image, new);
        }
    }

    #[test]
    fn records_that_differ_in_more_are_refused() {
        let header = header(Class::Elf64, Endianness::Little, EM_X86_64.0);
        let old = object(header, true, &OLD);
        let error = |new: &[(u64, u32, i64)]| {
            let new = object(header, true, new);
            patches(&old, &new).unwrap_err().to_string()
        };
        let message =
            |end: &str| format!("not supported: k.o: .rela.rodata keeps relocations {end}");
        assert_eq!(error(&OLD[..2]), message("of another number"));
        assert_eq!(error(&[OLD[0], OLD[1], (16, 2, 0)]), message("that are others"));
        assert_eq!(error(&[OLD[0], OLD[1], (24, 1, 0)]), message("at other places"));
        assert_eq!(error(&[]), message("of another number"));
    }

    #[test]
    fn addends_that_stand_in_the_fields_need_no_other_records() {
        let header = header(Class::Elf32, Endianness::Little, EM_386.0);
        let (old, new) = (
            object(header, false, &OLD),
            object(header, false, &[(0, 2, 1), (8, 2, 2), (16, 1, 3)]),
        );
        assert_eq!(patches(&old, &new).unwrap(), []);
        let moved = object(header, false, &[(4, 2, 1), (8, 2, 2), (16, 1, 3)]);
        assert!(patches(&old, &moved).unwrap_err().to_string().ends_with("without addends"));
    }
}
