//! Memory of JavaScript for the length of a call.
//!
//! The only place that makes slices of it. JavaScript does not run while a call does, so nobody else writes; a
//! SharedArrayBuffer that another thread writes at the same time yields bytes of either moment, never other memory.

use napi::bindgen_prelude::{Float64ArraySlice, Uint8ArraySlice, Uint32ArraySlice};

/// The words of an array, to fill.
#[expect(unsafe_code, reason = "memory of JavaScript can only be written through a pointer")]
pub fn words<'a>(array: &'a mut Uint32ArraySlice<'_>) -> &'a mut [u32] {
    // SAFETY: the view is valid during this call, in which no JavaScript runs, and no second slice of it is made: the
    // arrays of one call are different ones in `src/binding`, which alone calls us.
    unsafe { array.as_mut() }
}

/// The bytes of an array, to fill.
#[expect(unsafe_code, reason = "memory of JavaScript can only be written through a pointer")]
pub fn bytes<'a>(array: &'a mut Uint8ArraySlice<'_>) -> &'a mut [u8] {
    // SAFETY: as for `words`.
    unsafe { array.as_mut() }
}

/// The numbers of an array, to fill.
#[expect(unsafe_code, reason = "memory of JavaScript can only be written through a pointer")]
pub fn numbers<'a>(array: &'a mut Float64ArraySlice<'_>) -> &'a mut [f64] {
    // SAFETY: as for `words`.
    unsafe { array.as_mut() }
}
