//! Budgets: settings that override those of the table's cells, to fit a smaller machine.

use fewshot_experiment::RawConfig;
use toml::{Table, Value};

use super::cells::Cell;
use super::files::read_budget;

/// A budget, read from `configs/budgets/NAME.toml` or from the user's file.
#[derive(Debug)]
pub struct Budget {
    /// Name of the file without `.toml`; the folder of its runs has the same name.
    pub name: String,
    /// Checkpoint that is reported: `best` on validation classes, or `last`.
    pub checkpoint: String,
    /// Number of shots whose configuration serves all cells of a method, if set: fewer trainings.
    trained_for: Option<usize>,
    sections: Table,
}

/// Sections that override each cell's configuration: first `all`, then its dataset's.
const SECTIONS: [&str; 4] = ["all", "mini-imagenet", "cub", "mini-imagenet-to-cub"];

impl Budget {
    /// Reads a budget by its name or its file.
    ///
    /// # Errors
    /// No such budget, or unknown sections or values.
    pub fn read(name: &str) -> Result<Self, String> {
        read_budget(name, "paper, cpu, gpu-half-hour", Self::parse)
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut sections: Table = text.parse().map_err(|error| format!("not TOML: {error}"))?;
        let checkpoint = match sections.remove("checkpoint") {
            Some(Value::String(which)) if ["best", "last"].contains(&&*which) => which,
            Some(other) => return Err(format!("`checkpoint` is {other}: expected best or last")),
            None => return Err("`checkpoint` is not set: expected best or last".into()),
        };
        let trained_for = match sections.remove("trained_for") {
            None => None,
            Some(Value::Integer(shot @ (1 | 5))) => Some(shot as usize),
            Some(other) => return Err(format!("`trained_for` is {other}: expected 1 or 5 shots")),
        };
        let unknown = |(key, value): &(&String, &Value)| {
            !SECTIONS.contains(&key.as_str()) || !value.is_table()
        };
        if let Some((key, _)) = sections.iter().find(unknown) {
            return Err(format!("`{key}`: expected sections {}", SECTIONS.join(", ")));
        }
        Ok(Self { name: name.to_owned(), checkpoint, trained_for, sections })
    }

    /// Returns the cell whose training serves `cell`: itself, or the same method with the number of
    /// shots that the budget trains for.
    pub fn trained(&self, cell: &Cell) -> Cell {
        self.trained_for.and_then(|shot| cell.with_shots(shot)).unwrap_or(*cell)
    }

    /// Returns the settings of a cell that is trained.
    ///
    /// # Errors
    /// A configuration that cannot be read.
    pub fn settings(&self, cell: &Cell, seed: u64) -> Result<RawConfig, String> {
        let mut raw = RawConfig::from_file(&cell.config_file()).map_err(|e| e.to_string())?;
        for section in ["all", cell.dataset] {
            if let Some(Value::Table(table)) = self.sections.get(section) {
                let over = RawConfig::from_toml(&table.to_string()).map_err(|e| e.to_string())?;
                raw.overlay(&over);
            }
        }
        raw.set(&format!("seed={seed}")).map_err(|e| e.to_string())?;
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cells::CELLS;
    use super::*;

    #[test]
    fn budgets_of_the_workspace_fit_every_cell() {
        for name in ["paper", "cpu", "gpu-half-hour"] {
            let budget = Budget::read(name).unwrap();
            assert_eq!(budget.name, name);
            for cell in CELLS {
                let config = budget.settings(&cell, 3).unwrap().check();
                let config = config.unwrap_or_else(|e| panic!("{name}, {}: {e}", cell.name()));
                assert_eq!(config.seed, 3);
                assert_eq!(config.method.classifier.to_string(), cell.method);
            }
        }
    }

    #[test]
    fn sections_lie_over_the_cells_own_settings() {
        let text = "checkpoint = 'last'\n[all]\ntrain.epochs = 160\nmethod.image_size = 42\n\
                    [cub]\ntrain.epochs = 170";
        let budget = Budget::parse("tiny", text).unwrap();
        let config = |cell: Cell| budget.settings(&cell, 0).unwrap().check().unwrap();
        let (mini, cub) = (config(CELLS[7]), config(CELLS[15]));
        assert_eq!((mini.train.epochs, cub.train.epochs), (160, 170));
        assert_eq!((mini.method.image_size, mini.method.margin), (42, -0.02));
    }

    #[test]
    fn one_training_may_serve_both_shots() {
        let trained =
            |text: &str, cell: usize| Budget::parse("tiny", text).unwrap().trained(&CELLS[cell]);
        assert_eq!(trained("checkpoint = 'last'\ntrained_for = 5", 3), CELLS[7]);
        assert_eq!(trained("checkpoint = 'last'\ntrained_for = 5", 7), CELLS[7]);
        assert_eq!(trained("checkpoint = 'last'", 3), CELLS[3]);
        // There is no such sibling.
        assert_eq!(trained("checkpoint = 'last'\ntrained_for = 1", 16), CELLS[16]);
    }

    #[test]
    fn what_a_budget_does_not_take_is_told() {
        for (text, expected) in [
            ("", "`checkpoint` is not set"),
            ("checkpoint = 'first'", "expected best or last"),
            ("checkpoint = 'last'\nepochs = 3", "`epochs`: expected sections all, "),
            ("checkpoint = 'last'\n[omniglot]\n", "`omniglot`: expected sections"),
            ("checkpoint = 'last'\ntrained_for = 2", "`trained_for` is 2: expected 1 or 5"),
            ("checkpoint =", "not TOML"),
        ] {
            let error = Budget::parse("tiny", text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let error = Budget::read("fast").unwrap_err();
        assert!(error.contains("expected paper, cpu, gpu-half-hour"), "{error}");
    }
}
