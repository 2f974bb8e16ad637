//! What a graph costs and how far it sees.

use crate::graph::{Graph, LayerId, Op, PoolWindows, Span};

/// How much of the picture one value of a layer depends on, down and across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Rows and columns of the picture that reach one value; padding included, so it can exceed
    /// the picture.
    pub size: (usize, usize),
    /// Rows and columns of the picture between two neighbouring values.
    pub jump: (usize, usize),
}

impl Graph {
    /// Multiplications (each with an addition) of a layer for one picture: those of convolutions
    /// and linear layers; batch norm, pools and activations count nothing, as usual in papers.
    pub fn multiply_adds(&self, id: LayerId) -> usize {
        let layer = &self.layers[id];
        match &layer.op {
            Op::Conv(conv) => {
                let inputs = self.layers[layer.inputs[0]].shape.channels;
                layer.shape.len() * inputs * conv.window.kernel.0 * conv.window.kernel.1
            }
            Op::Depthwise { window, .. } => layer.shape.len() * window.kernel.0 * window.kernel.1,
            Op::Linear(_) => layer.shape.len() * self.layers[layer.inputs[0]].shape.len(),
            Op::Input
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::LocalResponseNorm { .. }
            | Op::Concat
            | Op::Dropout { .. } => 0,
        }
    }

    /// For each layer whether the main head needs it; the others serve auxiliary heads only.
    pub fn main_path(&self) -> Vec<bool> {
        let mut needed = vec![false; self.layers.len()];
        if let Some(main) = self.heads.last() {
            needed[main.logits] = true;
        }
        // Inputs come before their users.
        for id in (0..self.layers.len()).rev() {
            if needed[id] {
                for &input in &self.layers[id].inputs {
                    needed[input] = true;
                }
            }
        }
        needed
    }

    /// The receptive field of each layer. A concatenation sees what its widest branch sees.
    pub fn receptive_fields(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let mut inputs = layer.inputs.iter().map(|&id| fields[id]);
            let Some(first) = inputs.next() else {
                fields.push(Field { size: (1, 1), jump: (1, 1) });
                continue;
            };
            let before = inputs.fold(first, |a, b| Field {
                size: (a.size.0.max(b.size.0), a.size.1.max(b.size.1)),
                jump: (a.jump.0.max(b.jump.0), a.jump.1.max(b.jump.1)),
            });
            let (kernel, stride) = match &layer.op {
                Op::Conv(conv) => (conv.window.kernel, conv.window.stride),
                Op::Depthwise { window, .. } => (window.kernel, window.stride),
                Op::MaxPool(windows) | Op::AvgPool(windows) => windows.kernel_and_stride(),
                Op::Linear(_) => {
                    let grid = self.layers[layer.inputs[0]].shape;
                    ((grid.height, grid.width), (1, 1))
                }
                Op::Input | Op::LocalResponseNorm { .. } | Op::Concat | Op::Dropout { .. } => {
                    ((1, 1), (1, 1))
                }
            };
            fields.push(Field {
                size: (
                    before.size.0 + (kernel.0 - 1) * before.jump.0,
                    before.size.1 + (kernel.1 - 1) * before.jump.1,
                ),
                jump: (before.jump.0 * stride.0, before.jump.1 * stride.1),
            });
        }
        fields
    }
}

impl PoolWindows {
    /// Size of the largest window and distance between windows, both (down, across): kernel and
    /// stride of the layer wherever the grid is large enough to show them.
    pub fn kernel_and_stride(&self) -> ((usize, usize), (usize, usize)) {
        let (rows, columns) = (&self.rows, &self.columns);
        ((longest(rows), longest(columns)), (distance(rows), distance(columns)))
    }
}

fn longest(spans: &[Span]) -> usize {
    spans.iter().map(|s| s.end - s.start).max().unwrap_or(1)
}

/// Windows at the edges are cut, on one side each: the larger of the distances of starts and ends.
fn distance(spans: &[Span]) -> usize {
    let pairs = spans.windows(2);
    pairs.map(|w| (w[1].start - w[0].start).max(w[1].end - w[0].end)).max().unwrap_or(1)
}
