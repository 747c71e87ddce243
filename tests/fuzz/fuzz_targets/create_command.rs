#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| orders_inputs::create_command(data));
