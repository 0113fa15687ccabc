#![no_main]

switchboard_fuzz::fuzz!("queries");
