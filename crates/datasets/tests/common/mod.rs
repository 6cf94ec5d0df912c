//! Small files as `datasets` writes them.
#![allow(dead_code, missing_docs)]

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Label, image, path.
pub type Row = (Option<i64>, Option<Vec<u8>>, Option<String>);

pub const SCHEMA: &str = "message schema {
    optional group image { optional binary bytes; optional binary path (STRING); }
    optional int64 label;
}";

/// The note that names the classes.
pub fn note(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    format!(
        r#"{{"info": {{"features": {{"image": {{"_type": "Image"}},
            "label": {{"names": [{}], "_type": "ClassLabel"}}}}}}}}"#,
        names.join(", ")
    )
}

/// A file of groups of rows.
pub fn parquet(schema: &str, note: Option<String>, groups: &[Vec<Row>], packed: bool) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let compression = if packed { Compression::SNAPPY } else { Compression::UNCOMPRESSED };
    let notes = note.map(|note| vec![KeyValue::new("huggingface".into(), note)]);
    let properties = WriterProperties::builder().set_compression(compression);
    let properties = Arc::new(properties.set_key_value_metadata(notes).build());
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, properties).unwrap();
    for rows in groups {
        let mut group = writer.next_row_group().unwrap();
        let mut text = |values: Vec<Option<Vec<u8>>>| {
            let mut column = group.next_column().unwrap().unwrap();
            let levels: Vec<_> =
                values.iter().map(|value| if value.is_some() { 2 } else { 1 }).collect();
            let values: Vec<_> = values.into_iter().flatten().map(ByteArray::from).collect();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        };
        text(rows.iter().map(|(_, image, _)| image.clone()).collect());
        text(rows.iter().map(|(_, _, path)| path.clone().map(String::into_bytes)).collect());
        let levels: Vec<_> = rows.iter().map(|(label, _, _)| label.is_some().into()).collect();
        let labels: Vec<_> = rows.iter().filter_map(|(label, _, _)| *label).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&labels, Some(&levels), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    file
}

/// A row as they usually are.
pub fn row(label: i64, image: &[u8], path: &str) -> Row {
    (Some(label), Some(image.to_vec()), Some(path.to_owned()))
}
