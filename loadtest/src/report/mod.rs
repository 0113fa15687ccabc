//! Results: one JSON file per run, tables and pages made from it.

pub mod compare;
pub mod html;
pub mod merge;
pub mod plot;
pub mod result;
pub mod text;

pub use result::Report;
