//! Curves drawn with characters.

/// One curve: a value for each epoch, first to last; NaN leaves a gap.
pub struct Curve<'a> {
    /// What it shows.
    pub name: &'a str,
    /// What it is drawn with.
    pub mark: char,
    /// The values.
    pub values: Vec<f64>,
}

const HEIGHT: usize = 9;

/// What stands below a frame.
pub struct Axis<'a> {
    /// At its left end.
    pub first: String,
    /// At its right end.
    pub last: String,
    /// Between them.
    pub name: &'a str,
}

/// The curves over epochs, as [`plot_along`] draws them.
pub fn plot(
    title: &str,
    curves: &[Curve],
    first_epoch: usize,
    width: usize,
    label: impl Fn(f64) -> String,
) -> String {
    let epochs = curves.iter().map(|c| c.values.len()).max().unwrap_or(1);
    let (first, last) = (first_epoch.to_string(), (first_epoch + epochs - 1).to_string());
    plot_along(title, curves, &Axis { first, last, name: "epoch" }, width, label)
}

/// The curves in one frame of the given inner width in characters: title, axis with three
/// numbers, the other axis below. `label` writes a value of the vertical axis. Later curves are drawn
/// over earlier ones. Empty if no curve has a finite value.
pub fn plot_along(
    title: &str,
    curves: &[Curve],
    axis: &Axis,
    width: usize,
    label: impl Fn(f64) -> String,
) -> String {
    let finite = || curves.iter().flat_map(|c| &c.values).copied().filter(|v| v.is_finite());
    let (low, high) = finite()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return String::new();
    }
    let epochs = curves.iter().map(|c| c.values.len()).max().unwrap_or(1);
    let width = width.clamp(12, 6 * epochs.max(4));
    let cells = draw(curves, (low, high), width);
    let labels = [high, (high + low) / 2.0, low].map(&label);
    let margin = labels.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    let legend: Vec<String> = curves.iter().map(|c| format!("{} {}", c.mark, c.name)).collect();
    let mut text = format!("{title}   {}\n", legend.join("   "));
    for (i, row) in cells.iter().enumerate() {
        let (label, tick) = match i {
            0 => (labels[0].as_str(), '┤'),
            i if i == HEIGHT / 2 => (labels[1].as_str(), '┤'),
            i if i == HEIGHT - 1 => (labels[2].as_str(), '┤'),
            _ => ("", '│'),
        };
        let row: String = row.iter().collect();
        text += &format!("{label:>margin$} {tick}{}\n", row.trim_end());
    }
    text += &format!("{:margin$} └{}\n", "", "─".repeat(width));
    let Axis { first, last, name } = axis;
    let between = width.saturating_sub(first.len() + last.len());
    text += &match epochs {
        1 => format!("{:margin$}  {name} {first}\n", ""),
        _ => format!("{:margin$}  {first}{name:^between$}{last}\n", ""),
    };
    text
}

fn draw(curves: &[Curve], (low, high): (f64, f64), width: usize) -> Vec<Vec<char>> {
    let mut cells = vec![vec![' '; width]; HEIGHT];
    for curve in curves {
        let values = (0..width).map(|c| at(&curve.values, c as f64 / (width - 1) as f64));
        for (column, value) in values.enumerate().filter_map(|(c, value)| Some((c, value?))) {
            let height = if high > low { (value - low) / (high - low) } else { 0.5 };
            let row = ((1.0 - height) * (HEIGHT - 1) as f64).round() as usize;
            cells[row.min(HEIGHT - 1)][column] = curve.mark;
        }
    }
    cells
}

/// The curve's value at a share of its length, linear between epochs; `None` in a gap.
fn at(values: &[f64], share: f64) -> Option<f64> {
    let place = share * (values.len().checked_sub(1)?) as f64;
    let (before, part) = (values[place as usize], place.fract());
    let after = values.get(place as usize + 1).copied().unwrap_or(before);
    let value = if part == 0.0 { before } else { before + part * (after - before) };
    value.is_finite().then_some(value)
}

/// The values as one line of bars, `width` characters or, with fewer values, stretched to them; the
/// lowest value is the lowest bar. NaN leaves a gap.
pub fn sparkline(values: &[f64], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let column = |c: usize| {
        let (start, end) = (c * values.len() / width, (c + 1) * values.len() / width);
        let part = &values[start..end.max(start + 1)];
        part.iter().sum::<f64>() / part.len() as f64
    };
    let width_drawn = if values.is_empty() { 0 } else { width };
    let columns: Vec<f64> = (0..width_drawn).map(column).collect();
    let finite = || columns.iter().copied().filter(|value| value.is_finite());
    let (low, high) =
        (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let bar = |value: f64| match (value - low) / (high - low) {
        _ if !value.is_finite() => ' ',
        share if share.is_finite() => BARS[((share * 8.0) as usize).min(7)],
        _ => BARS[3],
    };
    columns.iter().map(|&value| bar(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_curve_runs_from_top_left_to_bottom_right() {
        let curve = Curve { name: "test", mark: '●', values: vec![2.0, 1.0, 0.0] };
        let text = plot("loss", &[curve], 1, 18, |v| format!("{v:.1}"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "loss   ● test");
        assert!(lines[1].starts_with("2.0 ┤●"), "{text}");
        assert!(lines[9].starts_with("0.0 ┤") && lines[9].ends_with('●'), "{text}");
        assert_eq!(lines[10], "    └──────────────────");
        assert_eq!(lines[11], "     1     epoch      3");
    }

    #[test]
    fn sparklines_show_means_and_stretch() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[0.0, 2.0, 6.0, 8.0], 2), "▁█");
        assert_eq!(sparkline(&[0.0, 1.0], 6), "▁▁▁███");
        assert_eq!(sparkline(&[1.0, f64::NAN, 1.0], 3), "▄ ▄");
        assert_eq!(sparkline(&[], 6), "");
        assert_eq!(sparkline(&[1.0], 0), "");
    }

    #[test]
    fn gaps_and_single_epochs_are_drawn_without_panic() {
        let curve = |values| Curve { name: "x", mark: '*', values };
        assert_eq!(plot("t", &[curve(vec![f64::NAN])], 1, 40, |v| v.to_string()), "");
        assert_eq!(plot("t", &[curve(vec![])], 1, 40, |v| v.to_string()), "");
        assert!(plot("t", &[curve(vec![1.0])], 1, 40, |v| v.to_string()).contains('*'));
        assert!(
            plot("t", &[curve(vec![1.0, f64::NAN, 3.0])], 1, 40, |v| v.to_string()).contains('*')
        );
    }
}
