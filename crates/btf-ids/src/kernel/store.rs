//! Types and strings as a blob again.

use btf::Btf;
use btf_dedup::Types;
use image::Endian;

use crate::Error;

/// A blob with the header and the layout section of `like`.
///
/// The types begin right behind the header, whatever the header of `like` says: the peer keeps a gap in the
/// header's offsets, but not in what it writes, so that its blob cannot be read.
pub(crate) fn blob(like: &Btf<'_>, types: &Types, strings: &[u8]) -> Result<Vec<u8>, Error> {
    let header = like.data().get(..like.header().hdr_len as usize).unwrap_or(&[]);
    let layout = like.layout_section();
    let size = |len: usize| u32::try_from(len).map_err(|_| Error::TooLarge);
    let types_len = size(types.words.len().saturating_mul(4))?;
    let (layout_len, strings_len) = (size(layout.len())?, size(strings.len())?);
    let strings_at = types_len.checked_add(layout_len).ok_or(Error::TooLarge)?;
    let endian = like.endian();
    let mut out =
        Vec::with_capacity(header.len() + types.words.len() * 4 + layout.len() + strings.len());
    out.extend_from_slice(header);
    let mut put = |at: usize, word: u32| {
        if let Some(field) = out.get_mut(at..at + 4) {
            field.copy_from_slice(&endian.write_u32(word));
        }
    };
    for (at, word) in [(8, 0), (12, types_len), (16, strings_at), (20, strings_len)] {
        put(at, word);
    }
    if !layout.is_empty() {
        put(24, types_len);
    }
    out.extend(types.words.iter().flat_map(|&word| endian.write_u32(word)));
    out.extend_from_slice(layout);
    out.extend_from_slice(strings);
    Ok(out)
}
