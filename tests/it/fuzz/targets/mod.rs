//! What strangers' bytes are tried on: one function per parser, used by the fuzz targets (`fuzz/`) and by the ordinary
//! tests alike.
//!
//! A target takes any bytes and panics where a promise is broken: besides "no panic" that what is accepted means the
//! same however it is cut, spelled or encoded, and that what is refused is refused in the documented way. It answers
//! whether something was accepted, so that the tests can tell inputs that reach the parser from mere noise.

pub mod commands;
pub mod cursors;
pub mod forms;
pub mod frames;
pub mod links;
pub mod lists;
pub mod source;
pub mod tokens;

/// A target: whether it accepted something.
pub type Target = fn(&[u8]) -> bool;

/// Every target by its name, which is also the name of its file and of its corpus.
pub const ALL: &[(&str, Target)] = &[
    ("commands", commands::spelled),
    ("cursors", cursors::read),
    ("filters", lists::filters),
    ("forms", forms::read),
    ("json_frames", commands::json_frames),
    ("links", links::read),
    ("orders", lists::orders),
    ("protobuf_frames", commands::protobuf_frames),
    ("queries", lists::queries),
    ("socket_frames", frames::read),
    ("tokens", tokens::read),
];
