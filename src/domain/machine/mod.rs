//! Pure, synchronous state machines: the decisions behind the actors. They take the moment as an argument, touch no
//! clock and no I/O, and say as facts what has to be stored and told.

pub mod call;
pub mod conversation;
pub mod ring;
pub mod tally;
