//! What goes wrong: actors that panic, subscribers that come and go, clients far behind, a full disk, a database that is
//! gone, a server that is told to stop, clients of ill will. Nothing that was acknowledged is lost, and nobody else
//! notices.

mod catching_up;
mod disk;
mod hammer;
mod hostile;
mod ledger;
mod panics;
mod postgres;
mod stopping;
mod strangers;
