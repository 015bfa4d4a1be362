//! What a run leaves for the next one, and what there is to be done for that yet.
//!
//! Units are recognised by keys, for which all their bytes are read once more. A run that could begin with nothing does
//! not need them, and whoever waits for its types does not either. So they are made when there is time.

use super::file::{halves, seal};
use super::key::{self, Key};
use crate::source::{DebugSource, Info};
use crate::unit::{Batch, Headers};

/// What a later run can begin with ([`Encoded::known`](crate::Encoded::known)).
#[derive(Debug, Clone)]
pub struct ToRemember {
    /// All but the checksum.
    file: Vec<u8>,
    missing: Option<Missing>,
}

/// Keys that have to be made.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    /// Where they are to stand in the file, in bytes.
    pub at: usize,
    /// By unit, whether it is to have one.
    pub wanted: Vec<bool>,
    pub big: bool,
    /// Whether location lists are read.
    pub lists: bool,
}

impl ToRemember {
    pub(super) fn new(file: Vec<u8>, missing: Option<Missing>) -> Self {
        ToRemember { file, missing }
    }

    /// The bytes that a later run takes ([`Remembered::bytes`](crate::Remembered::bytes)). Keys that are missing are made
    /// with the threads of the current rayon pool, of the units of `source`, which is that of the run; those that cannot be
    /// read get none.
    pub fn into_bytes(mut self, source: &dyn DebugSource) -> Vec<u8> {
        if let Some(missing) = self.missing {
            let keys = missing.keys(source).unwrap_or_default();
            let places = self.file[missing.at..].chunks_exact_mut(size_of::<Key>());
            let wanted = places.zip(keys).zip(missing.wanted).filter(|&(_, wanted)| wanted);
            wanted.for_each(|((place, key), _)| {
                place.copy_from_slice(bytemuck::cast_slice(&halves(key)));
            });
        }
        seal(&mut self.file);
        self.file
    }
}

impl Missing {
    /// One for each unit; `None` if there are others than in the run.
    fn keys(&self, source: &dyn DebugSource) -> Option<Vec<Key>> {
        let info = Info::Parts(source);
        let Batch { headers, .. } = Headers::new(info, self.big).batch(usize::MAX).ok()?;
        let abbrev = source.section(".debug_abbrev").ok()?;
        let same = headers.len() == self.wanted.len();
        same.then(|| key::keys(info, &abbrev, &headers, self.lists))
    }
}
