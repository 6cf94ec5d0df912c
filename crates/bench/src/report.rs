//! The report of all rows: as a table and as JSON.

use serde::Serialize;

use super::hardware::Hardware;
use super::row::{Row, Spread};

/// All measured rows, and the machine they were measured on.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Machine and versions.
    pub hardware: Hardware,
    /// Rows, in the order in which they were measured.
    pub rows: Vec<Row>,
}

const HEADER: [&str; 8] = [
    "bench",
    "ours",
    "PyTorch",
    "unit",
    "ratio",
    "ours' spread",
    "PyTorch's spread",
    "ratio's spread",
];

impl Report {
    /// Returns a line that describes the machine, and a Markdown table with aligned columns.
    pub fn to_table(&self) -> String {
        let mut lines = vec![HEADER.map(str::to_owned)];
        lines.extend(self.rows.iter().map(cells));
        let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max();
        let widths: [usize; HEADER.len()] =
            std::array::from_fn(|column| width(column).unwrap_or_default());
        lines.insert(1, widths.map(|width| "-".repeat(width)));
        let mut table = format!("{}\n\n", self.hardware);
        for line in lines {
            for (cell, width) in line.iter().zip(widths) {
                table += &format!("| {cell:width$} ");
            }
            table += "|\n";
        }
        let notes = self.rows.iter().filter_map(|row| {
            row.pytorch_note.as_ref().map(|note| format!("{}: PyTorch {note}", row.name))
        });
        let notes: Vec<_> = notes.collect();
        if !notes.is_empty() {
            table += &format!("\n{}\n", notes.join("\n"));
        }
        table
    }

    /// Returns indented JSON.
    ///
    /// # Errors
    /// None in practice: all keys are strings.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

fn cells(row: &Row) -> [String; HEADER.len()] {
    let absent = || "–".to_owned();
    let optional = |value: Option<f64>| value.map_or_else(absent, figure);
    let spread = |spread: Option<Spread>| {
        spread.map_or_else(absent, |s| format!("{}..{}", figure(s.min), figure(s.max)))
    };
    [
        row.name.clone(),
        figure(row.ours),
        optional(row.pytorch),
        row.unit.to_owned(),
        row.ratio.map_or_else(absent, |ratio| format!("{ratio:.2}")),
        spread(Some(row.ours_spread)),
        spread(row.pytorch_spread),
        row.ratio_spread.map_or_else(absent, |s| format!("{:.2}..{:.2}", s.min, s.max)),
    ]
}

/// Three digits that count, more where they stand before the point.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        0.0..1.0 => 3,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Better;
    use serde_json::Value;

    fn report() -> Report {
        let row = |name: &str, pairs| Row::new(name.to_owned(), "s", Better::Lower, pairs, None);
        let both = vec![(2.0, Some(5.0)), (4.0, Some(8.0)), (8.0, Some(12.0))];
        let both = Row { pytorch_note: Some("default format".to_owned()), ..row("both", both) };
        let rows = vec![both, row("ours alone", vec![(0.5, None)])];
        Report { hardware: Hardware::this(1, None).unwrap(), rows }
    }

    #[test]
    fn the_table_shows_medians_ratio_and_spread() {
        let table = report().to_table();
        let row = |name: &str| {
            let line = table.lines().find(|line| line.starts_with(&format!("| {name} "))).unwrap();
            line.split('|').map(str::trim).collect::<Vec<_>>()[1..9].to_vec()
        };
        let both = ["both", "4.00", "8.00", "s", "2.00", "2.00..8.00", "5.00..12.0", "1.50..2.50"];
        assert_eq!(row("both"), both);
        let alone = ["ours alone", "0.500", "–", "s", "–", "0.500..0.500", "–", "–"];
        assert_eq!(row("ours alone"), alone);
        assert!(table.ends_with("both: PyTorch default format\n"), "{table}");
        let widths: Vec<_> =
            table.lines().filter(|l| l.starts_with('|')).map(|l| l.chars().count()).collect();
        assert!(widths.len() == 4 && widths.iter().all(|&width| width == widths[0]), "{table}");
    }

    #[test]
    fn json_has_null_where_pytorch_was_not_measured() {
        let json: Value = serde_json::from_str(&report().to_json().unwrap()).unwrap();
        let [both, alone] = [&json["rows"][0], &json["rows"][1]];
        assert_eq!((&both["ours"], &both["pytorch"]), (&4.0.into(), &8.0.into()));
        assert_eq!((&both["ratio"], &both["unit"]), (&2.0.into(), &"s".into()));
        assert_eq!((&both["pairs"], &both["better"]), (&3.into(), &"lower".into()));
        assert_eq!(both["ours_spread"], serde_json::json!({"min": 2.0, "max": 8.0}));
        assert!(alone["pytorch"].is_null() && alone["ratio"].is_null());
        assert_eq!(alone["name"], "ours alone");
        for key in ["cpu", "cores", "threads", "instruction_set", "os", "candle", "commit"] {
            assert!(!json["hardware"][key].is_null(), "{key}");
        }
        assert!(json["hardware"]["pytorch"].is_null());
    }

    #[test]
    fn figures_keep_three_digits() {
        let shown = [0.1234, 1.234, 12.34, 123.4, 12345.6].map(figure);
        assert_eq!(shown, ["0.123", "1.23", "12.3", "123", "12346"]);
    }
}
