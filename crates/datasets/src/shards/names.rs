//! Names of the classes, from the metadata.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The JSON that Hugging Face's `datasets` writes under the key `huggingface`.
#[derive(Deserialize)]
struct Metadata {
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    features: BTreeMap<String, Feature>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Feature {
    Labels { names: Vec<String> },
    Other(serde::de::IgnoredAny),
}

/// Returns the classes' names in the order of the labels.
pub fn names(json: &str) -> Result<Vec<String>, String> {
    let metadata: Metadata =
        serde_json::from_str(json).map_err(|e| format!("its note `huggingface`: {e}"))?;
    match metadata.info.features.into_iter().find(|(name, _)| name == "label") {
        Some((_, Feature::Labels { names })) => Ok(names),
        _ => Err("its note `huggingface` does not name the classes of `label`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_label() {
        let note = r#"{"info": {"features": {"image": {"_type": "Image"},
            "label": {"names": ["n1", "n2"], "_type": "ClassLabel"}}}}"#;
        assert_eq!(names(note).unwrap(), ["n1", "n2"]);
        for wrong in [
            "",
            "{}",
            r#"{"info": {"features": {}}}"#,
            r#"{"info": {"features": {"label": {"dtype": "int64", "_type": "ThriftValue"}}}}"#,
            r#"{"info": {"features": {"other": {"names": ["n1"]}}}}"#,
        ] {
            assert!(names(wrong).is_err(), "{wrong}");
        }
    }
}
