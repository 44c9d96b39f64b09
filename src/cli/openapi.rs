use super::{CommandError, print};
use crate::http::document;

/// The same bytes that `/openapi.json` answers with.
pub(super) fn run() -> Result<(), CommandError> {
    print(document().trim_end())
}
