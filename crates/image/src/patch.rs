//! Changes to an image as data.
//!
//! The cores do not write to files: they return the bytes that must change and where. That keeps
//! them pure, lets several run at the same time over one map of the file, and lets a caller look
//! before anything is touched.

use thiserror::Error;

/// Bytes to put at an offset of the file. Patches never change the size of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Offset into the file, in bytes.
    pub offset: u64,
    /// What stands there afterwards.
    pub bytes: Vec<u8>,
}

/// A patch that does not lie within the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{offset:#x}: a patch of {len} bytes ends behind the file's {file_len} bytes")]
pub struct PatchError {
    /// Where the patch begins, in bytes from the start of the file.
    pub offset: u64,
    /// Length of the patch in bytes.
    pub len: usize,
    /// Length of the file in bytes.
    pub file_len: usize,
}

/// Applies `patches` in their order to `image`.
///
/// # Errors
/// The first patch that does not lie within the image; the image is then unchanged.
pub fn apply(image: &mut [u8], patches: &[Patch]) -> Result<(), PatchError> {
    let fits = |patch: &Patch| {
        let end = patch.offset.checked_add(patch.bytes.len() as u64);
        end.is_some_and(|end| end <= image.len() as u64)
    };
    if let Some(patch) = patches.iter().find(|patch| !fits(patch)) {
        let (offset, len) = (patch.offset, patch.bytes.len());
        return Err(PatchError { offset, len, file_len: image.len() });
    }
    for patch in patches {
        let start = patch.offset as usize;
        image[start..start + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_beyond_the_end_changes_nothing() {
        let mut image = vec![0u8; 4];
        let good = Patch { offset: 0, bytes: vec![1] };
        let bad = Patch { offset: 3, bytes: vec![1, 2] };
        let error = apply(&mut image, &[good.clone(), bad]).unwrap_err();
        assert_eq!(error, PatchError { offset: 3, len: 2, file_len: 4 });
        assert_eq!(image, [0; 4]);
        apply(&mut image, &[good]).unwrap();
        assert_eq!(image, [1, 0, 0, 0]);
    }

    #[test]
    fn an_offset_that_wraps_is_refused() {
        let wrapping = Patch { offset: u64::MAX, bytes: vec![1, 2] };
        assert!(apply(&mut [0; 4], &[wrapping]).is_err());
    }
}
