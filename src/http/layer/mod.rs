//! What happens around every request. The order and its reasons are in [`super::layered`].

pub(super) mod admission;
pub(super) mod cors;
pub(super) mod host;
pub(super) mod keys;
pub(super) mod linger;
pub(super) mod observe;
