//! Sessions, rings and calls as services, actors, journal and database do them together; short timers, real time.

mod records;
mod restarts;
mod rings;
mod sessions;
mod world;
