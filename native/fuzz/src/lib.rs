//! What joins a target of `evil` with libFuzzer.

pub use libfuzzer_sys;

/// Makes the entry of a fuzzer for the target of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            ($crate::find($name).run)(data);
        });
    };
}

/// The target of this name.
///
/// # Panics
/// There is none.
#[must_use]
pub fn find(name: &str) -> &'static evil::target::Target {
    evil::target::find(name).expect("every fuzz target is in the list of `evil`")
}
