//! An album as one HTML file.

use evaluator::analysis::t_sne;
use fewshot_episodes::FeatureBank;
use fewshot_figures::{Chart, Figure, HeatMap, Marker, Page, Series, Thumbnail};
use fewshot_progress::counted;

use crate::{Album, Checked, Error, Support, Tested};

/// Photos of a class that are shown.
const SHOWN: usize = 12;
/// Errors that are shown.
const ERRORS: usize = 40;
/// Most photos on the map: its time grows with their square.
const ON_MAP: usize = 1_000;
/// Classes that a map tells apart: six colours by three shapes.
const MAP_CLASSES: usize = 18;

/// Writes what there is to know about an album called `name`: its accuracy on photos that were left out, or on
/// those of a test, which classes are taken for which, whether probabilities are true, a map of the photos, each
/// class, and each error beside the photo that it looks like.
///
/// # Errors
/// [`Error::Figure`].
pub fn report(album: &Album, name: &str, tested: Option<&Tested>) -> Result<String, Error> {
    let mut page = Page::new(format!("{name}: {}", counted(album.classes.len(), "class")));
    let left_out = album.left_out();
    page.paragraph(&format!(
        "{} of {}, learned by the head “{}” from features of {}.",
        counted(album.supports.len(), "photo"),
        counted(album.classes.len(), "class"),
        album.head().name(),
        album.network_reference()
    ));
    page.paragraph(&match left_out.photos {
        0 => "No photo could be left out, for every class has one.".to_owned(),
        _ => format!(
            "On its own photos, one of each class left out at a time: {}.",
            left_out.summary()
        ),
    });
    if let Some(tested) = tested {
        let checked = &tested.checked;
        if checked.photos > 0 {
            page.paragraph(&format!(
                "On photos that it had not seen: {}; {:.1} % were called unknown.",
                checked.summary(),
                100.0 * checked.false_alarms
            ));
        }
        if let Some((photos, unknown)) = checked.strangers {
            page.paragraph(&format!(
                "Of {} of classes that it does not have, {:.1} % were called unknown.",
                counted(photos, "photo"),
                100.0 * unknown
            ));
        }
    }
    let checked = tested.map_or(&left_out, |tested| &tested.checked);
    if checked.photos > 0 {
        confusion(&mut page, checked)?;
        reliability(&mut page, checked)?;
    }
    map(&mut page, album)?;
    errors(&mut page, album, tested);
    classes(&mut page, album);
    Ok(page.finish())
}

fn confusion(page: &mut Page, checked: &Checked) -> Result<(), Error> {
    page.heading("Which classes are taken for which");
    let shares = checked.confusion.counts.iter().map(|row| {
        let all = row.iter().sum::<usize>().max(1) as f64;
        row.iter().map(|count| *count as f64 / all).collect()
    });
    let matrix = HeatMap {
        title: "Share of a class's photos (row) that is taken for a class (column)".to_owned(),
        rows: checked.confusion.classes.clone(),
        columns: checked.confusion.classes.clone(),
        values: shares.collect(),
    };
    page.figure(&matrix.svg()?, "The darker, the more; the diagonal is right.");
    let mixed_up = checked.confusion.mixed_up();
    if !mixed_up.is_empty() {
        let columns = ["class", "class", "taken for one another", "of"].map(str::to_owned);
        let row = |(a, b, count, of): &(&str, &str, usize, usize)| {
            vec![(*a).to_owned(), (*b).to_owned(), count.to_string(), of.to_string()]
        };
        page.table(&columns, &mixed_up.iter().take(20).map(row).collect::<Vec<_>>());
    }
    Ok(())
}

