//! Compressed sections (`SHF_COMPRESSED`), with zlib or zstd.
//!
//! Source of facts: gABI, "Section Compression"; the formats themselves are read by `object`.

use image::Elf;
use object::read::{Object, ObjectSection};

use crate::Error;

/// The contents of the compressed section `name`.
pub(crate) fn unpack(elf: &Elf<'_>, bytes: &[u8], name: &'static str) -> Result<Vec<u8>, Error> {
    let bad = |cause: String| Error::new(name, 0, cause);
    // A claimed size is believed only as far as a compressor can go.
    let limit = (bytes.len() as u64).saturating_mul(2000);
    let file = object::File::parse(elf.data()).map_err(|e| bad(e.to_string()))?;
    let section = file.section_by_name(name).ok_or(Error::NoDwarf)?;
    let data = section.compressed_data().map_err(|e| bad(e.to_string()))?;
    if data.uncompressed_size > limit {
        return Err(bad(format!("{:#x} bytes are claimed when unpacked", data.uncompressed_size)));
    }
    let data = data.decompress().map_err(|e| bad(format!("cannot be unpacked: {e}")))?;
    Ok(data.into_owned())
}
