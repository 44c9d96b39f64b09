//! Faults around replies that are written live: those who watch are cut off, the process that writes dies, what is written
//! is deleted, and nobody sees anything but what is stored.
//!
//! A [`Stage`] is a service over a provider that does what it is told. What somebody saw is compared with what a latecomer
//! is told, and with what is stored ([`judge`]).

mod bystander;
mod cuts;
mod deaf;
mod deleting;
mod garbage;
mod hung;
mod judge;
mod leaving;
mod long_texts;
mod memory;
mod midstream;
mod races;
mod stage;
mod stopping;
mod two_nodes;
