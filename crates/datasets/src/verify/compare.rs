//! Comparison of what was found with what was published.

use std::collections::HashMap;

use fewshot_data::{ClassSurvey, SplitSurvey, Survey};
use sha2::{Digest, Sha256};

use super::examine::Examined;
use super::report::{Broken, Copies, Report, Row, Short, Stray};
use crate::published::{Expected, Published};

/// Fills in what the survey alone tells: counts and classes.
pub fn counts(report: &mut Report, survey: &Survey, published: &Published) {
    for surveyed in &survey.splits {
        let expected = published.splits.iter().find(|e| e.split == surveyed.split);
        let found: Vec<_> = surveyed.classes.iter().filter(|class| class.present > 0).collect();
        report.splits.push(Row {
            split: surveyed.split.to_string(),
            expected_classes: expected.map_or(0, |e| e.classes),
            expected_images: expected.map_or(0, |e| e.images),
            classes: found.len(),
            images: surveyed.images.len(),
            broken: 0,
            duplicates: 0,
        });
        let Some(expected) = expected else {
            report.notes.push(format!("the published dataset has no {} split", surveyed.split));
            continue;
        };
        classes(report, surveyed, &found, expected, published.per_class);
        for class in &surveyed.classes {
            let named = |image| format!("{}/{}: {image}", surveyed.split, class.name);
            report.missing.extend(class.absent.iter().map(named));
        }
        if let Some(lacks) = surveyed.partial.as_ref().filter(|_| surveyed.pack.is_some()) {
            report.notes.push(format!("the {} pack says of itself: {lacks}", surveyed.split));
        }
    }
}

fn classes(
    report: &mut Report,
    surveyed: &SplitSurvey,
    found: &[&ClassSurvey],
    expected: &Expected,
    per_class: Option<usize>,
) {
    let split = surveyed.split.to_string();
    for class in found {
        let listed = class.present + class.absent.len();
        let wanted = per_class.unwrap_or(listed);
        if class.present != wanted {
            let (split, class, found) = (split.clone(), class.name.clone(), class.present);
            report.short.push(Short { split, class, found, expected: wanted });
        }
        if !expected.names.is_empty() && !expected.names.contains(&&*class.name) {
            report.foreign_classes.push(format!("{split}/{}", class.name));
        }
    }
    let is_found = |name: &str| found.iter().any(|class| class.name == name);
    let listed = surveyed.classes.iter().map(|class| &*class.name);
    let names: Vec<_> = match &expected.names[..] {
        [] => listed.filter(|name| !name.is_empty()).collect(),
        names => names.to_vec(),
    };
    let absent: Vec<_> = names.into_iter().filter(|name| !is_found(name)).collect();
    let unnamed = expected.classes.saturating_sub(found.len() + absent.len());
    report.absent_classes.extend(absent.iter().map(|name| format!("{split}/{name}")));
    if unnamed > 0 {
        report.absent_classes.push(format!("{split}: {unnamed} whose names no list here tells"));
    }
}

/// Adds what reading every image has shown; `examined` holds the images of each split, then the
/// strays.
pub fn images(report: &mut Report, survey: &Survey, examined: &[Vec<Examined>]) {
    let mut copies = HashMap::<[u8; 32], Vec<(usize, &Examined)>>::new();
    for (place, images) in examined.iter().enumerate() {
        for image in images {
            if let Some(reason) = &image.broken {
                let (image, reason) = (image.name.clone(), reason.clone());
                report.broken.push(Broken { image, reason });
            }
            if let Some(digest) = image.digest {
                copies.entry(digest).or_default().push((place, image));
            }
        }
    }
    for (row, images) in report.splits.iter_mut().zip(examined) {
        row.broken = images.iter().filter(|image| image.broken.is_some()).count();
        row.duplicates = images.iter().filter(|i| has_copy(i, &copies, survey)).count();
    }
    let strays = examined.get(survey.splits.len()).into_iter().flatten();
    for stray in strays {
        let same = stray.digest.and_then(|digest| copies.get(&digest));
        let same = same.into_iter().flatten().find(|(place, _)| *place < survey.splits.len());
        let copy_of = same.map(|(_, image)| image.name.clone());
        report.strays.push(Stray { image: stray.name.clone(), copy_of });
    }
    let mut groups: Vec<_> = copies.values().filter_map(|all| group(all, survey)).collect();
    groups.sort_by(|a, b| (a.severity(), &a.images).cmp(&(b.severity(), &b.images)));
    report.duplicates = groups;
    for (surveyed, images) in survey.splits.iter().zip(examined) {
        checksum(report, surveyed, images);
    }
}

fn has_copy(
    image: &Examined,
    copies: &HashMap<[u8; 32], Vec<(usize, &Examined)>>,
    survey: &Survey,
) -> bool {
    let same = image.digest.and_then(|digest| copies.get(&digest));
    same.is_some_and(|all| all.iter().filter(|(p, _)| *p < survey.splits.len()).count() > 1)
}

/// Returns a group of images with the same content, unless only one of them is in a split.
fn group(all: &[(usize, &Examined)], survey: &Survey) -> Option<Copies> {
    let used: Vec<_> = all.iter().filter(|(place, _)| *place < survey.splits.len()).collect();
    let ((first_split, first), others) = used.split_first()?;
    if others.is_empty() {
        return None;
    }
    let across = if others.iter().any(|(split, _)| split != first_split) {
        "splits"
    } else if others.iter().any(|(_, image)| image.class != first.class) {
        "classes"
    } else {
        "nothing"
    };
    let named = |(split, image): &&(usize, &Examined)| {
        format!("{}: {}", survey.splits[*split].split, image.name)
    };
    Some(Copies { across, images: used.iter().map(named).collect() })
}

/// Compares a pack's recorded checksum with that of its images.
fn checksum(report: &mut Report, surveyed: &SplitSurvey, images: &[Examined]) {
    let Some(recorded) = &surveyed.sha256 else { return };
    let mut digest = Sha256::new();
    for image in images {
        digest.update(image.digest.unwrap_or_default());
    }
    let found: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != *recorded {
        report.notes.push(format!(
            "the {} pack is not what was packed: its images have the checksum {found}, it \
             records {recorded}; pack again",
            surveyed.split
        ));
    }
}
