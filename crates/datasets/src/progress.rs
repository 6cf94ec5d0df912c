//! Events of downloads on a progress bar.

use fewshot_fetch::{Event, format_bytes};
use fewshot_progress::{Progress, Unit};

/// Shows an event.
pub fn show(progress: &Progress, event: Event<'_>) {
    match event {
        Event::Asking { url, from: 0 } => progress.note(url),
        Event::Asking { url, from } => {
            progress.note(&format!("{url} from {} on", format_bytes(from)))
        }
        Event::Waiting { wait, why } => {
            progress.note(&format!("{why}; again in {:.0} s", wait.as_secs_f64()));
        }
        Event::GivenUp { url, why } => progress.note(&format!("{url}: {why}")),
        Event::Arrived { done, total } => progress.set("downloading", Unit::Bytes, done, total),
        Event::Verifying { done, total } => {
            progress.set("verifying", Unit::Bytes, done, Some(total));
        }
        Event::Unpacking { done, total } => {
            progress.set("unpacking", Unit::Bytes, done, Some(total));
        }
        Event::Converting { done, total } => {
            progress.set("making", Unit::Items("images"), done, Some(total));
        }
        _ => {}
    }
}
