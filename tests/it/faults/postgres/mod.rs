//! Faults of a database that several nodes share.

mod commit_cut;
mod crowd;
mod few_connections;
mod restarts;
mod starters;
mod upgrade;
mod watch;
