//! Faults of a database that several nodes share, and of the nodes that share it.

mod census;
mod commit_cut;
mod crowd;
mod cut_off;
mod network;
mod node;
mod restarts;
mod starters;
//mod upgrade;
mod watch;
mod workers;
mod zombie;
