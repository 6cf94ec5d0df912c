//! TensorBoard event files: records of protocol buffers, each between two checksums.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fewshot_experiment::Error;
use prost::Message;

/// Writes scalars for TensorBoard.
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

/// The fields of `tensorflow.Event` that scalars need.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// 1 is START: events of earlier files at or above its step are discarded.
    #[prost(int32, tag = "1")]
    status: i32,
}

impl EventWriter {
    /// Creates a file in `folder` for a training that starts or resumes after `steps` steps. Of what
    /// earlier files say, TensorBoard discards what is above that step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path, steps: usize) -> Result<Self, Error> {
        let name = |n: u32| folder.join(format!("events.out.tfevents.{}.{n}", now() as u64));
        // Two runs may begin in one second.
        let path = (0..).map(name).find(|p| !p.exists()).unwrap_or_default();
        let file = File::create_new(&path).map_err(Error::io("create", &path))?;
        let mut writer = Self { path, file: BufWriter::new(file) };
        let version = Some("brain.Event:2".to_owned());
        writer.write(Event { file_version: version, ..Event::default() })?;
        let session_log = Some(SessionLog { status: 1 });
        writer.write(Event { step: steps as i64 + 1, session_log, ..Event::default() })?;
        writer.flush()?;
        Ok(writer)
    }

    /// Writes scalars of one step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn scalars(&mut self, step: usize, scalars: &[(&str, f64)]) -> Result<(), Error> {
        let value = |&(tag, value): &(&str, f64)| Value {
            tag: tag.to_owned(),
            simple_value: Some(value as f32),
        };
        let summary = Some(Summary { value: scalars.iter().map(value).collect() });
        self.write(Event { step: step as i64, summary, ..Event::default() })
    }

    /// Flushes all events to the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(Error::io("write", &self.path))
    }

    fn write(&mut self, event: Event) -> Result<(), Error> {
        let data = Event { wall_time: now(), ..event }.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_checksum(&length));
        record.extend(&data);
        record.extend(masked_checksum(&data));
        self.file.write_all(&record).map_err(Error::io("write", &self.path))
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// Computes the TFRecord format's checksum: CRC-32C, rotated and offset.
fn masked_checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file back by the format's definition.
    fn events(bytes: &[u8]) -> Vec<Event> {
        let mut rest = bytes;
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked_checksum(&rest[..8]));
            let data = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked_checksum(data));
            events.push(Event::decode(data).unwrap());
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), 7).unwrap();
        writer.scalars(8, &[("loss", 0.5), ("lr", 0.25)]).unwrap();
        writer.flush().unwrap();
        let events = events(&std::fs::read(&writer.path).unwrap());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(
            (events[1].step, events[1].session_log.clone()),
            (8, Some(SessionLog { status: 1 }))
        );
        let values = &events[2].summary.as_ref().unwrap().value;
        assert_eq!((events[2].step, values.len()), (8, 2));
        assert_eq!((values[0].tag.as_str(), values[0].simple_value), ("loss", Some(0.5)));
    }

    /// The published test vector of CRC-32C, masked as TFRecord does.
    #[test]
    fn checksum_is_crc32c() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_checksum(b""), 0xa282_ead8_u32.to_le_bytes());
    }
}
