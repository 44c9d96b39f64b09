//! Reads lines, and says of each that is none of ours what is wrong with it, by the field's name.

use std::io::BufRead;

use super::line;
use crate::{
    model::MovedConversation,
    transfer::{Found, Portion, Refused, Take, Unreadable},
};

/// The longest line that is read: memory must not grow with what is in a file.
const LONGEST: usize = 64 * 1024 * 1024;

/// Reads every line.
pub fn read(mut input: impl BufRead, take: Take<'_>) -> Result<(), Unreadable> {
    let mut line = Vec::new();
    // The conversation of which there is more to come, and its parts so far.
    let mut open: Option<(MovedConversation, u64)> = None;
    for place in 1.. {
        line.clear();
        let length = next_line(&mut input, &mut line)?;
        if length == 0 {
            break;
        }
        let refused = |problem: String| Found::Refused(Refused { place, problem });
        if length > LONGEST {
            open = None;
            take(refused(format!(
                "the line is longer than {LONGEST} bytes: give the conversation in parts"
            )))?;
            continue;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let read = line::parse(&line).and_then(|shape| {
            let more = shape.more;
            let (conversation, messages, part) = shape.into_part(open.take())?;
            if more {
                open = Some((conversation.clone(), part));
            }
            Ok(Portion {
                place,
                conversation,
                is_first: part == 1,
                is_last: !more,
                messages,
            })
        });
        match read {
            Ok(portion) => take(Found::Portion(Box::new(portion)))?,
            Err(problem) => {
                open = None;
                take(refused(problem))?;
            }
        }
    }
    if open.is_some() {
        take(Found::Refused(Refused {
            place: 0,
            problem: "more: the file ends before the last part of a conversation".to_owned(),
        }))?;
    }
    Ok(())
}

/// Reads up to the next end of a line; what is beyond the longest is passed over. Gives the whole length.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut length = 0;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(length);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        let room = LONGEST.saturating_sub(line.len());
        line.extend(available.iter().take(taken.min(room)));
        length += taken;
        input.consume(taken);
        if end.is_some() {
            return Ok(length);
        }
    }
}
