//! What the commands print and write.

use std::collections::HashMap;
use std::path::Path;

use fewshot::{Album, Answer, Checked, Photo};
use fewshot_progress::counted;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::arguments::Format;

/// Most lines of photos and pairs that are printed.
const MOST: usize = 10;

/// What an album found out about itself.
pub fn fitted(album: &Album) -> String {
    let left_out = album.left_out();
    let (before, after) = album.held_out.calibration_errors;
    let mut text = format!(
        "{}, {}, {} head\non photos that were left out: {}\n",
        counted(album.classes.len(), "class"),
        counted(album.supports.len(), "photo"),
        album.head().name(),
        if left_out.photos == 0 {
            "none, for every class has one photo".to_owned()
        } else {
            left_out.summary()
        },
    );
    if left_out.photos > 0 {
        text += &format!(
            "calibration error {:.1} % (before calibration {:.1} %)\n",
            100.0 * after,
            100.0 * before
        );
        text += "\nclass by what it is taken for:\n";
        text += &left_out.confusion.to_text();
    }
    let doubtful = album.doubtful();
    if !doubtful.is_empty() {
        text += "\nprobably mislabelled, or hard:\n";
        for (support, taken_for, probability) in doubtful.iter().take(MOST) {
            let class = &album.classes[*taken_for];
            text +=
                &format!("  {} looks like {class} ({:.0} %)\n", support.name, 100.0 * probability);
        }
        text += &more(doubtful.len());
    }
    let duplicates = album.near_duplicates();
    if !duplicates.is_empty() {
        text += "\nnearly the same photo in two classes:\n";
        for (a, b) in duplicates.iter().take(MOST) {
            text += &format!("  {} and {}\n", a.name, b.name);
        }
        text += &more(duplicates.len());
    }
    let mixed_up = left_out.confusion.mixed_up();
    if !mixed_up.is_empty() {
        text += "\nhard to tell apart:\n";
        for (a, b, count, of) in mixed_up.iter().take(MOST) {
            text += &format!("  {a} and {b} ({count} of {of})\n");
        }
        text += &more(mixed_up.len());
    }
    text.trim_end().to_owned()
}

fn more(count: usize) -> String {
    if count > MOST { format!("  and {} more\n", count - MOST) } else { String::new() }
}

/// The same as JSON.
pub fn fitted_json(album: &Album) -> String {
    let doubtful: Vec<Value> = album
        .doubtful()
        .iter()
        .map(|(support, class, p)| {
            json!({"photo": support.name, "class": album.classes[support.label],
                "looks_like": album.classes[*class], "probability": p})
        })
        .collect();
    let duplicates: Vec<Value> =
        album.near_duplicates().iter().map(|(a, b)| json!([a.name, b.name])).collect();
    let value = json!({
        "classes": album.classes,
        "photos": album.supports.len(),
        "head": album.head().name(),
        "left_out": album.left_out(),
        "calibration_error": album.held_out.calibration_errors.1,
        "calibration_error_before": album.held_out.calibration_errors.0,
        "unknown_below": album.threshold(),
        "probably_mislabelled": doubtful,
        "near_duplicates": duplicates,
        "broken": album.broken,
    });
    format!("{value:#}")
}

/// Accuracy on labelled photos.
pub fn checked(checked: &Checked) -> String {
    let mut text = String::new();
    if checked.photos > 0 {
        text += &format!(
            "{}\ncalibration error {:.1} %, called unknown {:.1} %\n",
            checked.summary(),
            100.0 * checked.calibration_error,
            100.0 * checked.false_alarms
        );
    }
    if let Some((photos, unknown)) = checked.strangers {
        let photos = counted(photos, "photo");
        text += &format!("of {photos} of other classes, called unknown {:.1} %\n", 100.0 * unknown);
    }
    if checked.photos > 0 {
        text += "\nclass by what it is taken for:\n";
        text += &checked.confusion.to_text();
        text += "\nconfidence   photos   right\n";
        for (bin, (count, confidence, right)) in checked.reliability.iter().enumerate() {
            if *count > 0 {
                text += &format!(
                    "{:>3} to {:>3} % {count:>8} {:>6.1} % (mean confidence {:.1} %)\n",
                    10 * bin,
                    10 * bin + 10,
                    100.0 * right,
                    100.0 * confidence
                );
            }
        }
    }
    text.trim_end().to_owned()
}

