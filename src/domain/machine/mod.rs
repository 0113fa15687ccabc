//! State machines: pure, synchronous, with time as an input. Actors (`live`) are shells around them: they feed inputs,
//! hand the facts to the journal and answer after the commit. Nothing here reads a clock, a database or a socket.

pub mod call;
pub mod ring;
