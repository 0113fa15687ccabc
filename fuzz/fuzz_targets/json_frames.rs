#![no_main]

switchboard_fuzz::fuzz!("json_frames");
