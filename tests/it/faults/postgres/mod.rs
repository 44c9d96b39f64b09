//! Faults of several nodes over one PostgreSQL database.
//!
//! A [`node::Node`] is one of the processes; a [`census::Census`] counts from beside what no client can be told wrong.

mod census;
mod node;
mod workers;
mod zombie;
