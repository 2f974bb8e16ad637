//! Panels in rows, the lines between them, heading and legend.

use super::canvas::{Anchor, BOX_HEIGHT, Canvas, Point};
use super::layout::Part;

/// Width that rows are filled to.
const ROW: f64 = 1660.0;
const MARGIN: f64 = 36.0;
const HEADING: f64 = 92.0;
const LEGEND: f64 = 52.0;
/// Room between panels, for the line that connects them.
const GUTTER: f64 = 34.0;
/// Room between rows.
const LANE: f64 = 40.0;
/// Room inside a panel around its part, and for its title.
const INSET: f64 = 14.0;
const TITLE: f64 = 46.0;

/// Whether a panel is part of the main path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Main,
    Auxiliary,
}

/// A framed part of the network.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) note: String,
    pub(super) part: Part,
    pub(super) role: Role,
}

impl Panel {
    fn width(&self) -> f64 {
        // The title has to fit, too.
        let text =
            (self.title.chars().count() as f64 * 8.3).max(self.note.chars().count() as f64 * 5.7);
        self.part.width().max(text) + 2.0 * INSET
    }

    fn height(&self) -> f64 {
        self.part.height() + 2.0 * INSET + self.title_height()
    }

    fn title_height(&self) -> f64 {
        if self.title.is_empty() { 0.0 } else { TITLE }
    }
}

/// A panel in its place.
struct Placed<'a> {
    panel: &'a Panel,
    left: f64,
    right: f64,
    /// Lower edge, the same for a whole row.
    floor: f64,
    row: usize,
}

impl Placed<'_> {
    /// Upper edge of what is inside, below the title.
    fn part_top(&self) -> f64 {
        self.floor - INSET - self.panel.part.height()
    }

    /// Where the line to the next panel leaves: to the right of the topmost box.
    fn exit(&self) -> Point {
        (self.last_right(), self.part_top() + BOX_HEIGHT / 2.0)
    }

    /// Where the line from the panel before arrives: to the left of the lowest box.
    fn entry(&self) -> Point {
        (self.first_left(), self.floor - INSET - BOX_HEIGHT / 2.0)
    }

    fn inner(&self) -> (f64, f64) {
        (self.left + INSET, self.right - INSET)
    }

    /// Right edge of the topmost box.
    fn last_right(&self) -> f64 {
        let (left, right) = self.inner();
        (left + right + self.end_width(|parts| parts.last())) / 2.0
    }

    /// Left edge of the lowest box.
    fn first_left(&self) -> f64 {
        let (left, right) = self.inner();
        (left + right - self.end_width(|parts| parts.first())) / 2.0
    }

    /// Width of the part's first or last box as drawn.
    fn end_width(&self, end: fn(&[Part]) -> Option<&Part>) -> f64 {
        let (left, right) = self.inner();
        match &self.panel.part {
            Part::Series(parts) => match end(parts) {
                Some(part @ Part::Box { bar: false, .. }) => part.width(),
                _ => right - left,
            },
            _ => right - left,
        }
    }
}

/// The whole page as SVG.
pub(super) fn draw(title: &str, subtitle: &str, panels: &[Panel]) -> String {
    let placed = place(panels);
    let mut canvas = Canvas::new();
    canvas.text((MARGIN, 46.0), title, Anchor::Start, "h");
    canvas.text((MARGIN, 70.0), subtitle, Anchor::Start, "s");
    for place in &placed {
        draw_panel(&mut canvas, place);
    }
    connect(&mut canvas, &placed);
    let right = placed.iter().map(|p| p.right).fold(ROW / 2.0, f64::max) + MARGIN + GUTTER / 2.0;
    let text = MARGIN * 2.0 + subtitle.chars().count() as f64 * 7.3;
    let floor = placed.iter().map(|p| p.floor).fold(HEADING, f64::max);
    let heads = panels.iter().any(|p| p.role == Role::Auxiliary);
    legend(&mut canvas, floor + LANE, heads);
    canvas.finish(right.max(text), floor + LANE + LEGEND, title)
}

