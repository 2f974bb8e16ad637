//! Numbers, times and tables as a person reads them on a terminal.

use console::measure_text_width;

/// `27,161,264`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Four significant digits with a unit's letter: `5.713 G`, `143.2 M`, `832`.
pub fn scaled(n: u64) -> String {
    let value = n as f64;
    for (factor, unit) in [(1e9, " G"), (1e6, " M"), (1e4, " k")] {
        if value >= factor {
            let value = value / if unit == " k" { 1e3 } else { factor };
            let decimals = if value >= 100.0 {
                1
            } else if value >= 10.0 {
                2
            } else {
                3
            };
            return format!("{value:.decimals$}{unit}");
        }
    }
    grouped(n)
}

/// `48.3 s`, `1 min 32 s`, `2 h 05 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole / 3600 {
        0 => format!("{} min {:02} s", whole / 60, whole % 60),
        hours => format!("{hours} h {:02} min", whole % 3600 / 60),
    }
}

/// Three significant digits: `0.045`, `12.3`, `2.5e-5`: as short as its size allows.
pub fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let power = value.abs().log10().floor();
    if !(-4.0..6.0).contains(&power) {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let digits = 10f64.powf(2.0 - power);
    format!("{}", (value * digits).round() / digits)
}

/// `90.35 %`.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// `1 picture`, `2 pictures`.
pub fn count(n: u64, noun: &str) -> String {
    match n {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", grouped(n)),
    }
}

/// On which side a column's cells stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells in columns as wide as their widest cell.
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these headings.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns.iter().map(|&(name, align)| (name.to_owned(), align)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// One line for each row below a heading and a rule, each ended by a newline. Without headings
    /// if all are empty.
    pub fn text(&self) -> String {
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| {
                let cells = self.rows.iter().filter_map(|row| row.get(i));
                cells.chain([&headings[i]]).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        if headings.iter().any(|heading| !heading.is_empty()) {
            self.line(&headings, &widths, &mut text);
            let rule: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
            text += &format!("{}\n", rule.join("  "));
        }
        for row in &self.rows {
            self.line(row, &widths, &mut text);
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize], text: &mut String) {
        let mut line = String::new();
        for (i, (&width, (_, align))) in widths.iter().zip(&self.columns).enumerate() {
            let cell = cells.get(i).map_or("", String::as_str);
            let space = " ".repeat(width.saturating_sub(measure_text_width(cell)));
            line += if i > 0 { "  " } else { "" };
            match align {
                Align::Left => line.extend([cell, &space]),
                Align::Right => line.extend([space.as_str(), cell]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(grouped(27_161_264), "27,161,264");
        assert_eq!(
            (grouped(0), grouped(999), grouped(1000)),
            ("0".into(), "999".into(), "1,000".into())
        );
        assert_eq!(scaled(5_713_216_096), "5.713 G");
        assert_eq!(scaled(143_200_000), "143.2 M");
        assert_eq!(scaled(832), "832");
        assert_eq!(scaled(34_560), "34.56 k");
        assert_eq!(duration(48.31), "48.3 s");
        assert_eq!(duration(59.96), "1 min 00 s");
        assert_eq!(duration(92.4), "1 min 32 s");
        assert_eq!(duration(7503.0), "2 h 05 min");
        let shorts = [0.0, 0.0451, 12.34, 2.5e-5, 1e-7, 1234.0, 3e7].map(short);
        assert_eq!(shorts, ["0", "0.0451", "12.3", "2.5e-5", "1e-7", "1230", "3e7"]);
        assert_eq!(count(1, "picture"), "1 picture");
        assert_eq!(count(2000, "picture"), "2,000 pictures");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("layer", Align::Left), ("parameters", Align::Right)]);
        table.row(vec!["1×1".into(), "12".into()]);
        table.row(vec!["Mixed_5b".into()]);
        assert_eq!(
            table.text(),
            "layer     parameters\n────────  ──────────\n1×1               12\nMixed_5b\n"
        );
    }
}
