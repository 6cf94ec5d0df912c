//! One attempt to download what is missing of a file.

use std::io::Read;
use std::time::{Duration, SystemTime};

use ureq::Body;
use ureq::http::{Response, header};

use crate::client::{Client, RequestError, ResumePoint};
use crate::headers::{content_range, retry_after, text, validator};
use crate::pace::{Paced, TooSlow};
use crate::part::Part;
use crate::{Error, Event, Listener, Remote};

/// Why an attempt did not complete the file.
pub(crate) enum Fault {
    /// The same mirror may succeed next time, after a wait that it may have asked for.
    Retry { why: String, wait: Option<Duration> },
    /// The server sends too little; another mirror may send more.
    Slow(String),
    /// This mirror will not succeed; another one may.
    NextMirror(String),
    /// No mirror can help.
    Fatal(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Transient(why) => retry(why),
            RequestError::Permanent(why) => Self::NextMirror(why),
        }
    }
}

/// Makes a fault of which the server did not say how long to wait.
pub(crate) fn retry(why: impl Into<String>) -> Fault {
    Fault::Retry { why: why.into(), wait: None }
}

/// Asks one mirror for what the part lacks. If this succeeds, the part is complete, though not
/// verified.
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
    let start = ResumePoint { offset: part.len(), validator: part.validator_for(url) };
    let (response, pace) = client.get(url, &start)?;
    match response.status().as_u16() {
        200 | 206
            if text(response.headers(), header::CONTENT_ENCODING)
                .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) =>
        {
            let why = "the server sends a compressed form that was not asked for";
            Err(Fault::NextMirror(why.into()))
        }
        200 => {
            let total = response.body().content_length();
            if let Some(why) = total.and_then(|total| remote.size.mismatch(total)) {
                return Err(Fault::NextMirror(why));
            }
            // Even if a range was requested: the body is the whole file.
            part.restart(url, validator(response.headers()))?;
            receive(
                Paced::new(response.into_body().into_reader(), pace),
                remote,
                total,
                part,
                listener,
            )
        }
        206 => {
            let total = check_range(&response, remote, part)?;
            receive(
                Paced::new(response.into_body().into_reader(), pace),
                remote,
                total,
                part,
                listener,
            )
        }
        416 => range_not_satisfiable(&response, remote, part),
        _ => Err(status_fault(&response)),
    }
}

/// Classifies a response without content by its status.
pub(crate) fn status_fault(response: &Response<Body>) -> Fault {
    match response.status().as_u16() {
        status @ (429 | 503) => {
            let wait = text(response.headers(), header::RETRY_AFTER);
            let wait = wait.and_then(|wait| retry_after(wait, SystemTime::now()));
            Fault::Retry { why: format!("the server answers {status}"), wait }
        }
        status @ (408 | 425 | 500 | 502 | 504) => retry(format!("the server answers {status}")),
        status => Fault::NextMirror(format!("the server answers {status}")),
    }
}

/// Checks that a partial response starts where the part ends; returns the size of the whole file.
fn check_range(
    response: &Response<Body>,
    remote: &Remote,
    part: &mut Part,
) -> Result<Option<u64>, Fault> {
    let value = text(response.headers(), header::CONTENT_RANGE).unwrap_or_default().to_owned();
    let range = content_range(&value);
    let bytes = range.as_ref().and_then(|range| range.bytes);
    let (Some(range), Some((first, last))) = (range, bytes) else {
        part.discard()?;
        return Err(retry(format!("a part with the range `{value}`, which makes no sense")));
    };
    if let Some(why) = range.total.and_then(|total| remote.size.mismatch(total)) {
        return Err(Fault::NextMirror(why));
    }
    let length = response.body().content_length();
    if part.len() == 0 || first != part.len() || length.is_some_and(|n| n != last - first + 1) {
        let asked = part.len();
        part.discard()?;
        return Err(retry(format!("asked from byte {asked} on, the server sends `{value}`")));
    }
    Ok(range.total.or(last.checked_add(1)))
}

/// Handles status 416: the part is either the whole file or not of this file.
fn range_not_satisfiable(
    response: &Response<Body>,
    remote: &Remote,
    part: &mut Part,
) -> Result<(), Fault> {
    let range = text(response.headers(), header::CONTENT_RANGE).and_then(content_range);
    let total = range.and_then(|range| range.total);
    if part.len() > 0 && total == Some(part.len()) && remote.size.known().is_none() {
        return Ok(());
    }
    let had = part.len();
    part.discard()?;
    Err(retry(format!("the server has no byte {had}: starting over")))
}

/// Appends the body to the part, up to the size of the file.
fn receive(
    mut body: impl Read,
    remote: &Remote,
    total: Option<u64>,
    part: &mut Part,
    listener: Listener<'_>,
) -> Result<(), Fault> {
    let total = total.or(remote.size.known());
    let limit = total.unwrap_or(remote.size.limit());
    let mut buffer = vec![0; 64 << 10];
    listener(Event::Arrived { done: part.len(), total });
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) if TooSlow::is_cause_of(&e) => {
                return Err(Fault::Slow(format!("{e}, after {} bytes", part.len())));
            }
            Err(e) => return Err(connection_broke(e.to_string(), part, total)),
        };
        if part.len() + count as u64 > limit {
            part.discard()?;
            return Err(Fault::NextMirror(format!("it sends more than {limit} bytes")));
        }
        part.append(&buffer[..count])?;
        listener(Event::Arrived { done: part.len(), total });
    }
    match total {
        Some(total) if part.len() < total => {
            Err(connection_broke("it ended".into(), part, Some(total)))
        }
        _ => Ok(()),
    }
}

fn connection_broke(why: String, part: &Part, total: Option<u64>) -> Fault {
    let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
    retry(format!("the connection broke after {} bytes{total}: {why}", part.len()))
}
