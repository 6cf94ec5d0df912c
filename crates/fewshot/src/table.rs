//! Which classes are taken for which.

use serde::Serialize;

/// Numbers of photos by their class and the class that they are taken for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confusion {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// `counts[class][taken for]`.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    pub(crate) fn new(classes: &[String], pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![vec![0; classes.len()]; classes.len()];
        for (class, taken_for) in pairs {
            counts[class][taken_for] += 1;
        }
        Self { classes: classes.to_vec(), counts }
    }

    /// Pairs of classes that are taken for one another, the most frequent first: both names, how many
    /// photos, and of how many.
    pub fn mixed_up(&self) -> Vec<(&str, &str, usize, usize)> {
        let mut pairs = Vec::new();
        for a in 0..self.classes.len() {
            for b in a + 1..self.classes.len() {
                let count = self.counts[a][b] + self.counts[b][a];
                if count > 0 {
                    let of = |class: usize| self.counts[class].iter().sum::<usize>();
                    pairs.push((&*self.classes[a], &*self.classes[b], count, of(a) + of(b)));
                }
            }
        }
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.2));
        pairs
    }

    /// Formats the matrix for a terminal; only the rows with errors if there are many classes.
    pub fn to_text(&self) -> String {
        let width = self.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(24);
        let short = |name: &str| name.chars().take(width).collect::<String>();
        let mut text = String::new();
        if self.classes.len() > 12 {
            for (class, counts) in self.counts.iter().enumerate() {
                let wrong =
                    counts.iter().enumerate().filter(|(other, n)| *other != class && **n > 0);
                let wrong: Vec<_> =
                    wrong.map(|(other, n)| format!("{} {n}×", self.classes[other])).collect();
                if !wrong.is_empty() {
                    let (name, of) = (&self.classes[class], counts.iter().sum::<usize>());
                    text += &format!("  {name} ({of}): taken for {}\n", wrong.join(", "));
                }
            }
            return text;
        }
        for (name, counts) in self.classes.iter().zip(&self.counts) {
            let row: String = counts.iter().map(|count| format!("{count:>5}")).collect();
            text += &format!("  {:<width$}{row}\n", short(name));
        }
        text
    }
}
