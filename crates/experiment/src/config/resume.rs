//! The settings of a run that goes on: its own, and what may be changed about them.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::{Config, RawConfig};
use crate::Error;

/// A setting of a run that goes on under another value.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Dotted key.
    pub key: String,
    /// The run's own value, if the run knew the setting.
    pub own: Option<Value>,
    /// The value from now on.
    pub new: Value,
}

impl Change {
    /// Whether a run may go on under another value without being asked: what it has learned and will
    /// learn stays comparable.
    fn is_free(&self) -> bool {
        const FREE: [&str; 5] = [
            "train.epochs",
            "train.print_freq",
            "train.save_freq",
            "loader.threads",
            "loader.prefetch_mib",
        ];
        FREE.contains(&&*self.key) || ["val.", "test."].iter().any(|s| self.key.starts_with(s))
    }

    /// Whether accuracies on validation classes from before and after the change are of different
    /// things.
    pub fn concerns_validation(&self) -> bool {
        // Validation takes whole images, and features as they are.
        const OTHERS: [&str; 10] = [
            "val.freq",
            "test.shots",
            "test.episodes",
            "test.batch_size",
            "test.pixel_baseline",
            "test.center",
            "test.power",
            "test.crops",
            "test.crop_min_area",
            "test.crop_queries",
        ];
        let sections = ["val.", "test.", "dataset.val."];
        !OTHERS.contains(&&*self.key) && sections.iter().any(|s| self.key.starts_with(s))
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, own, new } = self;
        let own = own.as_ref().map_or_else(|| "not set".to_owned(), Value::to_string);
        write!(f, "{key}: {own} before, {new} now")
    }
}

impl Config {
    /// Returns the settings of a run that goes on: its `own`, with what is `given` over them, and
    /// which of them that changes. Numbers of epochs and threads and all about evaluation may be
    /// changed freely, the rest only with `may_change`.
    ///
    /// # Errors
    /// [`Error::OtherSettings`] about `checkpoint`, which has the run's own settings; settings that
    /// are wrong.
    pub fn resumed(
        checkpoint: &Path,
        own: &RawConfig,
        given: &RawConfig,
        may_change: bool,
    ) -> Result<(Self, Vec<Change>), Error> {
        let before = own.check().map_err(|e| Error::checkpoint(checkpoint, e))?;
        let mut raw = own.clone();
        raw.forget_inherited()?;
        raw.overlay(given);
        let changes = raw.check()?.changes_since(&before);
        let refused: Vec<_> = changes.iter().filter(|c| !may_change && !c.is_free()).collect();
        if !refused.is_empty() {
            let lines: Vec<_> = refused.iter().map(|change| format!("  {change}")).collect();
            let path = checkpoint.to_owned();
            return Err(Error::OtherSettings { path, changes: lines.join("\n") });
        }
        // A setting that stays is written as it was, so that the hash stays, too: 30 is 30.0.
        let mut kept = RawConfig::from_toml(&before.to_toml())?;
        let is_changed = |key: &str| changes.iter().any(|change| change.key == key);
        kept.take_from(&RawConfig::from_toml(&raw.check()?.to_toml())?, is_changed);
        Ok((kept.check()?, changes))
    }

    /// The settings that differ from those of another configuration.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let (own, new) = (flat(&before.resolved), flat(&self.resolved));
        let changed = new.into_iter().filter_map(|(key, new)| {
            let own = own.get(&key).copied();
            let is_same = own.is_some_and(|own| is_same(own, new));
            (!is_same).then(|| Change { key, own: own.cloned(), new: new.clone() })
        });
        changed.collect()
    }
}

impl RawConfig {
    /// Takes out what validation and novel classes have from the base classes, so that another source
    /// of all images has to be given only once. A checkpoint's configuration has every setting, these
    /// too, and they would win over what is given for the base classes.
    ///
    /// # Errors
    /// Settings that are wrong.
    pub fn forget_inherited(&mut self) -> Result<(), Error> {
        let resolved = self.check()?.resolved;
        let dataset = resolved.get("dataset").and_then(Value::as_table);
        self.retain(|key, value| {
            let name = ["dataset.val.", "dataset.novel."].iter().find_map(|s| key.strip_prefix(s));
            let of_base = name.and_then(|name| dataset?.get(name));
            of_base != Some(value)
        });
        Ok(())
    }
}

/// Settings by dotted key.
fn flat(table: &Table) -> BTreeMap<String, &Value> {
    let mut flat = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(section) => {
                let inner = self::flat(section).into_iter();
                flat.extend(inner.map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            value => {
                flat.insert(key.clone(), value);
            }
        }
    }
    flat
}

