#![no_main]

switchboard_fuzz::fuzz!("protobuf_frames");