/// Panels in rows from left to right; a row's panels stand on one floor. Auxiliary heads stay
/// with the panel before them.
fn place(panels: &[Panel]) -> Vec<Placed<'_>> {
    let mut rows: Vec<(Vec<&Panel>, f64)> = vec![(Vec::new(), 0.0)];
    let mut rest = panels;
    while !rest.is_empty() {
        let heads = rest[1..].iter().take_while(|p| p.role == Role::Auxiliary).count();
        let (group, after) = rest.split_at(1 + heads);
        let width: f64 = group.iter().map(|p| p.width() + GUTTER).sum();
        let filled = rows[rows.len() - 1].1;
        if filled > 0.0 && filled + width > ROW {
            rows.push((Vec::new(), 0.0));
        }
        let row = rows.last_mut().expect("there is a first row");
        row.0.extend(group);
        row.1 += width;
        rest = after;
    }
    let mut placed = Vec::new();
    let mut top = HEADING;
    for (index, (row, _)) in rows.into_iter().enumerate() {
        let floor = top + row.iter().map(|p| p.height()).fold(0.0, f64::max);
        let mut left = MARGIN + GUTTER / 2.0;
        for panel in row {
            let right = left + panel.width();
            placed.push(Placed { panel, left, right, floor, row: index });
            left = right + GUTTER;
        }
        top = floor + LANE;
    }
    placed
}

fn draw_panel(canvas: &mut Canvas, place: &Placed) {
    let panel = place.panel;
    let (left, right) = place.inner();
    let top = place.floor - panel.height();
    let (fill, edge) = match panel.role {
        Role::Main => ("#fafbfc", "#e1e5ea"),
        Role::Auxiliary => ("#faf6fd", "#dcc9ea"),
    };
    canvas.rectangle(
        (place.left, top),
        (place.right - place.left, panel.height()),
        9.0,
        fill,
        edge,
    );
    if !panel.title.is_empty() {
        canvas.text((left, top + 24.0), &panel.title, Anchor::Start, "p");
        canvas.text((left, top + 40.0), &panel.note, Anchor::Start, "n");
    }
    panel.part.draw(canvas, (left, place.part_top()), right - left, &[]);
}

/// Lines from each panel to those that read it.
fn connect(canvas: &mut Canvas, placed: &[Placed]) {
    let mut rest = placed;
    while let [from, after @ ..] = rest {
        let heads = after.iter().take_while(|p| p.panel.role == Role::Auxiliary).count();
        // Two lines side by side where there are two: the main one turns below the heads.
        let apart = if heads > 0 { 6.0 } else { 0.0 };
        for head in &after[..heads] {
            canvas.line(&route(from, head, apart), "x", true);
        }
        rest = &after[heads..];
        if let Some(next) = rest.first() {
            canvas.line(&route(from, next, -apart), "e", true);
        }
    }
}

/// From the top of one panel to the foot of a later one, between the panels; `aside` from the
/// middle of the gutter.
fn route(from: &Placed, to: &Placed, aside: f64) -> Vec<Point> {
    let (start, end) = (from.exit(), to.entry());
    let start = (start.0, start.1 - aside);
    let down = from.right + GUTTER / 2.0 + aside;
    let up = to.left - GUTTER / 2.0;
    let mut points = vec![start, (down, start.1)];
    let next_door = from.row == to.row && to.left - from.right <= GUTTER + 1.0;
    if next_door {
        points.push((down, end.1));
    } else {
        // Below the panels between them, or from one row to the next.
        let depth = match (aside > 0.0, from.row == to.row) {
            (true, _) => 0.15,
            (false, true) => 0.32,
            (false, false) => 0.62,
        };
        let lane = from.floor + LANE * depth;
        points.extend([(down, lane), (up, lane), (up, end.1)]);
    }
    points.push(end);
    points
}

/// One small box for each kind that was drawn.
fn legend(canvas: &mut Canvas, top: f64, heads: bool) {
    let mut left = MARGIN + GUTTER / 2.0;
    for paint in canvas.paints.clone() {
        let (fill, edge, name) = paint.style();
        canvas.rectangle((left, top), (22.0, 14.0), 3.0, fill, edge);
        canvas.text((left + 29.0, top + 11.5), name, Anchor::Start, "n");
        left += 29.0 + name.chars().count() as f64 * 5.6 + 26.0;
    }
    if heads {
        canvas.line(&[(left, top + 7.0), (left + 26.0, top + 7.0)], "x", true);
        canvas.text((left + 33.0, top + 11.5), "to an auxiliary head", Anchor::Start, "n");
    }
}
