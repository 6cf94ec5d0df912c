//! What came of all trials: a table, and JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::Kind;

/// A trial that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Its kind.
    pub kind: Kind,
    /// Its number among those of its kind, as `--first` takes it.
    pub number: u64,
    /// What was not as it should be.
    pub what: String,
    /// Where its files are.
    pub folder: PathBuf,
}

/// What came of all trials.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Seed of the trials.
    pub seed: u64,
    /// How long they took.
    pub seconds: f64,
    /// Number of trials that went well, by kind and by how they ended.
    pub passed: BTreeMap<Kind, BTreeMap<&'static str, u64>>,
    /// Those that did not.
    pub failures: Vec<Failure>,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, seconds: 0.0, passed: BTreeMap::new(), failures: Vec::new() }
    }

    pub(crate) fn count(&mut self, kind: Kind, ending: &'static str) {
        *self.passed.entry(kind).or_default().entry(ending).or_default() += 1;
    }

    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failures.push(failure);
    }

    /// Number of trials of a kind.
    pub fn tries(&self, kind: Kind) -> u64 {
        let passed: u64 = self.passed.get(&kind).map_or(0, |endings| endings.values().sum());
        passed + self.failed(kind)
    }

    fn failed(&self, kind: Kind) -> u64 {
        self.failures.iter().filter(|failure| failure.kind == kind).count() as u64
    }

    pub(crate) fn has_tried_all(&self, only: Option<Kind>) -> bool {
        Kind::ALL.iter().all(|&kind| only.is_some_and(|only| only != kind) || self.tries(kind) > 0)
    }

    /// A table of the counts.
    pub fn table(&self) -> String {
        let mut table =
            "| trials | tries | failures | how they ended |\n|---|---|---|---|\n".to_owned();
        for kind in Kind::ALL {
            let endings = self.passed.get(&kind).into_iter().flatten();
            let endings: Vec<_> = endings.map(|(ending, n)| format!("{n} {ending}")).collect();
            let (tries, failed) = (self.tries(kind), self.failed(kind));
            table += &format!("| {kind} | {tries} | {failed} | {} |\n", endings.join(", "));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_by_kind_and_ending() {
        let mut report = Report::new(3);
        report.count(Kind::Kill, "resumed");
        report.count(Kind::Kill, "resumed");
        report.count(Kind::Files, "refused");
        let failure = ("hung for 60 s".to_owned(), PathBuf::from("kept/files-1"));
        report.fail(Failure { kind: Kind::Files, number: 1, what: failure.0, folder: failure.1 });
        assert_eq!((report.tries(Kind::Kill), report.tries(Kind::Files)), (2, 2));
        assert!(report.has_tried_all(Some(Kind::Files)) && !report.has_tried_all(None));
        let table = report.table();
        assert!(table.contains("| kill | 2 | 0 | 2 resumed |"), "{table}");
        assert!(table.contains("| files | 2 | 1 | 1 refused |"), "{table}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["seed"], &json["failures"][0]["number"]), (&3.into(), &1.into()));
        assert_eq!(json["passed"]["kill"]["resumed"], 2);
    }
}
