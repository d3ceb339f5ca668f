#![no_main]

libfuzzer_sys::fuzz_target!(|input: (i32, &str, &str, &[u8])| {
    let (size, token, filter, key) = input;
    lanyard_fuzz::page_token(size, token, filter, key);
});
