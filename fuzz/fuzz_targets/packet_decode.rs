//! Bytes from a client: the first picks the version, the rest is what it sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((version, stream)) = bytes.split_first() {
        hearthlink::broker::fuzzing::read_stream(*version, stream);
    }
});
