//! The table of a network's layers.

use std::fmt;

use serde::Serialize;

use crate::graph::{Graph, Layer, Op, PoolWindows, Window};

/// A network's layers and totals; serialises to the keys `parameters`,
/// `parameters_without_auxiliary`, `multiply_adds` and `layers`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Trained parameters of all layers (running statistics are not counted, as usual).
    pub parameters: usize,
    /// Those of the layers that the main head needs.
    pub parameters_without_auxiliary: usize,
    /// Multiply–adds of convolutions and linear layers on the main path, for one picture.
    pub multiply_adds: usize,
    /// One row per layer.
    pub layers: Vec<Row>,
}

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name.
    pub name: String,
    /// What it is, with kernel and stride: `conv 3×3/2`.
    pub kind: String,
    /// Channels, height and width of the output.
    pub shape: [usize; 3],
    /// Trained parameters.
    pub parameters: usize,
    /// Multiply–adds for one picture.
    pub multiply_adds: usize,
    /// Rows and columns of the picture that reach one value of the output.
    pub receptive_field: [usize; 2],
    /// Rows and columns of the picture between neighbouring values.
    pub jump: [usize; 2],
    /// Whether only an auxiliary head needs it.
    pub auxiliary: bool,
}

impl Graph {
    /// The table of the layers.
    pub fn summary(&self) -> Summary {
        let (main, fields) = (self.main_path(), self.receptive_fields());
        let layers: Vec<Row> = self
            .layers
            .iter()
            .enumerate()
            .map(|(id, layer)| Row {
                name: layer.name.clone(),
                kind: layer.kind(),
                shape: [layer.shape.channels, layer.shape.height, layer.shape.width],
                parameters: self.trained_parameters(id),
                multiply_adds: self.multiply_adds(id),
                receptive_field: fields[id].size.into(),
                jump: fields[id].jump.into(),
                auxiliary: !main[id],
            })
            .collect();
        let on_main = || layers.iter().filter(|row| !row.auxiliary);
        Summary {
            parameters: layers.iter().map(|row| row.parameters).sum(),
            parameters_without_auxiliary: on_main().map(|row| row.parameters).sum(),
            multiply_adds: on_main().map(|row| row.multiply_adds).sum(),
            layers,
        }
    }

    /// Values of a layer's trained parameters.
    fn trained_parameters(&self, id: usize) -> usize {
        let parameters = self.layer_parameters(id);
        let trained = parameters.iter().filter(|p| p.role.is_trained());
        trained.map(|p| p.shape.iter().product::<usize>()).sum()
    }
}

impl Layer {
    /// What the layer is, in a few letters: `conv 1×7`, `max pool 3×3/2`.
    pub fn kind(&self) -> String {
        match &self.op {
            Op::Input => "input".into(),
            Op::Conv(conv) => format!("conv {}", window(&conv.window)),
            Op::Depthwise { window: w, .. } => format!("depthwise {}", window(w)),
            Op::MaxPool(windows) => format!("max pool {}", pool(windows)),
            Op::AvgPool(windows) => format!("avg pool {}", pool(windows)),
            Op::LocalResponseNorm { size, .. } => format!("response norm {size}"),
            Op::Concat => "concat".into(),
            Op::Dropout { rate } => format!("dropout {rate}"),
            Op::Linear(_) => "linear".into(),
        }
    }
}

fn window(window: &Window) -> String {
    extent(window.kernel, window.stride)
}

fn pool(windows: &PoolWindows) -> String {
    let (kernel, stride) = windows.kernel_and_stride();
    extent(kernel, stride)
}

/// `3×3/2`, `1×7`.
fn extent(kernel: (usize, usize), stride: (usize, usize)) -> String {
    let kernel = format!("{}×{}", kernel.0, kernel.1);
    match stride {
        (1, 1) => kernel,
        (down, across) if down == across => format!("{kernel}/{down}"),
        (down, across) => format!("{kernel}/{down}×{across}"),
    }
}

/// The table for a terminal.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let head = ["layer", "kind", "output", "parameters", "mult-adds", "sees", "jump"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.layers.iter().map(|row| {
            let [channels, height, width] = row.shape;
            [
                if row.auxiliary { format!("{} *", row.name) } else { row.name.clone() },
                row.kind.clone(),
                format!("{channels}×{height}×{width}"),
                or_nothing(row.parameters),
                or_nothing(row.multiply_adds),
                pair(row.receptive_field),
                pair(row.jump),
            ]
        }));
        let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max();
        let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or(0));
        for row in &rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                // Words to the left, numbers to the right.
                line += &if column < 2 {
                    format!("{cell:<width$}  ")
                } else {
                    format!("{cell:>width$}  ")
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f)?;
        write!(f, "{} parameters", grouped(self.parameters))?;
        if self.parameters != self.parameters_without_auxiliary {
            write!(
                f,
                " ({} without the auxiliary heads, marked *)",
                grouped(self.parameters_without_auxiliary)
            )?;
        }
        write!(f, "; {} multiply-adds per picture", in_words(self.multiply_adds))
    }
}

/// `5.713 billion`, `14.75 million`.
pub(crate) fn in_words(number: usize) -> String {
    let billions = number as f64 / 1e9;
    if billions >= 0.1 {
        format!("{billions:.3} billion")
    } else {
        format!("{:.2} million", billions * 1e3)
    }
}

fn or_nothing(number: usize) -> String {
    if number == 0 { String::new() } else { grouped(number) }
}

fn pair([down, across]: [usize; 2]) -> String {
    if down == across { down.to_string() } else { format!("{down}×{across}") }
}

/// Digits in groups of three: `27,161,264`.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
