//! Help threads as services, actors, journal and database do them together: who sees what, what was read, what is gone.

mod changes;
mod deletion;
mod fields;
mod guests;
mod lists;
mod messages;
mod receipts;
mod successors;
mod tallies;
mod totals;
mod world;
