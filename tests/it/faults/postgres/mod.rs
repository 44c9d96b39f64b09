//! Faults of a database that several nodes share, and of the nodes that share it.
//!
//! A [`node::Node`] is one of the processes; a [`census::Census`] counts from beside what no client can be told wrong.

mod census;
mod commit_cut;
mod crowd;
mod cut_off;
mod few_connections;
mod network;
pub(super) mod node;
mod restarts;
mod starters;
mod upgrade;
mod watch;
mod workers;
mod zombie;
