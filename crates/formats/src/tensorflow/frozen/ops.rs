//! The operations that become nodes of their own.

use super::super::messages::NodeDef;
use super::attributes::{self, Axes, fault};
use super::constant::Constant;
use super::lower::{Flow, Lowering, Value};
use super::{Grid, Interpolation, Resize};
use crate::Fault;
use crate::graph::Op;
use crate::layout::permuted;

impl Lowering {
    /// Filters `[height, width, in, out]`.
    pub(super) fn conv(
        &mut self,
        node: &NodeDef,
        from: Flow,
        filters: &Constant,
    ) -> Result<Value, Fault> {
        let &[height, width, inputs, outputs] = &filters.shape[..] else {
            return Err(fault(node, "its filters do not have four axes"));
        };
        check_values(node, filters)?;
        let channels = from.channels.unwrap_or(inputs);
        if inputs == 0 || !channels.is_multiple_of(inputs) || (channels != inputs && inputs != 1) {
            let what = format!("filters for {inputs} channels, of which there are {channels}");
            return Err(fault(node, &what));
        }
        attributes::check_dilations(node)?;
        let axes = attributes::axes(node)?;
        self.budget.take(filters.values.len())?;
        let op = Op::Conv {
            filters: permuted(&filters.values, [height, width, inputs, outputs], [3, 2, 0, 1]),
            shape: [outputs, inputs, height, width],
            bias: None,
            stride: attributes::strides(node, axes)?,
            padding: attributes::padding(node, axes)?,
            groups: channels / inputs,
        };
        Ok(self.push(node, op, Flow { channels: Some(outputs), single: false, ..from }))
    }

    /// Filters `[height, width, channel, multiplier]`.
    pub(super) fn depthwise(
        &mut self,
        node: &NodeDef,
        from: Flow,
        filters: &Constant,
    ) -> Result<Value, Fault> {
        let &[height, width, channels, multiplier] = &filters.shape[..] else {
            return Err(fault(node, "its filters do not have four axes"));
        };
        check_values(node, filters)?;
        if from.channels.is_some_and(|found| found != channels) {
            return Err(fault(node, "its filters are for another number of channels"));
        }
        attributes::check_dilations(node)?;
        let axes = attributes::axes(node)?;
        self.budget.take(filters.values.len())?;
        let shape = [height, width, channels, multiplier];
        let outputs = channels * multiplier;
        let op = Op::Conv {
            filters: permuted(&filters.values, shape, [2, 3, 0, 1]),
            shape: [outputs, 1, height, width],
            bias: None,
            stride: attributes::strides(node, axes)?,
            padding: attributes::padding(node, axes)?,
            groups: channels,
        };
        Ok(self.push(node, op, Flow { channels: Some(outputs), single: false, ..from }))
    }

    /// A matrix `[in, out]` over a flattened (row, column, channel) input.
    pub(super) fn linear(
        &mut self,
        node: &NodeDef,
        from: Flow,
        matrix: &Constant,
    ) -> Result<Value, Fault> {
        let &[first, second] = &matrix.shape[..] else {
            return Err(fault(node, "its matrix does not have two axes"));
        };
        check_values(node, matrix)?;
        if attributes::flag(node, "transpose_a", false) {
            return Err(fault(node, "it turns its input"));
        }
        let turned = attributes::flag(node, "transpose_b", false);
        let (inputs, outputs) = if turned { (second, first) } else { (first, second) };
        let channels = from.channels.unwrap_or(inputs);
        if channels == 0 || !inputs.is_multiple_of(channels) || (from.single && inputs != channels)
        {
            let what = format!("a matrix for {inputs} values, after {channels} channels");
            return Err(fault(node, &what));
        }
        // Ours is over (channel, row, column). In a graph with channels first it is already.
        let (positions, channels) = match self.axes {
            Axes::Nhwc => (inputs / channels, channels),
            Axes::Nchw => (1, inputs),
        };
        self.budget.take(matrix.values.len())?;
        let op = Op::Linear {
            matrix: if turned {
                permuted(&matrix.values, [outputs, positions, channels], [0, 2, 1])
            } else {
                permuted(&matrix.values, [positions, channels, outputs], [2, 1, 0])
            },
            shape: [outputs, inputs],
            bias: None,
        };
        let to = Flow { channels: Some(outputs), flat: true, single: true, ..from };
        Ok(self.push(node, op, to))
    }

