//! A curve at the size of a few seconds, by the real programs.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::tests::programs;
use crate::train;

#[test]
fn a_grid_becomes_curves_and_is_not_done_twice() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let grid = Grid::read("margins-tiny").unwrap();
    let trainings = grid.trainings(&out).unwrap();
    assert_eq!(trainings.len(), 4);
    let run = |subject| {
        let go_on = AtomicBool::new(false);
        assert!(train(&trainings, &programs(), &go_on).is_empty());
        measure(&grid, &programs(), subject, &out, &go_on).unwrap();
    };
    run(Subject::Margins);

    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("margins.json")).unwrap();
    let points = json["points"].as_array().unwrap();
    let point = |margin: f64, split: &str| {
        let is_it = |point: &&serde_json::Value| {
            point["margin"] == margin
                && point["split"] == split
                && point["measure"] == "1-shot, finetune head (%)"
        };
        points.iter().find(is_it).unwrap()
    };
    let negative = point(-0.2, "novel");
    let seeds = negative["seeds"].as_array().unwrap();
    assert_eq!(seeds.len(), 2);
    // Over seeds: the mean of the differences on the same episodes.
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let paired: f64 = seeds.iter().map(|seed| number(&seed["difference"])).sum();
    assert!((number(&negative["difference"]["mean"]) - paired / 2.0).abs() < 1e-9);
    let means = number(&negative["value"]["mean"]) - number(&point(0.0, "novel")["value"]["mean"]);
    assert!((number(&negative["difference"]["mean"]) - means).abs() < 1e-9);
    assert!(
        negative["difference"]["ci95"].is_number() && point(0.0, "val")["difference"].is_null()
    );

    let text = read("margins.md");
    assert!(text.contains("finetune head, 1-shot: the best margin but 0 is -0.2, "), "{text}");
    assert!(text.contains("| -0.2 | 2 | "), "{text}");
    assert!(read("margins.csv").lines().count() > 100);
    for figure in ["glyphs-finetune-1shot.svg", "glyphs-finetune-1shot.png", "margins.html"] {
        assert!(out.join(figure).exists(), "{figure}");
    }

    // The second command takes trainings and analyses from the first.
    let page = out.join("glyphs/analysis-seed-0/analysis.html");
    let log = trainings[0].folder.with_extension("log");
    for done in [&page, &log] {
        std::fs::remove_file(done).unwrap();
    }
    run(Subject::Analysis);
    assert!(!page.exists() && !log.exists(), "done again");
    assert!(read("analysis.md").contains("entropy of P(j, k)"));
}

#[test]
fn without_margin_0_there_is_nothing_to_compare() {
    let folder = tempfile::tempdir().unwrap();
    let grid = Grid::read("margins-tiny").unwrap();
    let mut missing = Vec::new();
    let found = finished(&grid, &grid.curves[0], 0, folder.path(), &mut missing).unwrap();
    assert!(found.is_empty());
    assert_eq!(missing, ["glyphs margin 0 seed 0", "glyphs margin -0.2 seed 0"]);
}
