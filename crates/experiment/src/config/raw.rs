//! Settings before the check: TOML, overlaid by `key=value` arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use strum::VariantNames;
use toml::{Table, Value};

use crate::{Config, Error};

/// Settings by dotted key, unchecked.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    values: BTreeMap<String, Value>,
}

impl RawConfig {
    /// Reads TOML.
    ///
    /// # Errors
    /// [`Error::Syntax`] with the place.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let table: Table = text.parse().map_err(|e| Error::Syntax(format!("not TOML: {e}")))?;
        let mut raw = Self::default();
        raw.flatten("", table);
        Ok(raw)
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Syntax`] naming the file.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::from_toml(&text).map_err(|e| Error::Syntax(format!("{}: {e}", path.display())))
    }

    /// Overlays one `key=value` argument. The value is TOML where it reads as TOML, else
    /// a string: `method.margin=-0.02`, `method.backbone=conv4`, `test.shots=[1,5]`.
    ///
    /// # Errors
    /// [`Error::Syntax`] where there is no `=`.
    pub fn set(&mut self, argument: &str) -> Result<(), Error> {
        let Some((key, value)) = argument.split_once('=') else {
            return Err(Error::Syntax(format!("argument `{argument}`: expected key=value")));
        };
        let parsed = format!("v = {value}").parse::<Table>().ok();
        let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut t| t.remove("v"));
        let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
        match value {
            Value::Table(table) => self.flatten(key.trim(), table),
            value => {
                self.values.insert(key.trim().to_owned(), value);
            }
        }
        Ok(())
    }

    /// Puts the settings of `other` over these.
    pub fn overlay(&mut self, other: &Self) {
        self.values.extend(other.values.clone());
    }

    /// The settings as TOML that [`from_toml`](Self::from_toml) reads back, without defaults.
    pub fn to_toml(&self) -> String {
        let mut table = Table::new();
        self.values.iter().for_each(|(key, value)| insert(&mut table, key, value.clone()));
        table.to_string()
    }

    /// Whether a setting, or one of a section such as `dataset`, is given.
    pub fn has(&self, name: &str) -> bool {
        let is_of = |rest: &str| rest.is_empty() || rest.starts_with('.');
        self.values.keys().any(|key| key.strip_prefix(name).is_some_and(is_of))
    }

    /// Takes the settings that `is_taken` picks by key from `other` in place of its own; what
    /// `other` leaves out is at its default again.
    pub fn take_from(&mut self, other: &Self, is_taken: impl Fn(&str) -> bool) {
        self.values.retain(|key, _| !is_taken(key));
        let taken = other.values.iter().filter(|(key, _)| is_taken(key));
        self.values.extend(taken.map(|(key, value)| (key.clone(), value.clone())));
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Value`] or [`Error::UnknownKey`] for the first setting that is wrong.
    pub fn check(&self) -> Result<Config, Error> {
        super::check::check(Reader {
            values: &self.values,
            asked: BTreeSet::new(),
            resolved: Table::new(),
        })
    }

    fn flatten(&mut self, prefix: &str, table: Table) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(table) => self.flatten(&key, table),
                value => {
                    self.values.insert(key, value);
                }
            }
        }
    }
}

/// Reads settings one by one. The keys that were asked for are those that exist.
pub(super) struct Reader<'a> {
    values: &'a BTreeMap<String, Value>,
    asked: BTreeSet<String>,
    resolved: Table,
}

impl Reader<'_> {
    /// The value of `key` as `parse` reads it, or `default`; `expected` says what it takes.
    pub fn read<T>(
        &mut self,
        key: &str,
        default: impl Into<Value>,
        expected: &str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, Error> {
        self.asked.insert(key.to_owned());
        let value = self.values.get(key).cloned().unwrap_or_else(|| default.into());
        let Some(parsed) = parse(&value) else {
            return Err(value_error(key, &value, expected));
        };
        insert(&mut self.resolved, key, value);
        Ok(parsed)
    }

    /// A whole number of at least `minimum`.
    pub fn count(&mut self, key: &str, default: usize, minimum: usize) -> Result<usize, Error> {
        let expected = format!("a whole number of at least {minimum}");
        self.read(key, default as i64, &expected, |value| {
            usize::try_from(value.as_integer()?).ok().filter(|&n| n >= minimum && n <= 1 << 40)
        })
    }

    /// A finite number that `is_valid` takes.
    pub fn number(
        &mut self,
        key: &str,
        default: f64,
        expected: &str,
        is_valid: impl FnOnce(f64) -> bool,
    ) -> Result<f64, Error> {
        self.read(key, default, expected, |value| {
            let number = value.as_float().or_else(|| value.as_integer().map(|i| i as f64))?;
            (number.is_finite() && is_valid(number)).then_some(number)
        })
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str, default: bool) -> Result<bool, Error> {
        self.read(key, default, "true or false", Value::as_bool)
    }

    /// A string that `parse` takes.
    pub fn text<T>(
        &mut self,
        key: &str,
        default: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Error> {
        self.read(key, default, expected, |value| parse(value.as_str()?))
    }

    /// The name of a variant of `T`.
    pub fn name<T: FromStr + VariantNames>(
        &mut self,
        key: &str,
        default: &str,
    ) -> Result<T, Error> {
        self.text(key, default, &one_of(T::VARIANTS), |name| name.parse().ok())
    }

    /// Whether the key was given.
    pub fn is_given(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Refuses keys that nothing asked for; returns every setting with its effective value.
    pub fn finish(self) -> Result<Table, Error> {
        let Some(key) = self.values.keys().find(|key| !self.asked.contains(*key)) else {
            return Ok(self.resolved);
        };
        let distance = |known: &&String| strsim::damerau_levenshtein(key, known);
        // A key in the wrong section is as good a guess as one that is misspelt.
        let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
        let elsewhere = || self.asked.iter().find(|known| last(known) == last(key));
        let nearest = self.asked.iter().min_by_key(distance);
        let nearest = nearest.filter(|known| distance(known) <= 1 + key.len() / 5);
        Err(Error::UnknownKey { key: key.clone(), hint: nearest.or_else(elsewhere).cloned() })
    }
}

/// Returns `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// An error that shows the value as it was written.
pub(super) fn value_error(key: &str, got: impl Display, expected: &str) -> Error {
    Error::Value { key: key.to_owned(), got: got.to_string(), expected: expected.to_owned() }
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                insert(section, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_taken_by_key() {
        let mut raw = RawConfig::from_toml("seed = 1\n[test]\nway = 3\nquery = 4").unwrap();
        let other = RawConfig::from_toml("seed = 2\n[test]\nway = 7\nepisodes = 9").unwrap();
        raw.take_from(&other, |key| key.starts_with("test."));
        let config = raw.check().unwrap();
        assert_eq!((config.seed, config.test.way, config.test.episodes), (1, 7, 9));
        assert_eq!(config.test.query, 16, "what the other leaves out is at its default");

        assert!(raw.has("test") && raw.has("test.way") && raw.has("seed"));
        assert!(!raw.has("test.query") && !raw.has("tes") && !raw.has("method"));
        let text = raw.to_toml();
        assert_eq!(RawConfig::from_toml(&text).unwrap().to_toml(), text);
        assert_eq!(text.matches('=').count(), 3, "no defaults: {text}");
    }
}
