//! The fuzz targets for libFuzzer. What they try stands beside the ordinary tests, which try it too.

#[path = "../../tests/it/fuzz/targets/mod.rs"]
pub mod targets;

/// The whole program of the target of that name.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            let (_, target) =
                $crate::targets::ALL.iter().find(|(name, _)| *name == $name).expect("it is known");
            target(data);
        });
    };
}