/// Answers about photos.
pub fn predicted(
    album: &Album,
    answers: &[(&Photo, Answer)],
    format: Format,
    top: usize,
) -> Result<String, String> {
    let label = |answer: &Answer| match answer.is_unknown {
        true => "unknown".to_owned(),
        false => album.classes[answer.class()].clone(),
    };
    let nearest = |answer: &Answer| album.supports.get(answer.nearest.0).map_or("", |s| &*s.name);
    let object = |(photo, answer): &(&Photo, Answer)| {
        let classes = answer.classes.iter().take(top);
        let classes: Vec<Value> = classes
            .map(|(class, p)| json!({"class": album.classes[*class], "probability": p}))
            .collect();
        json!({
            "photo": photo.name,
            "label": label(answer),
            "unknown": answer.is_unknown,
            "classes": classes,
            "similarity": answer.similarity,
            "nearest": nearest(answer),
        })
    };
    match format {
        Format::Json => Ok(format!("{:#}", Value::Array(answers.iter().map(object).collect()))),
        Format::Jsonl => {
            let lines: Vec<String> =
                answers.iter().map(|answer| object(answer).to_string()).collect();
            Ok(lines.join("\n"))
        }
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            let mut head = vec!["photo".to_owned(), "label".to_owned()];
            for place in 1..=top {
                head.extend([format!("class{place}"), format!("probability{place}")]);
            }
            head.extend(["similarity".to_owned(), "nearest".to_owned()]);
            writer.write_record(&head).map_err(|e| e.to_string())?;
            for (photo, answer) in answers {
                let mut row = vec![photo.name.clone(), label(answer)];
                for place in 0..top {
                    let class = answer.classes.get(place);
                    row.push(
                        class.map_or_else(String::new, |class| album.classes[class.0].clone()),
                    );
                    row.push(class.map_or_else(String::new, |class| format!("{:.6}", class.1)));
                }
                row.extend([format!("{:.6}", answer.similarity), nearest(answer).to_owned()]);
                writer.write_record(&row).map_err(|e| e.to_string())?;
            }
            let bytes = writer.into_inner().map_err(|e| e.to_string())?;
            Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        }
        Format::Text => {
            let line = |(photo, answer): &(&Photo, Answer)| {
                let others = answer.classes.iter().take(top);
                let others: Vec<String> = others
                    .map(|(class, p)| format!("{} {:.0} %", album.classes[*class], 100.0 * p))
                    .collect();
                let (near, others) = (nearest(answer), others.join(", "));
                match answer.is_unknown {
                    true => format!("{}\tunknown\t({others}; nearest: {near})", photo.name),
                    false => {
                        format!("{}\t{}\t({others}; nearest: {near})", photo.name, label(answer))
                    }
                }
            };
            Ok(answers.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
    }
}

/// Features as the bytes of a file, by its ending.
pub fn embedded(path: &Path, names: &[String], features: &[Vec<f32>]) -> Result<Vec<u8>, String> {
    let dim = features.first().map_or(0, Vec::len);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            let numbers = (0..dim).map(|number| format!("feature{number}"));
            let head: Vec<String> = std::iter::once("photo".to_owned()).chain(numbers).collect();
            writer.write_record(&head).map_err(|e| e.to_string())?;
            for (name, feature) in names.iter().zip(features) {
                let numbers = feature.iter().map(f32::to_string);
                let row: Vec<String> = std::iter::once(name.clone()).chain(numbers).collect();
                writer.write_record(&row).map_err(|e| e.to_string())?;
            }
            writer.into_inner().map_err(|e| e.to_string())
        }
        Some("safetensors") => {
            let numbers = features.iter().flatten();
            let data: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
            let view = TensorView::new(Dtype::F32, vec![features.len(), dim], &data);
            let view = view.map_err(|e| e.to_string())?;
            let photos = serde_json::to_string(names).map_err(|e| e.to_string())?;
            let metadata = HashMap::from([("photos".to_owned(), photos)]);
            safetensors::serialize([("features", view)], Some(metadata)).map_err(|e| e.to_string())
        }
        _ => Err("expected a name that ends in .csv or .safetensors".to_owned()),
    }
}
