#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::one_thread(), |data: &[u8]| fuzz::dedup(data));
