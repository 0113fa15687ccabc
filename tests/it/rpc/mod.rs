//! Every action of the socket (REALTIME section 4) on the real server: what it does, what it refuses, whom it refuses,
//! and that it is the same as over REST.

mod calls;
mod protobuf;
mod refusals;
mod threads;
mod tokens;
