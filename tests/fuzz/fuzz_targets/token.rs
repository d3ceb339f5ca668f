#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| lanyard_fuzz::token(text));
