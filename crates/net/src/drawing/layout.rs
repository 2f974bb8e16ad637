//! Boxes in series and side by side, drawn upwards.

use super::canvas::{BOX_HEIGHT, Canvas, Paint, Point, node_width};

/// Room between boxes in series, for the arrow.
const RISE: f64 = 22.0;
/// Room between branches.
const GAP: f64 = 14.0;
/// Width of a branch without boxes.
const BARE: f64 = 28.0;

/// Something to draw.
pub(super) enum Part {
    /// One box; a bar is as wide as all there is beside it.
    Box { title: String, note: String, paint: Paint, bar: bool, name: String },
    /// One on top of the other, the first at the bottom.
    Series(Vec<Part>),
    /// Side by side, all from the same source.
    Split(Vec<Part>),
}

/// Where arrows leave from: the upper edge of what was drawn.
#[derive(Clone, Copy)]
pub(super) struct Port {
    left: f64,
    right: f64,
    y: f64,
}

impl Port {
    fn middle(&self) -> f64 {
        (self.left + self.right) / 2.0
    }
}

impl Part {
    /// A box as wide as its text.
    pub(super) fn node(title: &str, note: &str, paint: Paint) -> Part {
        let (title, note) = (title.to_owned(), note.to_owned());
        Part::Box { title, note, paint, bar: false, name: String::new() }
    }

    /// With the layer's name, shown where the mouse rests on the box.
    pub(super) fn named(mut self, layer: &str) -> Part {
        if let Part::Box { name, .. } = &mut self {
            *name = layer.to_owned();
        }
        self
    }

    /// A box as wide as what it belongs to.
    pub(super) fn stretched(mut self) -> Part {
        if let Part::Box { bar, .. } = &mut self {
            *bar = true;
        }
        self
    }

    pub(super) fn width(&self) -> f64 {
        match self {
            Part::Box { title, note, .. } => node_width(title, note),
            Part::Series(parts) => parts.iter().map(Part::width).fold(BARE, f64::max),
            Part::Split(parts) => {
                let gaps = GAP * parts.len().saturating_sub(1) as f64;
                parts.iter().map(Part::width).sum::<f64>() + gaps
            }
        }
    }

    pub(super) fn height(&self) -> f64 {
        match self {
            Part::Box { .. } => BOX_HEIGHT,
            Part::Series(parts) => {
                let rises = RISE * parts.len().saturating_sub(1) as f64;
                parts.iter().map(Part::height).sum::<f64>() + rises
            }
            Part::Split(parts) => parts.iter().map(Part::height).fold(0.0, f64::max),
        }
    }

    /// Draws the part with its upper left corner at `at`, at least `width` wide, and arrows to it
    /// from `sources`; returns where arrows go on.
    pub(super) fn draw(
        &self,
        canvas: &mut Canvas,
        at: Point,
        width: f64,
        sources: &[Port],
    ) -> Vec<Port> {
        match self {
            Part::Box { title, note, paint, bar, name } => {
                let own = if *bar { width } else { self.width() };
                let left = at.0 + (width - own) / 2.0;
                let bottom = Port { left, right: left + own, y: at.1 + BOX_HEIGHT };
                for source in sources {
                    arrow(canvas, *source, bottom, sources.len() > 1);
                }
                canvas.node((left, at.1), own, [title, note, name], *paint);
                vec![Port { y: at.1, ..bottom }]
            }
            // Nothing but a line from the source up.
            Part::Series(parts) if parts.is_empty() => {
                let middle = at.0 + width / 2.0;
                let end = Port { left: middle, right: middle, y: at.1 };
                for source in sources {
                    canvas.line(&route(*source, end, false), "e", false);
                }
                vec![end]
            }
            Part::Series(parts) => {
                let mut sources = sources.to_vec();
                let mut bottom = at.1 + self.height();
                for part in parts {
                    let top = bottom - part.height();
                    sources = part.draw(canvas, (at.0, top), width, &sources);
                    bottom = top - RISE;
                }
                sources
            }
            Part::Split(parts) => {
                let mut left = at.0 + (width - self.width()) / 2.0;
                let mut ends = Vec::new();
                for part in parts {
                    // All end at the same height, as in the papers.
                    ends.extend(part.draw(canvas, (left, at.1), part.width(), sources));
                    left += part.width() + GAP;
                }
                ends
            }
        }
    }
}

fn arrow(canvas: &mut Canvas, from: Port, to: Port, many: bool) {
    canvas.line(&route(from, to, many), "e", true);
}

/// Straight up where source and target overlap; else up, across, up, with the turn next to the
/// target where many lines meet there, else next to the source where they part.
fn route(from: Port, to: Port, many: bool) -> Vec<Point> {
    let inside = |x: f64, port: Port| (port.left..=port.right).contains(&x);
    // At the middle of the narrower one.
    let narrow_source = from.right - from.left <= to.right - to.left;
    let x = if narrow_source { from.middle() } else { to.middle() };
    if inside(x, from) && inside(x, to) {
        return vec![(x, from.y), (x, to.y)];
    }
    let turn = if many { to.y + RISE / 2.0 } else { from.y - RISE / 2.0 };
    vec![(from.middle(), from.y), (from.middle(), turn), (to.middle(), turn), (to.middle(), to.y)]
}
