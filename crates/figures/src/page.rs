//! A report in one HTML file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Colours and layout: light, dark as the system says, and print. Figures are drawn in the light
/// colours; what they use for background, text and grid is replaced by the page's.
const STYLE: &str = "
:root{--paper:#ffffff;--ink:#1b1f24;--soft:#57606a;--line:#d8dee4;--head:#f2f5f9}
@media (prefers-color-scheme:dark){:root{--paper:#0f1419;--ink:#e6edf3;--soft:#9aa7b4;--line:#2d3742;--head:#1a222b}}
@media print{:root{--paper:#ffffff;--ink:#000000;--soft:#444444;--line:#cccccc;--head:#f2f2f2}figure,tr{break-inside:avoid}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:1.5rem 1.25rem 4rem;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
h1{font-size:1.7rem;line-height:1.25;margin:.5rem 0 1rem}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;padding-top:.5rem;border-top:1px solid var(--line)}
p{max-width:46rem;margin:.5rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .8rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{background:var(--head);font-weight:600}
th:first-child,td:first-child{text-align:left}
figure{margin:1.25rem 0}
figure svg{max-width:100%;height:auto;display:block}
figcaption{color:var(--soft);font-size:.9rem;max-width:46rem;margin-top:.4rem}
.images{display:flex;flex-wrap:wrap;gap:.5rem}
.images span{display:block;width:5.5rem;font-size:.72rem;line-height:1.25;color:var(--soft);overflow-wrap:anywhere}
.images img{width:5.5rem;height:5.5rem;object-fit:cover;border-radius:4px;display:block}
pre{background:var(--head);padding:.75rem 1rem;overflow-x:auto;border-radius:4px;font-size:.85rem}
svg [fill=\"#FFFFFF\"]{fill:var(--paper)}
svg [fill=\"#1B1F24\"]{fill:var(--ink)}
svg [stroke=\"#1B1F24\"]{stroke:var(--ink)}
svg [stroke=\"#D8DEE4\"]{stroke:var(--line)}
";

/// A small image with a line of text below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnail {
    /// A PNG or JPEG file.
    pub image: Vec<u8>,
    /// What it shows.
    pub label: String,
}

/// A report: text, tables, figures and small images in one HTML file, without scripts and without
/// anything that it would have to load from elsewhere.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// Returns a page with nothing but its title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), body: String::new() }
    }

    /// Adds a heading.
    pub fn heading(&mut self, text: &str) {
        self.body += &format!("<h2>{}</h2>\n", escape(text));
    }

    /// Adds a paragraph of plain text.
    pub fn paragraph(&mut self, text: &str) {
        self.body += &format!("<p>{}</p>\n", escape(text));
    }

    /// Adds text whose lines stay as they are, such as a command.
    pub fn preformatted(&mut self, text: &str) {
        self.body += &format!("<pre>{}</pre>\n", escape(text));
    }

    /// Adds a table. Text is aligned left in the first column, and right in the others.
    pub fn table(&mut self, columns: &[String], rows: &[Vec<String>]) {
        let row = |cells: &[String], tag: &str| {
            let cells: String =
                cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let body: String = rows.iter().map(|cells| row(cells, "td")).collect();
        self.body += &format!(
            "<div class=\"scroll\"><table>\n<thead>{}</thead>\n<tbody>\n{body}</tbody>\n</table></div>\n",
            row(columns, "th")
        );
    }

    /// Adds a figure, as [`Figure::svg`](crate::Figure::svg) returns it, with its caption.
    pub fn figure(&mut self, svg: &str, caption: &str) {
        let caption = escape(caption);
        self.body += &format!(
            "<figure><div class=\"scroll\">{}</div>\n<figcaption>{caption}</figcaption></figure>\n",
            svg.trim()
        );
    }

    /// Adds small images in a row, with a caption.
    pub fn images(&mut self, images: &[Thumbnail], caption: &str) {
        let shown: String = images
            .iter()
            .map(|Thumbnail { image, label }| {
                let kind = if image.starts_with(&[0xff, 0xd8]) { "jpeg" } else { "png" };
                let (label, data) = (escape(label), STANDARD.encode(image));
                format!(
                    "<span><img alt=\"{label}\" src=\"data:image/{kind};base64,{data}\"/>{label}</span>\n"
                )
            })
            .collect();
        let caption = escape(caption);
        self.body += &format!(
            "<figure><div class=\"images\">\n{shown}</div>\n<figcaption>{caption}</figcaption></figure>\n"
        );
    }

    /// Returns the whole file.
    pub fn finish(self) -> String {
        let (title, body) = (escape(&self.title), self.body);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
             {body}</body>\n</html>\n"
        )
    }
}

/// Returns `text` such that HTML shows it as it is. Control characters are left out: HTML has no way
/// to write them.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(character),
            character if character.is_control() => {}
            character => escaped.push(character),
        }
    }
    escaped
}
