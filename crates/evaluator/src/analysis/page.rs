//! The HTML page of an analysis.

use std::collections::BTreeSet;
use std::io::Cursor;

use fewshot_data::{Dataset, Split};
use fewshot_episodes::FeatureBank;
use fewshot_figures::{Chart, Figure, HeatMap, Marker, Page, Series, Thumbnail};
use image::imageops::{FilterType, resize};
use image::{ImageFormat, RgbImage};

use super::{Analysis, Extracted, SplitAnalysis, by_closeness, t_sne};

/// Classes of each kind, base and unseen, on a t-SNE map: as many as a chart has colours.
const MAP_CLASSES: usize = 6;
/// Images of each class on a map.
const MAP_IMAGES: usize = 50;
/// Images that are shown of those closest to their class mean, and of those farthest from it.
const SHOWN_IMAGES: usize = 4;
/// Unseen classes whose images are shown.
const SHOWN_CLASSES: usize = 5;
/// Side of a shown image in the file, in pixels.
const THUMBNAIL: u32 = 96;

/// A page that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A figure cannot be drawn.
    #[error(transparent)]
    Figure(#[from] fewshot_figures::Error),
    /// An image cannot be read.
    #[error(transparent)]
    Data(#[from] fewshot_data::Error),
    /// A small copy of an image cannot be written.
    #[error("a small copy of an image cannot be written: {0}")]
    Thumbnail(#[from] image::ImageError),
}

/// Writes the page of an analysis: its measures, figures, and the images closest to and farthest
/// from the means of their classes. `extracted` has the images and features of each checkpoint, in
/// the order of the analysis.
///
/// # Errors
/// If a figure cannot be drawn, or an image cannot be read.
pub fn page(analysis: &Analysis, extracted: &[Vec<Extracted>]) -> Result<String, PageError> {
    let mut page = Page::new("What the margin does to features");
    page.paragraph(&format!(
        "Few-shot accuracy is the mean over {} episodes ({}-way, {} queries a class, seed {}) with \
         its 95 % interval. Features are L2-normalised except for their norms.",
        analysis.episodes, analysis.way, analysis.query, analysis.test_seed
    ));
    checkpoints(&mut page, analysis);
    measures(&mut page, analysis)?;
    for (number, (checkpoint, extracted)) in (1..).zip(analysis.checkpoints.iter().zip(extracted)) {
        page.heading(&format!("[{number}] {}", checkpoint.label()));
        if let Some(map) = map(&format!("t-SNE of [{number}]"), extracted, checkpoint.run.seed) {
            page.figure(
                &map.svg()?,
                "t-SNE of features. Circles are base classes, triangles unseen ones; distances \
                 between far groups mean little.",
            );
        }
        for split in checkpoint.splits.iter().filter(|split| split.peaks.is_some()) {
            matrices(&mut page, split, checkpoint)?;
        }
        let unseen = extracted.iter().rfind(|e| matches!(e.split, Split::Val | Split::Novel));
        if let Some(unseen) = unseen {
            images(&mut page, unseen)?;
        }
    }
    Ok(page.finish())
}

/// Lists the checkpoints.
fn checkpoints(page: &mut Page, analysis: &Analysis) {
    page.heading("Checkpoints");
    let columns =
        ["", "backbone", "classifier", "scale", "margin", "seed", "epoch", "file", "provenance"];
    let rows: Vec<Vec<String>> = (1..)
        .zip(&analysis.checkpoints)
        .map(|(number, c)| {
            vec![
                format!("[{number}]"),
                c.backbone.clone(),
                c.classifier.clone(),
                c.scale.to_string(),
                c.margin.to_string(),
                c.seed.to_string(),
                c.epoch.to_string(),
                c.checkpoint.display().to_string(),
                c.run.to_string(),
            ]
        })
        .collect();
    page.table(&columns.map(str::to_owned), &rows);
}

/// Adds the measures of every split, and charts of them over the margin.
fn measures(page: &mut Page, analysis: &Analysis) -> Result<(), fewshot_figures::Error> {
    let all = analysis.measures();
    let numbers = (1..=analysis.checkpoints.len()).map(|number| format!("[{number}]"));
    for split in analysis.split_names() {
        let of = analysis.checkpoints.iter().find_map(|checkpoint| checkpoint.split(&split));
        let Some(first) = of else { continue };
        page.heading(&format!("{split} classes"));
        let (classes, images) = (first.class_names.len(), first.images);
        let mut about = format!("{}: {classes} classes, {images} images.", first.dataset);
        for (shot, query) in first.queries.iter().filter(|(_, query)| **query < analysis.query) {
            about += &format!(" {shot}-shot: {query} queries, since classes have no more images.");
        }
        page.paragraph(&about);
        let columns: Vec<String> = [split.clone()].into_iter().chain(numbers.clone()).collect();
        let table: Vec<Vec<String>> = all
            .iter()
            .filter(|measure| measure.split == split)
            .flat_map(|measure| measure.lines())
            .map(|(name, cells)| [name].into_iter().chain(cells).collect())
            .collect();
        page.table(&columns, &table);
    }
    let margins: BTreeSet<String> =
        analysis.checkpoints.iter().map(|checkpoint| checkpoint.margin.to_string()).collect();
    if margins.len() < 2 {
        return Ok(());
    }
    page.heading("Over the margin");
    for (head, shot) in analysis.heads_and_shots() {
        let accuracy = |split: &SplitAnalysis| {
            split.accuracy.get(&head).and_then(|r| Some(r.get(&shot)?.mean))
        };
        let title = format!("{shot}-shot accuracy, {head} head");
        let chart = over_margin(analysis, &title, "accuracy (%)", &accuracy);
        page.figure(&chart.svg()?, "Points are checkpoints, lines the means of equal margins.");
    }
    let discriminability = |split: &SplitAnalysis| Some(split.clusters?.discriminability);
    let chart = over_margin(analysis, "Discriminability", "D_inter / D_intra", &discriminability);
    page.figure(
        &chart.svg()?,
        "Mean squared distance between class means over the mean variance within classes.",
    );
    Ok(())
}

/// Draws a measure over the margin, a line for each split and classifier.
fn over_margin(
    analysis: &Analysis,
    title: &str,
    unit: &str,
    measure: &dyn Fn(&SplitAnalysis) -> Option<f64>,
) -> Chart {
    let mut chart = Chart::new(title, "margin", unit);
    let classifiers: BTreeSet<&str> =
        analysis.checkpoints.iter().map(|checkpoint| checkpoint.classifier.as_str()).collect();
    for split in analysis.split_names() {
        for classifier in &classifiers {
            let points: Vec<(f64, f64)> = analysis
                .checkpoints
                .iter()
                .filter(|checkpoint| checkpoint.classifier == **classifier)
                .filter_map(|c| Some((c.margin, measure(c.split(&split)?)?)))
                .collect();
            let name = match classifiers.len() {
                1 => split.clone(),
                _ => format!("{split}, {classifier}"),
            };
            let line = means(&points);
            chart.series.push(Series { points, ..Series::line(name, line) });
        }
    }
    chart
}

/// Returns the mean of the points of each x, from left to right.
fn means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut xs: Vec<f64> = points.iter().map(|point| point.0).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let mean = |x: f64| {
        let ys: Vec<f64> =
            points.iter().filter(|point| point.0 == x).map(|point| point.1).collect();
        (x, ys.iter().sum::<f64>() / ys.len() as f64)
    };
    xs.into_iter().map(mean).collect()
}

/// Draws the t-SNE map of base and unseen classes.
fn map(title: &str, extracted: &[Extracted], seed: u64) -> Option<Chart> {
    let base = extracted.iter().find(|e| e.split == Split::BaseVal);
    let base = base.or_else(|| extracted.iter().find(|e| e.split == Split::Base));
    let unseen = extracted.iter().rfind(|e| matches!(e.split, Split::Val | Split::Novel));
    let mut series: Vec<(Series, usize)> = Vec::new();
    let mut chosen: Vec<(&FeatureBank, usize)> = Vec::new();
    for (extracted, marker) in [(base, Marker::Circle), (unseen, Marker::Triangle)] {
        let Some(Extracted { dataset, bank, .. }) = extracted else { continue };
        for (color, class) in (0..dataset.class_count().min(MAP_CLASSES)).enumerate() {
            let name = dataset.class_names()[class].clone();
            let images = (0..bank.len()).filter(|&image| bank.labels()[image] == class as u32);
            let before = chosen.len();
            chosen.extend(images.take(MAP_IMAGES).map(|image| (bank, image)));
            let color = Some(color);
            let of_class = Series { marker, color, ..Series::points(name, Vec::new()) };
            series.push((of_class, chosen.len() - before));
        }
    }
    let mut places = t_sne(&chosen, seed)?.into_iter();
    let mut chart = Chart::map(title);
    for (mut of_class, count) in series {
        of_class.points = places.by_ref().take(count).collect();
        chart.series.push(of_class);
    }
    Some(chart)
}

/// Adds P(j, k) and the confusion among unseen classes.
fn matrices(
    page: &mut Page,
    split: &SplitAnalysis,
    checkpoint: &super::CheckpointAnalysis,
) -> Result<(), fewshot_figures::Error> {
    let Some(peaks) = &split.peaks else { return Ok(()) };
    let base = checkpoint.split("base").map(|base| &base.class_names);
    let columns = peaks.probability.first().map_or(0, Vec::len);
    let name = |k: usize| base.and_then(|names| names.get(k)).cloned();
    let map = HeatMap {
        title: format!("P(j, k): base classes that {} classes are taken for", split.split),
        rows: split.class_names.clone(),
        columns: (0..columns).map(|k| name(k).unwrap_or_else(|| k.to_string())).collect(),
        values: peaks.probability.clone(),
    };
    page.figure(
        &map.svg()?,
        "Rows are unseen classes, columns base classes. The darker, the larger the share of the \
         row's images. A row with several dark cells is a class that falls into several peaks.",
    );
    let map = HeatMap {
        title: format!("Confusion among {} classes", split.split),
        rows: split.class_names.clone(),
        columns: split.class_names.clone(),
        values: split.confusion.clone(),
    };
    page.figure(
        &map.svg()?,
        "Rows are the class of an image, columns the class with the nearest mean; the image itself \
         is not part of its mean.",
    );
    Ok(())
}

/// Adds the images that are closest to the means of their classes, and those that are farthest.
fn images(page: &mut Page, extracted: &Extracted) -> Result<(), PageError> {
    let Extracted { dataset, bank, .. } = extracted;
    if bank.len() != dataset.len() {
        page.paragraph(
            "Images were skipped as broken: those closest to their class are not shown.",
        );
        return Ok(());
    }
    for class in 0..dataset.class_count().min(SHOWN_CLASSES) {
        let order = by_closeness(bank, class as u32);
        let shown = SHOWN_IMAGES.min(order.len() / 2).max(1);
        let ends = order.iter().take(shown).chain(order.iter().skip(order.len() - shown));
        let images: Result<Vec<_>, PageError> = ends
            .map(|&(image, cosine)| {
                let label = format!("cosine {cosine:.2}, {}", dataset.image_name(image));
                Ok(Thumbnail { image: thumbnail(dataset, image)?, label })
            })
            .collect();
        let name = &dataset.class_names()[class];
        page.images(
            &images?,
            &format!("{name}: {shown} closest to the class mean, then {shown} farthest."),
        );
    }
    Ok(())
}

/// Returns image `index` as a small PNG file.
fn thumbnail(dataset: &Dataset, index: usize) -> Result<Vec<u8>, PageError> {
    let image: RgbImage = dataset.load(index)?;
    let (width, height) = image.dimensions();
    let scale = f64::from(THUMBNAIL) / f64::from(width.min(height));
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).clamp(1, 4 * THUMBNAIL);
    let small = resize(&image, side(width), side(height), FilterType::Triangle);
    let mut file = Cursor::new(Vec::new());
    small.write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner())
}
