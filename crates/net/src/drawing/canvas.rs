//! The few SVG elements a drawing needs.

use std::fmt::Write;

/// Height of a box with two lines of text.
pub(super) const BOX_HEIGHT: f64 = 38.0;
const FONT: f64 = 12.5;
const SMALL: f64 = 10.5;

/// What a box is, by colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Paint {
    Conv1,
    Conv,
    MaxPool,
    AvgPool,
    Concat,
    Linear,
    Softmax,
    Plain,
}

impl Paint {
    /// Fill, edge, and name in the legend.
    pub(super) fn style(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Paint::Conv1 => ("#eaf2fb", "#8fb3dc", "1×1 convolution"),
            Paint::Conv => ("#c6dcf4", "#4c82bd", "convolution"),
            Paint::MaxPool => ("#f9d5cf", "#cc6a5a", "max pool"),
            Paint::AvgPool => ("#fde6c4", "#d2953c", "average pool"),
            Paint::Concat => ("#d3ecd0", "#5a9e55", "concatenation"),
            Paint::Linear => ("#e2d8f3", "#8566ba", "linear"),
            Paint::Softmax => ("#fbf3b4", "#bda62a", "softmax"),
            Paint::Plain => ("#f1f2f4", "#9aa0a8", "other"),
        }
    }
}

/// A point, down and to the right of the upper left corner.
pub(super) type Point = (f64, f64);

/// A drawing that grows element by element.
pub(super) struct Canvas {
    elements: String,
    /// Kinds of boxes drawn, for the legend.
    pub(super) paints: std::collections::BTreeSet<Paint>,
}

/// Where text starts, is centred or ends.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
}

impl Canvas {
    pub(super) fn new() -> Self {
        Self { elements: String::new(), paints: Default::default() }
    }

    /// A box with a title, below it a note, and a name shown where the mouse rests on it.
    pub(super) fn node(
        &mut self,
        at: Point,
        width: f64,
        [title, note, name]: [&str; 3],
        paint: Paint,
    ) {
        self.paints.insert(paint);
        let (fill, edge, _) = paint.style();
        let _ = writeln!(self.elements, "<g><title>{}</title>", escaped(name));
        self.rectangle(at, (width, BOX_HEIGHT), 5.0, fill, edge);
        let middle = at.0 + width / 2.0;
        if note.is_empty() {
            self.text((middle, at.1 + 23.5), title, Anchor::Middle, "t");
        } else {
            self.text((middle, at.1 + 16.5), title, Anchor::Middle, "t");
            self.text((middle, at.1 + 30.5), note, Anchor::Middle, "n");
        }
        self.elements.push_str("</g>\n");
    }

    /// A rectangle with round corners.
    pub(super) fn rectangle(
        &mut self,
        at: Point,
        size: (f64, f64),
        radius: f64,
        fill: &str,
        edge: &str,
    ) {
        let _ = writeln!(
            self.elements,
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="{radius}" fill="{fill}" stroke="{edge}"/>"#,
            at.0, at.1, size.0, size.1
        );
    }

    /// A line of text on its base line, in one of the style sheet's classes.
    pub(super) fn text(&mut self, at: Point, text: &str, anchor: Anchor, class: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
        };
        let _ = writeln!(
            self.elements,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}" class="{class}">{}</text>"#,
            at.0,
            at.1,
            escaped(text)
        );
    }

    /// A line through points that turns in round corners; class `e` or `x` (auxiliary), with an
    /// arrow head at the end if wanted.
    pub(super) fn line(&mut self, points: &[Point], class: &str, arrow: bool) {
        let marker = match (arrow, class) {
            (false, _) => "",
            (true, "x") => r#" marker-end="url(#side)""#,
            (true, _) => r#" marker-end="url(#tip)""#,
        };
        let path = rounded(points);
        let _ = writeln!(self.elements, r#"<path d="{path}" class="{class}"{marker}/>"#);
    }

    /// The whole file.
    pub(super) fn finish(self, width: f64, height: f64, title: &str) -> String {
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" role="img">
<title>{}</title>
<style>
text {{ font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; fill: #22262b; }}
.t {{ font-size: {FONT}px; }}
.n {{ font-size: {SMALL}px; fill: #59616b; }}
.p {{ font-size: 14px; font-weight: 600; }}
.h {{ font-size: 26px; font-weight: 600; }}
.s {{ font-size: 14px; fill: #59616b; }}
.e {{ fill: none; stroke: #6b737d; stroke-width: 1.4; }}
.x {{ fill: none; stroke: #a06cc0; stroke-width: 1.4; stroke-dasharray: 5 3; }}
</style>
<defs>
<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6.5" markerHeight="6.5" orient="auto"><path d="M0 0.6 L7.4 4 L0 7.4 z" fill="#6b737d"/></marker>
<marker id="side" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6.5" markerHeight="6.5" orient="auto"><path d="M0 0.6 L7.4 4 L0 7.4 z" fill="#a06cc0"/></marker>
</defs>
<rect width="100%" height="100%" fill="#ffffff"/>
{}</svg>
"##,
            escaped(title),
            self.elements
        )
    }
}

/// Room that a box with this text needs.
pub(super) fn node_width(title: &str, note: &str) -> f64 {
    let width = |text: &str, size: f64| text.chars().count() as f64 * size * 0.56;
    (width(title, FONT).max(width(note, SMALL)) + 18.0).max(92.0)
}

/// SVG path through points, corners cut by arcs.
fn rounded(points: &[Point]) -> String {
    const RADIUS: f64 = 7.0;
    let mut path = format!("M{:.1} {:.1}", points[0].0, points[0].1);
    for corner in points.windows(3) {
        let [before, at, after] = [corner[0], corner[1], corner[2]];
        let radius = RADIUS.min(distance(before, at) / 2.0).min(distance(at, after) / 2.0);
        let (from, to) = (towards(at, before, radius), towards(at, after, radius));
        let _ = write!(
            path,
            " L{:.1} {:.1} Q{:.1} {:.1} {:.1} {:.1}",
            from.0, from.1, at.0, at.1, to.0, to.1
        );
    }
    let last = points[points.len() - 1];
    let _ = write!(path, " L{:.1} {:.1}", last.0, last.1);
    path
}

fn distance(a: Point, b: Point) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

/// The point `length` from `a` towards `b`.
fn towards(a: Point, b: Point, length: f64) -> Point {
    let share = if distance(a, b) > 0.0 { length / distance(a, b) } else { 0.0 };
    (a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
