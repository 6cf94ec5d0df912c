//! One request, and what it adds to the part.

use std::io::Read;
use std::time::{Duration, SystemTime};

use ureq::Body;
use ureq::http::{Response, header};

use crate::client::{Client, From, NoAnswer};
use crate::headers::{content_range, retry_after, text, validator};
use crate::part::Part;
use crate::{Error, Event, Listener, Remote};

/// Why a try brought no complete file.
pub(crate) enum Fault {
    /// The same mirror may do better next time, after a wait that it may have asked for.
    Again { why: String, wait: Option<Duration> },
    /// This mirror will not do better.
    Mirror(String),
    /// No mirror can help.
    Fatal(Error),
}

impl std::convert::From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl std::convert::From<NoAnswer> for Fault {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Now(why) => again(why),
            NoAnswer::Ever(why) => Self::Mirror(why),
        }
    }
}

pub(crate) fn again(why: impl Into<String>) -> Fault {
    Fault::Again { why: why.into(), wait: None }
}

/// Asks one mirror for what the part lacks. The part is complete, though not verified,
/// where this succeeds.
pub(crate) fn attempt(
    client: &Client,
    remote: &Remote,
    url: &str,
    part: &mut Part,
    listener: Listener<'_>,
) -> Result<(), Fault> {
    if remote.size.known() == Some(part.len()) {
        return Ok(());
    }
    if part.len() > remote.size.limit() {
        part.discard()?;
    }
    listener(Event::Asking { url, from: part.len() });
    let from = From { byte: part.len(), version: part.version_of(url) };
    let answer = client.get(url, &from)?;
    match answer.status().as_u16() {
        200 | 206
            if text(answer.headers(), header::CONTENT_ENCODING)
                .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) =>
        {
            Err(Fault::Mirror("the server sends a compressed form that nobody asked for".into()))
        }
        200 => {
            let total = answer.body().content_length();
            if let Some(why) = total.and_then(|total| remote.size.objection(total)) {
                return Err(Fault::Mirror(why));
            }
            // Whatever was asked: what follows is the whole file.
            part.restart(url, validator(answer.headers()))?;
            receive(answer, remote, total, part, listener)
        }
        206 => {
            let total = check_range(&answer, remote, part)?;
            receive(answer, remote, total, part, listener)
        }
        416 => beyond_the_end(&answer, remote, part),
        _ => Err(refusal(&answer)),
    }
}

/// What an answer that brings nothing means for the next try.
pub(crate) fn refusal(answer: &Response<Body>) -> Fault {
    match answer.status().as_u16() {
        status @ (429 | 503) => {
            let wait = text(answer.headers(), header::RETRY_AFTER);
            let wait = wait.and_then(|wait| retry_after(wait, SystemTime::now()));
            Fault::Again { why: format!("the server answers {status}"), wait }
        }
        status @ (408 | 425 | 500 | 502 | 504) => again(format!("the server answers {status}")),
        status => Fault::Mirror(format!("the server answers {status}")),
    }
}

/// Whether a partial answer is what was asked for; gives the size of the whole file.
fn check_range(
    answer: &Response<Body>,
    remote: &Remote,
    part: &mut Part,
) -> Result<Option<u64>, Fault> {
    let value = text(answer.headers(), header::CONTENT_RANGE).unwrap_or_default().to_owned();
    let range = content_range(&value);
    let bytes = range.as_ref().and_then(|range| range.bytes);
    let (Some(range), Some((first, last))) = (range, bytes) else {
        part.discard()?;
        return Err(again(format!("a part with the range `{value}`, which makes no sense")));
    };
    if let Some(why) = range.total.and_then(|total| remote.size.objection(total)) {
        return Err(Fault::Mirror(why));
    }
    let length = answer.body().content_length();
    if part.len() == 0 || first != part.len() || length.is_some_and(|n| n != last - first + 1) {
        let asked = part.len();
        part.discard()?;
        return Err(again(format!("asked from byte {asked} on, the server sends `{value}`")));
    }
    Ok(range.total.or(last.checked_add(1)))
}

/// There is nothing from where the part ends: either it is whole, or not of this file.
fn beyond_the_end(answer: &Response<Body>, remote: &Remote, part: &mut Part) -> Result<(), Fault> {
    let range = text(answer.headers(), header::CONTENT_RANGE).and_then(content_range);
    let total = range.and_then(|range| range.total);
    if part.len() > 0 && total == Some(part.len()) && remote.size.known().is_none() {
        return Ok(());
    }
    let had = part.len();
    part.discard()?;
    Err(again(format!("the server has no byte {had}: starting over")))
}

/// Appends the body to the part, as far as it may go.
fn receive(
    answer: Response<Body>,
    remote: &Remote,
    total: Option<u64>,
    part: &mut Part,
    listener: Listener<'_>,
) -> Result<(), Fault> {
    let total = total.or(remote.size.known());
    let limit = total.unwrap_or(remote.size.limit());
    let mut body = answer.into_body().into_reader();
    let mut buffer = vec![0; 64 << 10];
    listener(Event::Arrived { done: part.len(), total });
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(again(broken(e.to_string(), part, total))),
        };
        if part.len() + count as u64 > limit {
            part.discard()?;
            return Err(Fault::Mirror(format!("it sends more than {limit} bytes")));
        }
        part.append(&buffer[..count])?;
        listener(Event::Arrived { done: part.len(), total });
    }
    match total {
        Some(total) if part.len() < total => {
            Err(again(broken("it ended".into(), part, Some(total))))
        }
        _ => Ok(()),
    }
}

fn broken(why: String, part: &Part, total: Option<u64>) -> String {
    let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
    format!("the connection broke after {} bytes{total}: {why}", part.len())
}