    /// Scale, shift, mean, variance.
    pub(super) fn batch_norm(
        &mut self,
        node: &NodeDef,
        from: Flow,
        values: [Option<&Constant>; 4],
        epsilon: f32,
    ) -> Result<Value, Fault> {
        let counts: Vec<usize> = values.iter().flatten().map(|c| c.values.len()).collect();
        let channels = from.channels.unwrap_or(counts[0]);
        if counts.iter().any(|&count| count != channels) {
            let what = format!("{channels} channels, but statistics of {counts:?}");
            return Err(fault(node, &what));
        }
        self.budget.take(counts.iter().sum())?;
        let [scale, shift, mean, variance] =
            values.map(|values| values.map(|constant| constant.values.to_vec()));
        let op = Op::BatchNorm {
            scale,
            shift: shift.unwrap_or_default(),
            mean: mean.unwrap_or_default(),
            variance: variance.unwrap_or_default(),
            epsilon,
        };
        Ok(self.push(node, op, Flow { channels: Some(channels), ..from }))
    }

    /// Factor and offset for each value of a constant.
    pub(super) fn affine(
        &mut self,
        node: &NodeDef,
        from: Flow,
        by: &Constant,
        each: fn(f32) -> (f32, f32),
    ) -> Result<Value, Fault> {
        let values = by
            .per_channel(from.channels)
            .filter(|values| !values.is_empty())
            .ok_or_else(|| fault(node, "its constant has no value for each channel"))?;
        self.budget.take(2 * values.len())?;
        let (factor, offset) = values.iter().map(|&value| each(value)).unzip();
        Ok(self.push(node, Op::Affine { factor, offset }, from))
    }

    pub(super) fn local_response_norm(
        &mut self,
        node: &NodeDef,
        from: Flow,
    ) -> Result<Value, Fault> {
        let radius = usize::try_from(attributes::int(node, "depth_radius", 5)).ok();
        let radius = radius.filter(|&radius| radius < 1 << 15);
        let size = 2 * radius.ok_or_else(|| fault(node, "its radius makes no sense"))? + 1;
        let op = Op::LocalResponseNorm {
            size,
            // TensorFlow's factor is not divided by the window.
            alpha: attributes::float(node, "alpha", 1.0) * size as f32,
            beta: attributes::float(node, "beta", 0.5),
            k: attributes::float(node, "bias", 1.0),
        };
        Ok(self.push(node, op, from))
    }