fn reliability(page: &mut Page, checked: &Checked) -> Result<(), Error> {
    page.heading("Whether probabilities are true");
    let bins: Vec<_> = checked.reliability.iter().filter(|bin| bin.0 > 0).collect();
    let mut chart = Chart::new("Reliability", "probability that it states (%)", "right (%)");
    let ideal = Series {
        is_dashed: true,
        ..Series::line("as it should be", vec![(0.0, 0.0), (100.0, 100.0)])
    };
    let found: Vec<_> =
        bins.iter().map(|(_, confidence, right)| (100.0 * confidence, 100.0 * right)).collect();
    let measured = Series { points: found.clone(), ..Series::line("measured", found) };
    chart.series = vec![ideal, measured];
    page.figure(
        &chart.svg()?,
        &format!(
            "Photos by tenths of the probability of their label. Expected calibration error {:.1} %.",
            100.0 * checked.calibration_error
        ),
    );
    let columns = ["probability", "photos", "right"].map(str::to_owned);
    let row = |(count, confidence, right): &&(usize, f64, f64)| {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        vec![percent(*confidence), count.to_string(), percent(*right)]
    };
    page.table(&columns, &bins.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn map(page: &mut Page, album: &Album) -> Result<(), Error> {
    let shown: Vec<&Support> =
        album.supports.iter().filter(|support| support.label < MAP_CLASSES).take(ON_MAP).collect();
    let dim = shown.first().map_or(0, |support| support.extracted.feature.len());
    let features = shown.iter().flat_map(|support| support.extracted.feature.iter().copied());
    let labels = shown.iter().map(|support| support.label as u32).collect();
    let bank = FeatureBank::new(features.collect(), dim, labels)?;
    let images: Vec<_> = (0..bank.len()).map(|index| (&bank, index)).collect();
    let Some(places) = t_sne(&images, 0) else { return Ok(()) };
    page.heading("A map of the photos");
    let mut chart = Chart::map("t-SNE of the features");
    for (label, class) in album.classes.iter().enumerate().take(MAP_CLASSES) {
        let of_class = shown.iter().zip(&places).filter(|(support, _)| support.label == label);
        let mut series = Series::points(class, of_class.map(|(_, place)| *place).collect());
        series.marker = [Marker::Circle, Marker::Triangle, Marker::Cross][label / 6];
        series.color = Some(label % 6);
        chart.series.push(series);
    }
    let first = match album.classes.len() > MAP_CLASSES {
        true => format!(" The first {MAP_CLASSES} classes."),
        false => String::new(),
    };
    let caption = format!("Photos that look alike to the network lie together.{first}");
    page.figure(&chart.svg()?, &caption);
    Ok(())
}

fn errors(page: &mut Page, album: &Album, tested: Option<&Tested>) {
    let wrong: Vec<(&Support, usize, f64)> = match tested {
        None => album.doubtful(),
        Some(tested) => {
            let wrong =
                tested.photos.iter().filter(|(photo, answer)| photo.label != answer.class());
            wrong.map(|(photo, answer)| (photo, answer.class(), answer.probability())).collect()
        }
    };
    if wrong.is_empty() {
        return;
    }
    page.heading("Errors");
    page.paragraph("Each photo that was taken for another class, and the photos of that class that it looks like.");
    for (photo, taken_for, probability) in wrong.iter().take(ERRORS) {
        let mut near: Vec<(&Support, f64)> = album
            .supports
            .iter()
            .filter(|support| support.label == *taken_for)
            .map(|support| {
                let pairs = support.extracted.feature.iter().zip(&photo.extracted.feature);
                (support, pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
            })
            .collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1));
        let near = near.into_iter().take(3).map(|(support, _)| thumbnail(support));
        let images: Vec<Thumbnail> = std::iter::once(thumbnail(photo)).chain(near).collect();
        let (class, other) = (&album.classes[photo.label], &album.classes[*taken_for]);
        let caption = format!("{class}, taken for {other} ({:.0} %)", 100.0 * probability);
        page.images(&images, &caption);
    }
    if wrong.len() > ERRORS {
        page.paragraph(&format!("And {} more.", wrong.len() - ERRORS));
    }
}

fn classes(page: &mut Page, album: &Album) {
    page.heading("Classes");
    for (label, class) in album.classes.iter().enumerate() {
        let photos: Vec<&Support> =
            album.supports.iter().filter(|support| support.label == label).collect();
        let shown: Vec<Thumbnail> =
            photos.iter().take(SHOWN).map(|support| thumbnail(support)).collect();
        page.images(&shown, &format!("{class}: {}", counted(photos.len(), "photo")));
    }
}

fn thumbnail(support: &Support) -> Thumbnail {
    Thumbnail { image: support.extracted.thumbnail.clone(), label: support.name.clone() }
}
