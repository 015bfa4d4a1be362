//! Which symbol of the image each symbol of an input is that is not local.
//!
//! Cost: one look-up for each, of which most wait for memory; so it is done once, by all threads.

use std::sync::Arc;

use image::Symbol;
use image::consts::STB_LOCAL;
use rayon::prelude::*;

use crate::object::Object;
use crate::targets::{Globals, SYMBOLS};

/// In the place of an index: a local symbol, or one that the image does not show as global.
const NONE: u32 = u32::MAX;

/// By input, by symbol, the index of the image's symbol of that name; null symbols are left out in both.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<Vec<u32>>);

impl Seen {
    pub(crate) fn new(objects: &[Arc<Object<'_>>], globals: &Globals<'_>) -> Self {
        let find = |symbol: &Symbol<'_>| match symbol.bind == STB_LOCAL.0 {
            true => NONE,
            false => globals.find(symbol.name).unwrap_or(NONE),
        };
        let of_input = |object: &Arc<Object<'_>>| {
            object.symbols.par_iter().with_min_len(SYMBOLS).map(find).collect()
        };
        Seen(objects.par_iter().map(of_input).collect())
    }

    /// For the symbol `symbol` of the input `input`, both by index.
    pub(crate) fn find(&self, input: usize, symbol: usize) -> Option<u32> {
        self.0.get(input)?.get(symbol).copied().filter(|&index| index != NONE)
    }
}
