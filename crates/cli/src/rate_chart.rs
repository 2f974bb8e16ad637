//! A learning-rate finder's curve as an SVG file.

use std::fmt::Write;

use inception_train::RateCurve;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 52.0;

/// The losses over the rates, on a logarithmic axis, with the suggested rate and the steepest
/// point.
pub fn rate_chart(curve: &RateCurve) -> String {
    let points = &curve.points;
    let from = points.first().map_or(1e-5, |point| point.learning_rate);
    let to = points.last().map_or(1.0, |point| point.learning_rate);
    let to = to.max(from * 1.001);
    let smoothed = points.iter().map(|point| point.smoothed).filter(|value| value.is_finite());
    let low = smoothed.clone().fold(f64::INFINITY, f64::min);
    // What blew up would press all else flat.
    let start = points.first().map_or(1.0, |point| point.smoothed);
    let high = smoothed.fold(f64::NEG_INFINITY, f64::max).min(start + 0.6 * (start - low).max(0.1));
    let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
    let x = |rate: f64| LEFT + (WIDTH - LEFT - RIGHT) * (rate / from).ln() / (to / from).ln();
    let y = |loss: f64| TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#444\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" fill=\"#111\">Loss as the learning rate rises\
         </text>\n"
    );
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for tick in 0..=4 {
        let loss = low + (high - low) * f64::from(tick) / 4.0;
        let at = y(loss);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#e2e2e2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{loss:.2}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for power in from.log10().ceil() as i32..=to.log10().floor() as i32 {
        let at = x(10f64.powi(power));
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#eee\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">1e{power}</text>",
            bottom + 20.0
        );
    }
    let inside = |loss: f64| loss.is_finite() && loss <= high && loss >= low;
    for point in points.iter().filter(|point| inside(point.loss)) {
        let (x, y) = (x(point.learning_rate), y(point.loss));
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.6\" fill=\"#b9c6dd\"/>");
    }
    let line: Vec<String> = points
        .iter()
        .take_while(|point| point.smoothed.is_finite() && point.smoothed <= high)
        .map(|point| format!("{:.1},{:.1}", x(point.learning_rate), y(point.smoothed)))
        .collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#2f5fb3\" stroke-width=\"2.2\"/>",
        line.join(" ")
    );
    let marks =
        [("suggested", curve.suggestion(), "#1a7f4b"), ("steepest", curve.steepest(), "#b3592f")];
    for (row, (name, rate, colour)) in (0u8..).zip(marks) {
        let Some(rate) = rate.filter(|rate| (from..=to).contains(rate)) else { continue };
        let (at, text) = (x(rate), TOP + 14.0 + 17.0 * f64::from(row));
        let (anchor, aside) = if at > WIDTH / 2.0 { ("end", -6.0) } else { ("start", 6.0) };
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"{colour}\" stroke-dasharray=\"5 4\"/>\
             <text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">\
             {name} {rate:.2e}</text>",
            at + aside
        );
    }
    let middle = (LEFT + right) / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">learning rate</text>\n</svg>",
        HEIGHT - 10.0
    );
    svg
}
