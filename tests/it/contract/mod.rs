//! The contract of `docs/contract.md`, clause by clause.
