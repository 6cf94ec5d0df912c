//! Figures are whole files that show what they were given.

use fewshot_figures::{Chart, Error, Figure, HeatMap, Marker, Page, Series, Thumbnail};
use roxmltree::Document;

fn chart() -> Chart {
    let mut chart = Chart::new("Accuracy <over> the margin & more", "margin", "accuracy (%)");
    let base = vec![(-0.3, 74.4), (0.0, 77.4)];
    let intervals = vec![(-0.3, 74.0, 74.8), (0.0, 77.0, 77.8)];
    chart.series.push(Series { intervals, points: base.clone(), ..Series::line("base", base) });
    let unseen = vec![(-0.3, 45.4), (0.0, 44.0)];
    chart.series.push(Series { is_dashed: true, ..Series::line("unseen", unseen.clone()) });
    chart.series.push(Series { marker: Marker::Triangle, ..Series::points("seeds", unseen) });
    chart
}

fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).unwrap();
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts.map(|node| node.text().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn a_chart_has_its_titles_names_and_numbers() {
    let texts = texts(&chart().svg().unwrap());
    for expected in [
        "Accuracy <over> the margin & more",
        "margin",
        "accuracy (%)",
        "base",
        "unseen",
        "seeds",
        "-0.3",
        "0",
        "60",
    ] {
        assert!(texts.iter().any(|text| text == expected), "{expected} is not in {texts:?}");
    }
}

#[test]
fn points_lie_where_their_numbers_say() {
    let mut chart = Chart::new("t", "x", "y");
    chart.series.push(Series::points("", vec![(0.0, 0.0), (1.0, 1.0), (2.0, 4.0)]));
    let svg = chart.svg().unwrap();
    let document = Document::parse(&svg).unwrap();
    let number =
        |node: roxmltree::Node, name| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let circles: Vec<_> = document
        .descendants()
        .filter(|node| node.tag_name().name() == "circle")
        .map(|node| (number(node, "cx"), number(node, "cy")))
        .collect();
    let [a, b, c] = circles[..] else { panic!("{circles:?}") };
    // Equal steps to the right; one up, then three. Places are whole pixels.
    assert!((c.0 - b.0 - (b.0 - a.0)).abs() <= 1.0, "{circles:?}");
    assert!((b.1 - c.1 - 3.0 * (a.1 - b.1)).abs() <= 3.0 && a.1 > b.1, "{circles:?}");
}

#[test]
fn a_png_has_twice_the_size_and_the_series_color() {
    let chart = chart();
    let image = image::load_from_memory(&chart.png().unwrap()).unwrap().to_rgb8();
    let (width, height) = chart.size();
    assert_eq!(image.dimensions(), (2 * width, 2 * height));
    let is_drawn = |color: [u8; 3]| image.pixels().filter(|pixel| pixel.0 == color).count() > 100;
    assert!(is_drawn([0x00, 0x72, 0xb2]) && is_drawn([0xd5, 0x5e, 0x00]) && is_drawn([0xff; 3]));
}

#[test]
fn what_cannot_be_drawn_is_named() {
    let mut chart = chart();
    chart.series[0].line[0].1 = f64::NAN;
    let error = chart.svg().unwrap_err();
    assert!(matches!(error, Error::Data { .. }));
    assert!(error.to_string().contains("(-0.3, NaN) cannot be drawn"), "{error}");
    let error = Chart::new("empty", "", "").png().unwrap_err().to_string();
    assert_eq!(error, "figure `empty`: no series has a point");
    let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let map = HeatMap {
        title: "m".into(),
        rows: names(1),
        columns: names(2),
        values: vec![vec![0.0, 1.5]],
    };
    assert!(map.svg().unwrap_err().to_string().contains("value 1.5, expected 0 to 1"));
    let map = HeatMap { values: vec![vec![0.0]], ..map };
    assert!(map.svg().unwrap_err().to_string().contains("do not fit"));
}

#[test]
fn a_heat_map_has_a_cell_for_each_value() {
    let names = |prefix: &str| (0..3).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let values = vec![vec![1.0, 0.0, 0.25]; 3];
    let map =
        HeatMap { title: "confusion".into(), rows: names("row"), columns: names("column"), values };
    let svg = map.svg().unwrap();
    let document = Document::parse(&svg).unwrap();
    let cells =
        |color| document.descendants().filter(|node| node.attribute("fill") == Some(color)).count();
    assert_eq!((cells("#003B73"), cells("#F2F5F9"), cells("#7998B6")), (3, 3, 3));
    assert!(
        ["confusion", "row2", "column0"]
            .iter()
            .all(|name| texts(&svg).iter().any(|text| text == name))
    );
}

/// A page is written so that a strict parser reads it as well.
#[test]
fn a_page_stands_alone_and_shows_text_as_it_is() {
    let mut page = Page::new("Margins <b>");
    page.heading("1 < 2 & \"quoted\"");
    page.paragraph("a\u{1b}[31mb\u{7}");
    page.preformatted("evaluator analyse\n  --out DIR");
    page.table(&["name".into(), "value".into()], &[vec!["<script>".into(), "1".into()]]);
    page.figure(&chart().svg().unwrap(), "A caption.");
    page.images(&[Thumbnail { image: chart().png().unwrap(), label: "bird".into() }], "Closest.");
    let html = page.finish();
    let body = html.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let document = Document::parse(body).unwrap();
    let text: String =
        document.descendants().filter(|n| n.is_text()).filter_map(|n| n.text()).collect();
    for expected in
        ["Margins <b>", "1 < 2 & \"quoted\"", "a[31mb", "  --out DIR", "<script>", "A caption."]
    {
        assert!(text.contains(expected), "{expected}");
    }
    let names: Vec<_> = document.descendants().map(|n| n.tag_name().name()).collect();
    assert!(!names.iter().any(|name| ["script", "link", "iframe"].contains(name)));
    let loaded = document.descendants().filter_map(|n| n.attribute("src").or(n.attribute("href")));
    assert!(loaded.into_iter().all(|address| address.starts_with("data:image/png;base64,")));
    assert!(!html.contains("url(") && !html.contains("@import"));
}
