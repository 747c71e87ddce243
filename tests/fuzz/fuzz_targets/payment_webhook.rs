#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| orders_inputs::payment_webhook(data));
