//! Operations over real HTTP, family by family.

mod assist;
