//! The cells of the paper's main table.

use std::path::PathBuf;

use super::files::CONFIGS;

/// One cell: a method on a dataset, with a number of shots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// `mini-imagenet`, `cub` or `mini-imagenet-to-cub`.
    pub dataset: &'static str,
    /// `softmax`, `cosine`, `neg-softmax` or `neg-cosine`.
    pub method: &'static str,
    /// Support images per class.
    pub shot: usize,
    /// Published accuracy on novel classes, with half the width of its 95 % interval, in percent.
    pub published: (f64, f64),
}

const fn cell(
    dataset: &'static str,
    method: &'static str,
    shot: usize,
    published: (f64, f64),
) -> Cell {
    Cell { dataset, method, shot, published }
}

const MINI: &str = "mini-imagenet";
const CUB: &str = "cub";
const CROSS: &str = "mini-imagenet-to-cub";

/// All cells: "Negative Margin Matters" (Liu et al., ECCV 2020), main results with ResNet-18.
#[rustfmt::skip]
pub const CELLS: [Cell; 20] = [
    cell(MINI, "softmax", 1, (51.75, 0.80)),
    cell(MINI, "cosine", 1, (51.87, 0.77)),
    cell(MINI, "neg-softmax", 1, (59.02, 0.81)),
    cell(MINI, "neg-cosine", 1, (62.33, 0.82)),
    cell(MINI, "softmax", 5, (74.27, 0.63)),
    cell(MINI, "cosine", 5, (75.68, 0.63)),
    cell(MINI, "neg-softmax", 5, (78.80, 0.61)),
    cell(MINI, "neg-cosine", 5, (80.94, 0.59)),
    cell(CUB, "softmax", 1, (65.51, 0.87)),
    cell(CUB, "cosine", 1, (67.02, 0.90)),
    cell(CUB, "neg-softmax", 1, (71.48, 0.83)),
    cell(CUB, "neg-cosine", 1, (72.66, 0.85)),
    cell(CUB, "softmax", 5, (82.85, 0.55)),
    cell(CUB, "cosine", 5, (83.58, 0.54)),
    cell(CUB, "neg-softmax", 5, (87.30, 0.48)),
    cell(CUB, "neg-cosine", 5, (89.40, 0.43)),
    cell(CROSS, "softmax", 5, (65.57, 0.70)),
    cell(CROSS, "cosine", 5, (62.04, 0.76)),
    cell(CROSS, "neg-softmax", 5, (69.30, 0.73)),
    cell(CROSS, "neg-cosine", 5, (67.03, 0.76)),
];

impl Cell {
    /// Returns its name, as in `cub/neg-cosine-5shot`.
    pub fn name(&self) -> String {
        format!("{}/{}-{}shot", self.dataset, self.method, self.shot)
    }

    /// Returns the path of its configuration at the paper's size.
    pub fn config_file(&self) -> PathBuf {
        PathBuf::from(CONFIGS).join(format!("{}.toml", self.name()))
    }

    /// Returns the cell that differs only by having no margin, if this one has a negative margin.
    pub fn without_margin(&self) -> Option<Self> {
        let method = self.method.strip_prefix("neg-")?;
        let same = |c: &&Cell| (c.dataset, c.method, c.shot) == (self.dataset, method, self.shot);
        CELLS.iter().find(same).copied()
    }

    /// Returns the cell with the same method and dataset, and this number of shots.
    pub fn with_shots(&self, shot: usize) -> Option<Self> {
        let same = |c: &&Cell| (c.dataset, c.method, c.shot) == (self.dataset, self.method, shot);
        CELLS.iter().find(same).copied()
    }

    fn is_named_by(&self, name: &str) -> bool {
        let all_of_method = format!("{}/{}", self.dataset, self.method);
        [self.dataset, self.method, &all_of_method, &self.name()].contains(&name)
    }
}

/// Returns the cells that match any of the names, in the table's order; all if there are no names.
///
/// # Errors
/// A name that matches no cell.
pub fn select(names: &[String]) -> Result<Vec<Cell>, String> {
    if let Some(unknown) = names.iter().find(|name| !CELLS.iter().any(|c| c.is_named_by(name))) {
        return Err(format!(
            "`{unknown}` names no cell: expected a dataset ({MINI}, {CUB}, {CROSS}), a method \
             (softmax, cosine, neg-softmax, neg-cosine), both as in cub/cosine, or a cell as in \
             cub/cosine-5shot"
        ));
    }
    let is_wanted =
        |cell: &&Cell| names.is_empty() || names.iter().any(|name| cell.is_named_by(name));
    Ok(CELLS.iter().filter(is_wanted).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_named_by_dataset_method_or_both() {
        let count = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            select(&names).map(|cells| cells.len())
        };
        assert_eq!(count(&[]), Ok(20));
        assert_eq!(count(&["cub"]), Ok(8));
        assert_eq!(count(&["cosine"]), Ok(5));
        assert_eq!(count(&["cub/cosine", "cub/cosine-5shot", "mini-imagenet-to-cub"]), Ok(6));
        let error = count(&["cub", "cub/cosine-2shot"]).unwrap_err();
        assert!(error.contains("`cub/cosine-2shot` names no cell"), "{error}");
    }

    #[test]
    fn published_figures_are_those_of_the_configurations() {
        for cell in CELLS {
            let text = std::fs::read_to_string(cell.config_file()).unwrap();
            let (mean, ci95) = cell.published;
            let line = format!("\n# {mean:.2} ± {ci95:.2} % on novel classes.\n");
            assert!(text.contains(&line), "{}: {line}", cell.name());
        }
    }

    #[test]
    fn each_negative_margin_has_its_counterpart() {
        let pairs = CELLS.iter().filter(|cell| cell.without_margin().is_some());
        assert_eq!(pairs.count(), 10);
        assert_eq!(CELLS[6].without_margin(), Some(CELLS[4]));
        assert_eq!(CELLS[3].with_shots(5), Some(CELLS[7]));
        assert_eq!(CELLS[16].with_shots(1), None);
    }
}
