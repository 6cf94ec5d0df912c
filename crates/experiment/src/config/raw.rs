//! Settings before the check: TOML, overlaid by `key=value` arguments.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use fewshot_progress::{printable, printable_value};
use strum::VariantNames;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::names::{explain, meant_by};
use crate::{Config, Error};

/// Longest configuration in bytes.
const MAX_LENGTH: u64 = 1 << 20;

/// Settings by dotted key, unchecked.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    values: BTreeMap<String, Setting>,
    /// File and line of the settings that a file gave.
    places: BTreeMap<String, String>,
}

/// One setting.
#[derive(Clone, Debug)]
struct Setting {
    value: Value,
    /// As it was typed, if it was an argument: what reads as TOML may be meant as text, such as the
    /// name `2024-05-01`, and `.001` is a number to all but TOML.
    typed: Option<String>,
}

/// What the check takes for a key.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub default: Value,
    pub expected: String,
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
        let text = read_text(path)?;
        let raw = Self::from_toml(&text);
        let mut raw = raw.map_err(|e| Error::Syntax(format!("{}: {e}", path.display())))?;
        let place = |(key, line)| (key, format!("{}:{line}", path.display()));
        raw.places = lines(&text).into_iter().map(place).collect();
        Ok(raw)
    }

    /// Overlays one `key=value` argument. The value is TOML where it reads as TOML, else
    /// a string: `method.margin=-0.02`, `method.backbone=conv4`, `test.shots=[1,5]`.
    ///
    /// # Errors
    /// [`Error::Syntax`] where there is no `=`.
    pub fn set(&mut self, argument: &str) -> Result<(), Error> {
        let Some((key, value)) = argument.split_once('=') else {
            let asked = Self::default().asked()?;
            let meant = explain(argument, |key| asked.contains_key(key));
            let argument = printable_value(argument);
            return Err(Error::Syntax(format!(
                "argument `{argument}` is neither an option nor key=value: {meant}"
            )));
        };
        let parsed = format!("v = {value}").parse::<Table>().ok();
        let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut t| t.remove("v"));
        match parsed.unwrap_or_else(|| Value::String(value.to_owned())) {
            Value::Table(table) => self.flatten(key.trim(), table),
            parsed => {
                self.places.remove(key.trim());
                let typed = Some(value.trim().to_owned());
                self.values.insert(key.trim().to_owned(), Setting { value: parsed, typed });
            }
        }
        Ok(())
    }

    /// The key that an option of another program means: `train.learning_rate` for `--lr`.
    pub fn key_meant_by(option: &str) -> Option<String> {
        let name = option.split('=').next()?.trim_start_matches('-').replace('-', "_");
        let asked = Self::default().asked().ok()?;
        let same = of_name(&name, asked.keys()).cloned();
        same.or_else(|| meant_by(&name).map(str::to_owned))
    }

    /// Puts the settings of `other` over these.
    pub fn overlay(&mut self, other: &Self) {
        self.places.retain(|key, _| !other.values.contains_key(key));
        self.values.extend(other.values.clone());
        self.places.extend(other.places.clone());
    }

    /// The settings as TOML that [`from_toml`](Self::from_toml) reads back, without defaults.
    pub fn to_toml(&self) -> String {
        let mut table = Table::new();
        let settings = self.values.iter();
        settings.for_each(|(key, setting)| insert(&mut table, key, setting.value.clone()));
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
        self.places.retain(|key, _| !is_taken(key));
        let places = other.places.iter().filter(|(key, _)| is_taken(key));
        self.places.extend(places.map(|(key, place)| (key.clone(), place.clone())));
        let taken = other.values.iter().filter(|(key, _)| is_taken(key));
        self.values.extend(taken.map(|(key, value)| (key.clone(), value.clone())));
    }

    /// Takes out the settings whose keys `is_kept` does not pick.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str, &Value) -> bool) {
        self.values.retain(|key, setting| is_kept(key, &setting.value));
    }

    /// Forgets that a GPU was computed on, if this build has none: the CPU then is. Returns whether
    /// it was.
    pub fn forget_gpu(&mut self) -> bool {
        let device = self.values.get("device").and_then(|setting| setting.value.as_str());
        let forgets =
            !cfg!(feature = "cuda") && device.is_some_and(|device| device.starts_with("cuda"));
        if forgets {
            for key in ["device", "precision", "loader.keep_on_gpu"] {
                self.values.remove(key);
            }
        }
        forgets
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Value`] or [`Error::UnknownKey`] for the first setting that is wrong, within
    /// [`Error::At`] if a file gave it.
    pub fn check(&self) -> Result<Config, Error> {
        super::check::check(&mut self.reader()).map_err(|error| {
            // The error about an endless key has only its beginning.
            let shortened = |key: &str| {
                let is_it = |(long, _): &(&String, &String)| {
                    long.len() > LONGEST_KEY && printable(long) == key
                };
                self.places.iter().find(is_it).map(|(_, place)| place)
            };
            let place = match &error {
                Error::Value { key, .. } | Error::UnknownKey { key, .. } => {
                    self.places.get(key).or_else(|| shortened(key))
                }
                _ => None,
            };
            match place {
                Some(place) => Error::At { place: place.clone(), error: Box::new(error) },
                None => error,
            }
        })
    }

    /// Every key that the check asks for, with what it takes.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub(super) fn asked(&self) -> Result<BTreeMap<String, Asked>, Error> {
        let mut reader = self.reader();
        super::check::check(&mut reader)?;
        Ok(reader.asked)
    }

    fn reader(&self) -> Reader<'_> {
        Reader { values: &self.values, asked: BTreeMap::new(), resolved: Table::new() }
    }

    fn flatten(&mut self, prefix: &str, table: Table) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(table) => self.flatten(&key, table),
                value => {
                    self.values.insert(key, Setting { value, typed: None });
                }
            }
        }
    }
}

/// No key is longer, in bytes: what is similar to a longer one is not looked for.
const LONGEST_KEY: usize = 200;

/// Reads settings one by one. The keys that were asked for are those that exist.
pub(super) struct Reader<'a> {
    values: &'a BTreeMap<String, Setting>,
    asked: BTreeMap<String, Asked>,
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
        self.read_typed(key, default, expected, |_, _| None, parse)
    }

    /// As [`read`](Self::read), for an argument that TOML takes for a value of another type:
    /// `retype` makes the right one of TOML's value and of what was typed.
    fn read_typed<T>(
        &mut self,
        key: &str,
        default: impl Into<Value>,
        expected: &str,
        retype: impl FnOnce(&Value, &str) -> Option<Value>,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, Error> {
        let asked = Asked { default: default.into(), expected: expected.to_owned() };
        let value = self.values.get(key).map(|Setting { value, typed }| {
            let retyped = typed.as_ref().and_then(|typed| retype(value, typed));
            retyped.unwrap_or_else(|| value.clone())
        });
        let value = value.unwrap_or_else(|| asked.default.clone());
        self.asked.insert(key.to_owned(), asked);
        let Some(parsed) = parse(&value) else {
            return Err(value_error(key, printable(&value.to_string()), expected));
        };
        insert(&mut self.resolved, key, value);
        Ok(parsed)
    }

    /// A whole number within bounds.
    pub fn count(
        &mut self,
        key: &str,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> Result<usize, Error> {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let retype = |_: &Value, typed: &str| typed.parse().ok().map(Value::Integer);
        self.read_typed(key, default as i64, &expected, retype, |value| {
            usize::try_from(value.as_integer()?).ok().filter(|count| bounds.contains(count))
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
        let retype = |value: &Value, typed: &str| {
            value.is_str().then(|| typed.parse().ok().map(Value::Float)).flatten()
        };
        let number = self.read_typed(key, default, expected, retype, |value| {
            let number = value.as_float().or_else(|| value.as_integer().map(|i| i as f64))?;
            (number.is_finite() && is_valid(number)).then_some(number)
        })?;
        // 3 and 3.0 are the same configuration.
        insert(&mut self.resolved, key, Value::Float(number));
        Ok(number)
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
        let retype = |value: &Value, typed: &str| (!value.is_str()).then(|| Value::from(typed));
        self.read_typed(key, default, expected, retype, |value| parse(value.as_str()?))
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
    pub fn finish(&mut self) -> Result<Table, Error> {
        let Some(key) = self.values.keys().find(|key| !self.asked.contains_key(*key)) else {
            return Ok(std::mem::take(&mut self.resolved));
        };
        if key.len() > LONGEST_KEY {
            return Err(Error::UnknownKey { key: printable(key), hint: None });
        }
        let distance = |known: &&String| strsim::damerau_levenshtein(key, known);
        // A key in the wrong section is as good a guess as one that is misspelt.
        let name = key.rsplit('.').next().unwrap_or(key);
        let elsewhere = of_name(name, self.asked.keys());
        let nearest = self.asked.keys().min_by_key(distance);
        let nearest = nearest.filter(|known| distance(known) <= 1 + key.len() / 5).or(elsewhere);
        let hint = nearest.cloned().or_else(|| meant_by(key).map(str::to_owned));
        Err(Error::UnknownKey { key: key.clone(), hint })
    }
}

/// Returns the key of this name in whichever section: one of the training rather than of the
/// evaluation.
fn of_name<'k>(name: &str, keys: impl Iterator<Item = &'k String>) -> Option<&'k String> {
    let is_last = |key: &&String| key.rsplit('.').next() == Some(name);
    let of_evaluation = |key: &str| key.starts_with("test.") || key.starts_with("val.");
    let rank = |key: &&String| (key.matches('.').count(), of_evaluation(key));
    keys.filter(is_last).min_by_key(rank)
}

/// Returns the line of each setting of a TOML text, by dotted key.
fn lines(text: &str) -> BTreeMap<String, usize> {
    fn add(prefix: &str, table: &DeTable<'_>, text: &str, lines: &mut BTreeMap<String, usize>) {
        for (name, value) in table {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                prefix => format!("{prefix}.{}", name.get_ref()),
            };
            match value.get_ref() {
                DeValue::Table(table) => add(&key, table, text, lines),
                _ => {
                    let before = text.get(..name.span().start).unwrap_or_default();
                    lines.insert(key, 1 + before.matches('\n').count());
                }
            }
        }
    }
    let mut lines = BTreeMap::new();
    if let Ok(table) = DeTable::parse(text) {
        add("", table.get_ref(), text, &mut lines);
    }
    lines
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

/// Reads a file, or what a pipe brings (`--config <(…)`), but no device without end.
fn read_text(path: &Path) -> Result<String, Error> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut text = String::new();
    file.take(MAX_LENGTH + 1).read_to_string(&mut text).map_err(Error::io("read", path))?;
    if text.len() as u64 > MAX_LENGTH {
        let reason =
            format!("{}: longer than a configuration's {MAX_LENGTH} bytes", path.display());
        return Err(Error::Syntax(reason));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &[&str]) -> Result<Config, Error> {
        let mut raw = RawConfig::default();
        settings.iter().try_for_each(|setting| raw.set(setting))?;
        raw.check()
    }

    /// Trained on a GPU, evaluated where there is none.
    #[test]
    #[cfg(not(feature = "cuda"))]
    fn what_a_gpu_computed_with_is_forgotten() {
        use crate::{DeviceKind, Precision};
        let mut raw = RawConfig::default();
        for setting in ["device=cuda:0", "precision=bf16", "loader.keep_on_gpu=true", "seed=3"] {
            raw.set(setting).unwrap();
        }
        assert!(raw.forget_gpu() && !raw.forget_gpu());
        let config = raw.check().unwrap();
        assert_eq!((config.device, config.precision), (DeviceKind::Cpu, Precision::F32));
        assert!(config.seed == 3 && !config.loader.keep_on_gpu);
    }

    #[test]
    fn text_is_text_whatever_toml_takes_it_for() {
        for name in ["2024-05-01", "2024", "1e5", "0x10", "true", "nan", "1_000", "3.10"] {
            let setting = format!("dataset.name={name}");
            let config = check(&[&setting]).unwrap();
            assert_eq!(config.dataset.name, name);
            // What is written down reads back as the same.
            let again = RawConfig::from_toml(&config.to_toml()).unwrap().check().unwrap();
            assert_eq!(again.dataset.name, name);
            assert_eq!(again.sha256(), config.sha256());

            let setting = format!("dataset.root={name}");
            let config = check(&["dataset.source=folders", &setting]).unwrap();
            assert_eq!(config.dataset.novel.source.root, Path::new(name));
        }
        assert_eq!(check(&["dataset.name=\"2024\""]).unwrap().dataset.name, "2024");
    }

    #[test]
    fn numbers_are_numbers_even_where_toml_wants_more_digits() {
        for (margin, number) in
            [("-.02", -0.02), (".5", 0.5), ("5.", 5.0), ("+.5", 0.5), ("-1", -1.0), ("2E-2", 0.02)]
        {
            let config = check(&[&format!("method.margin={margin}")]).unwrap();
            assert_eq!(config.method.margin, number, "{margin}");
        }
        assert_eq!(check(&["train.learning_rate=.001"]).unwrap().train.learning_rate, 0.001);
        let same = [check(&["method.margin=-.02"]), check(&["method.margin=-0.02"])];
        let [typed, written] = same.map(|config| config.unwrap().sha256());
        assert_eq!(typed, written);
        assert_eq!(check(&["seed=007"]).unwrap().seed, 7);
        for wrong in ["method.margin=infinity", "method.margin=a.5", "seed=1.5", "seed=0x"] {
            assert!(matches!(check(&[wrong]), Err(Error::Value { .. })), "{wrong}");
        }
    }

    /// Every count has a bound, and the message names it.
    #[test]
    fn counts_are_bounded_by_their_keys() {
        let all = RawConfig::default().check().unwrap().to_toml();
        let all = RawConfig::from_toml(&all).unwrap();
        let counts = all.values.iter().filter(|(_, setting)| setting.value.is_integer());
        let mut checked = 0;
        for (key, _) in counts.filter(|(key, _)| !key.ends_with("seed")) {
            for value in [1_i64 << 40, i64::MAX, -1] {
                let message = check(&[&format!("{key}={value}")]).unwrap_err().to_string();
                assert!(message.contains(&format!("`{key}` is {value}")), "{message}");
            }
            checked += 1;
        }
        assert!(checked >= 25, "{checked}");
        for key in ["seed", "test.seed", "dataset.glyph_seed"] {
            check(&[&format!("{key}={}", i64::MAX)]).unwrap();
            for wrong in ["-1", "9223372036854775808"] {
                let message = check(&[&format!("{key}={wrong}")]).unwrap_err().to_string();
                assert!(message.contains(&format!("from 0 to {}", i64::MAX)), "{message}");
            }
        }
        let message = check(&["method.outputs=1000000"]).unwrap_err().to_string();
        assert!(message.contains("`method.outputs`"), "{message}");
    }

    /// Ten million letters would take half a minute to compare with each key.
    #[test]
    fn an_endless_key_is_refused_and_cut_short() {
        let text = format!("{} = 1", "k".repeat(10_000_000));
        let error = RawConfig::from_toml(&text).unwrap().check().unwrap_err();
        let Error::UnknownKey { key, hint } = error else { panic!("{error}") };
        assert!(key.starts_with("kkk") && key.len() < 10_000, "{}", key.len());
        assert_eq!(hint, None);
    }

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

    #[test]
    fn a_wrong_setting_of_a_file_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.toml");
        let text = "seed = 1\n\n[train]\n# how long\nepochs = 0\n[test]\nway = 5\nscaled = 1\n";
        std::fs::write(&path, text).unwrap();
        let mut raw = RawConfig::from_file(&path).unwrap();
        let message = |raw: &RawConfig| raw.check().unwrap_err().to_string();
        let at = |line| format!("{}:{line}: ", path.display());
        assert!(message(&raw).starts_with(&(at(5) + "`train.epochs` is 0: ")), "{}", message(&raw));
        // What an argument gave is in no file.
        raw.set("train.epochs=-1").unwrap();
        assert!(message(&raw).starts_with("`train.epochs` is -1: "), "{}", message(&raw));
        raw.set("train.epochs=1").unwrap();
        let unknown = at(8) + "unknown key `test.scaled`: did you mean `test.scale`?";
        assert_eq!(message(&raw), unknown);
        let mut other = RawConfig::default();
        other.overlay(&raw);
        assert_eq!(message(&other), unknown);
    }

    #[test]
    fn keys_of_other_programs_are_understood() {
        let hint = |setting: &str| {
            let mut raw = RawConfig::default();
            raw.set(setting).unwrap();
            raw.check().unwrap_err().to_string()
        };
        for (setting, meant) in [
            ("train.lr=1", "train.learning_rate"),
            ("lr=1", "train.learning_rate"),
            ("train.adam_params.lr=1", "train.learning_rate"),
            ("batch-size=1", "train.batch_size"),
            ("method.model=1", "method.backbone"),
            ("n_way=1", "test.way"),
            ("test.n_support=1", "test.shots"),
            ("num_workers=1", "loader.threads"),
            ("gpu=0", "device"),
            ("data.root=x", "dataset.root"),
            ("data=x", "dataset.root"),
            ("train.stop_epoch=1", "train.epochs"),
            ("margin=1", "method.margin"),
            ("output_dir=x", "--run-dir DIR"),
        ] {
            let message = hint(setting);
            assert!(message.ends_with(&format!("did you mean `{meant}`?")), "{message}");
        }
    }

    #[test]
    fn arguments_that_are_no_settings_are_explained() {
        for (argument, part) in [
            ("../photos", "dataset.source=folders dataset.root=../photos"),
            ("/", "dataset.source=folders dataset.root=/"),
            ("predict", "evaluator --checkpoint PATH"),
            ("train", "leave it out"),
            ("best.safetensors", "evaluator --checkpoint best.safetensors"),
            ("configs/cub.toml", "--config configs/cub.toml"),
            ("train.epochs", "train.epochs=VALUE"),
            ("lr", "train.learning_rate=…"),
            ("verbose", "train.epochs=10"),
        ] {
            let message = RawConfig::default().set(argument).unwrap_err().to_string();
            let start = format!("argument `{argument}` is neither an option nor key=value: ");
            assert!(message.starts_with(&start) && message.contains(part), "{message}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_without_end_is_refused() {
        let error = RawConfig::from_file(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "/dev/zero: longer than a configuration's 1048576 bytes");
    }
}
