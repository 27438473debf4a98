//! What goes to standard output.

use std::io::{ErrorKind, Write as _};

use crate::exit::{Failure, SOFTWARE};

/// Prints the text. A reader that has gone, as `head` does, wants no more, and that is no failure.
pub(crate) fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(SOFTWARE, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
