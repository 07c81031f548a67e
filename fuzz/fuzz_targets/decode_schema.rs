//! Arbitrary bytes as records with schema blocks.
#![no_main]

mod decode;

use libfuzzer_sys::fuzz_target;
use rowferry::row::Format;

fuzz_target!(|data: &[u8]| decode::decode(Format::Envelope, false, data));
