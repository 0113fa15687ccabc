#![no_main]

switchboard_fuzz::fuzz!("socket_frames");