/// Whether two values are the same, `3` and `3.0` included.
fn is_same(a: &Value, b: &Value) -> bool {
    let number = |v: &Value| v.as_float().or_else(|| v.as_integer().map(|i| i as f64));
    match (a, b) {
        (Value::Integer(_), Value::Float(_)) | (Value::Float(_), Value::Integer(_)) => {
            number(a) == number(b)
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(settings: &[&str]) -> RawConfig {
        let mut raw = RawConfig::default();
        settings.iter().for_each(|setting| raw.set(setting).unwrap());
        raw
    }

    /// A checkpoint's own settings are all of them.
    fn own(settings: &[&str]) -> RawConfig {
        RawConfig::from_toml(&raw(settings).check().unwrap().to_toml()).unwrap()
    }

    fn resumed(
        own: &RawConfig,
        given: &[&str],
        may_change: bool,
    ) -> Result<(Config, Vec<Change>), Error> {
        Config::resumed(Path::new("run/last.safetensors"), own, &raw(given), may_change)
    }

    #[test]
    fn what_is_not_given_is_the_runs_own() {
        let own = own(&["method.margin=0.3", "seed=5", "train.epochs=8", "method.scale=10"]);
        let (config, changes) = resumed(&own, &[], false).unwrap();
        assert_eq!(config.to_toml(), own.to_toml());
        assert_eq!(changes, []);
        // Given as it is, also in another notation: the hash stays.
        let given = ["method.margin=.3", "seed=5", "method.scale=10.0"];
        let (same, changes) = resumed(&own, &given, false).unwrap();
        assert_eq!((same.sha256(), changes), (config.sha256(), vec![]));
    }

    /// Every setting of a configuration, one at a time.
    #[test]
    fn only_epochs_threads_and_evaluation_change_unasked() {
        let own = own(&["train.optimizer=sgd"]);
        let other = |key: &str, value: &Value| match (key, value) {
            ("dataset.name", _) => Some("mine".to_owned()),
            ("dataset.split" | "dataset.val.split" | "dataset.novel.split", _) => {
                Some("all".to_owned())
            }
            ("method.backbone", _) => Some("resnet10".to_owned()),
            ("method.classifier", _) => Some("softmax".to_owned()),
            ("method.preprocessing", _) => Some("imagenet".to_owned()),
            ("train.optimizer", _) => Some("adam".to_owned()),
            ("train.schedule", _) => Some("constant".to_owned()),
            ("train.distill", _) => Some("teacher.safetensors".to_owned()),
            ("test.head", _) => Some("nearest".to_owned()),
            ("loader.on_broken", _) => Some("skip".to_owned()),
            ("test.shots", _) => Some("[3]".to_owned()),
            ("train.nesterov" | "augment.flip", _) => Some("false".to_owned()),
            ("train.dampening", _) => None, // takes nesterov = false beside it
            ("loader.keep_on_gpu" | "device" | "precision", _) => None, // take a GPU
            (key, _) if key.ends_with("source") || key.ends_with("root") => None, // below
            (_, Value::Boolean(value)) => Some((!value).to_string()),
            (_, Value::Integer(value)) => Some((value + 1).to_string()),
            (_, Value::Float(value)) => Some((value / 2.0 + 0.01).to_string()),
            (key, value) => panic!("{key} = {value}"),
        };
        let before = own.check().unwrap();
        let mut tried = 0;
        for (key, value) in flat(&before.resolved) {
            let Some(other) = other(&key, value) else { continue };
            let setting = format!("{key}={other}");
            tried += 1;
            let is_free = ["train.epochs", "train.print_freq", "train.save_freq"].contains(&&*key)
                || ["loader.threads", "loader.prefetch_mib"].contains(&&*key)
                || key.starts_with("val.")
                || key.starts_with("test.");
            match resumed(&own, &[&setting], false) {
                Ok((_, changes)) => {
                    assert!(is_free, "{setting} was accepted");
                    // Crops have settings of their own as soon as there are some.
                    let own = changes.iter().filter(|c| !c.key.starts_with("test.crop"));
                    let expected = usize::from(key != "test.crops");
                    assert_eq!(own.count(), expected, "{setting}: {changes:?}");
                }
                Err(error) => {
                    let message = error.to_string();
                    assert!(!is_free, "{message}");
                    let line = format!("  {key}: {value} before, ");
                    assert!(message.contains(&line) && message.contains("--change"), "{message}");
                }
            }
            let (changed, changes) = resumed(&own, &[&setting], true).unwrap();
            assert!(changes.iter().any(|change| change.key == key), "{setting}");
            assert_ne!(changed.to_toml(), before.to_toml(), "{setting}");
        }
        assert!(tried > 40, "{tried}");
    }

    #[test]
    fn images_that_were_moved_are_named_once() {
        let own = own(&["dataset.source=folders", "dataset.root=/old"]);
        let message = resumed(&own, &["dataset.root=/new"], false).unwrap_err().to_string();
        assert!(message.contains("dataset.root: \"/old\" before, \"/new\" now"), "{message}");
        let (config, changes) = resumed(&own, &["dataset.root=/new"], true).unwrap();
        assert_eq!(config.dataset.novel.source.root, Path::new("/new"));
        assert_eq!(changes.len(), 3, "{changes:?}");
    }

    #[test]
    fn validation_is_told_from_the_final_report() {
        let own = own(&[]);
        for (setting, concerns) in [
            ("val.shot=1", true),
            ("test.way=3", true),
            ("test.head=nearest", true),
            ("test.passes=7", true),
            ("val.freq=1", false),
            ("test.episodes=7", false),
            ("train.epochs=300", false),
        ] {
            let (_, changes) = resumed(&own, &[setting], false).unwrap();
            assert_eq!(changes.len(), 1, "{setting}");
            assert_eq!(changes[0].concerns_validation(), concerns, "{setting}");
        }
    }
}