    /// A mean over rows and columns.
    pub(super) fn mean(
        &mut self,
        node: &NodeDef,
        from: Flow,
        axes: &Constant,
    ) -> Result<Value, Fault> {
        let mut found = axes.integers().unwrap_or_default();
        found.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis += 4);
        found.sort_unstable();
        let rows = self.axes.rows() as i64;
        if from.flat || found != [rows, rows + 1] {
            return Err(fault(node, "it is no mean over rows and columns"));
        }
        let flat = !attributes::flag(node, "keep_dims", false);
        Ok(self.push(node, Op::GlobalAvgPool, Flow { flat, single: true, ..from }))
    }

    pub(super) fn concat(
        &mut self,
        node: &NodeDef,
        axis: &Constant,
        parts: &[Value],
    ) -> Result<Value, Fault> {
        let flows: Option<Vec<Flow>> = parts
            .iter()
            .map(|part| if let Value::Flow(flow) = part { Some(*flow) } else { None })
            .collect();
        let flows = match flows {
            Some(flows) if !flows.is_empty() => flows,
            _ => return self.unknown(node, parts),
        };
        let flat = flows[0].flat;
        let last = if flat { 1 } else { 3 };
        let wanted = if flat { 1 } else { self.axes.channels() as i64 };
        let axis = axis.number().map(|axis| axis as i64);
        let axis = axis.map(|axis| if axis < 0 { axis + last + 1 } else { axis });
        // Flattened grids side by side are no concatenation of channels.
        if axis != Some(wanted) || flows.iter().any(|f| f.flat != flat || (flat && !f.single)) {
            return Err(fault(node, "it does not join channels"));
        }
        let channels = flows.iter().map(|flow| flow.channels).sum();
        let single = flows.iter().all(|flow| flow.single);
        if let [only] = flows[..] {
            return Ok(Value::Flow(only));
        }
        let value = self.push(node, Op::Concat, Flow { channels, single, ..flows[0] });
        if let Some(last) = self.nodes.last_mut() {
            last.inputs = flows.iter().map(|flow| flow.node).collect();
        }
        Ok(value)
    }

    /// `tf.nn.dropout`: what is kept was divided by its share before.
    pub(super) fn dropout(&mut self, node: &NodeDef, from: Flow, rate: f32) -> Value {
        let name = node.name.clone();
        let last = &mut self.nodes[from.node];
        if let Op::Affine { factor, offset } = &last.op
            && let ([factor], [0.0]) = (&factor[..], &offset[..])
            && (factor * (1.0 - rate) - 1.0).abs() < 1e-5
        {
            (last.name, last.op) = (name, Op::Dropout { rate });
            return Value::Flow(from);
        }
        self.push(node, Op::Dropout { rate }, from)
    }

    pub(super) fn reshape(
        &mut self,
        node: &NodeDef,
        from: Flow,
        shape: &Value,
    ) -> Result<Value, Fault> {
        let Value::Constant(shape) = shape else {
            // Worked out of shapes: a flattening, or the way back from one around a softmax.
            return Ok(Value::Flow(Flow { flat: true, ..from }));
        };
        let axes = shape.integers().unwrap_or_default();
        let size = |axis: i64| usize::try_from(axis).ok().filter(|&size| size > 0);
        if let Op::Input { shape } = &mut self.nodes[from.node].op {
            let ([_, h, w, c] | [h, w, c]) = axes[..] else {
                return Err(fault(node, "it does not make a picture of its input"));
            };
            *shape = match self.axes {
                Axes::Nhwc => [size(c), size(h), size(w)],
                Axes::Nchw => [size(h), size(w), size(c)],
            };
            return Ok(Value::Flow(Flow { channels: shape[0], ..from }));
        }
        let last = axes.last().copied().and_then(size);
        let channels = from.channels;
        match (&axes[..], last, channels) {
            ([_, _], Some(last), Some(channels)) if channels > 0 && last % channels == 0 => {
                let single = from.single || last == channels;
                Ok(Value::Flow(Flow { flat: true, single, ..from }))
            }
            ([_, -1], None, _) => Ok(Value::Flow(Flow { flat: true, ..from })),
            ([_, 1, 1, _], Some(last), Some(channels)) if last == channels => {
                Ok(Value::Flow(Flow { flat: false, single: true, ..from }))
            }
            _ => Err(fault(node, "it neither flattens its input nor keeps it")),
        }
    }

    /// A change of the picture's size, before all layers.
    pub(super) fn resize(
        &mut self,
        node: &NodeDef,
        from: Flow,
        size: &Constant,
    ) -> Result<Value, Fault> {
        // Scaling of the values before it changes nothing: interpolation keeps sums of shares 1.
        let mut start = from.node;
        while let Op::Affine { .. } = self.nodes[start].op {
            start = self.nodes[start].inputs[0];
        }
        let Op::Input { shape } = &mut self.nodes[start].op else {
            return Err(fault(node, "it changes the size of something else than the picture"));
        };
        let size = size.integers().unwrap_or_default();
        let &[Ok(height), Ok(width)] =
            &size.into_iter().map(usize::try_from).collect::<Vec<_>>()[..]
        else {
            return Err(fault(node, "its size is not height and width"));
        };
        (shape[1], shape[2]) = (Some(height), Some(width));
        let grid = if attributes::flag(node, "align_corners", false) {
            Grid::AlignCorners
        } else if attributes::flag(node, "half_pixel_centers", false) {
            Grid::HalfPixel
        } else {
            Grid::Corner
        };
        let kind = match node.op.as_str() {
            "ResizeNearestNeighbor" => Interpolation::Nearest,
            "ResizeBicubic" => Interpolation::Bicubic,
            "ResizeArea" => Interpolation::Area,
            _ => Interpolation::Bilinear,
        };
        if let Some(picture) = &mut self.picture {
            picture.resize = Some(Resize { kind, size: (height, width), grid });
        }
        Ok(Value::Flow(from))
    }
}

/// That there are weights at all: without any, their shape may say what it likes.
fn check_values(node: &NodeDef, weights: &Constant) -> Result<(), Fault> {
    if weights.values.is_empty() { Err(fault(node, "it has no weights")) } else { Ok(()) }
}
