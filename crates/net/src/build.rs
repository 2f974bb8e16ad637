//! From a network as written to its graph.

use std::collections::HashSet;

use crate::error::NetError;
use crate::graph::{
    self, BatchNorm, Graph, Head, Init, Layer, LayerId, Op, Padding, PoolWindows, Shape, Window,
};
use crate::layers::{self, AvgPool, Conv, LocalResponseNorm, SeparableConv};
use crate::net::Net;
use crate::notation::{Pad, Size};
use crate::step::{Series, Step};
use crate::windows::{self, Axis, AxisPad};

/// Largest width, side, kernel or stride; keeps products far from overflow.
const LARGEST: usize = 1 << 16;

/// Most values of one tensor or one layer's weights.
const MOST_VALUES: usize = 1 << 31;

/// [`Net::graph`].
pub(crate) fn graph(net: &Net) -> Result<Graph, NetError> {
    check_settings(net)?;
    let mut builder = Builder { net, layers: Vec::new(), heads: Vec::new(), names: HashSet::new() };
    let input = &net.input;
    let shape = Shape { channels: input.channels, height: input.height, width: input.width };
    let input = builder.push("input".into(), Op::Input, vec![], shape)?;
    builder.head("main".into(), 1.0, &net.layers, input, "")?;
    let graph = Graph { layers: builder.layers, heads: builder.heads };
    check_parameters(&graph)?;
    Ok(graph)
}

struct Builder<'a> {
    net: &'a Net,
    layers: Vec<Layer>,
    heads: Vec<Head>,
    names: HashSet<String>,
}

impl Builder<'_> {
    /// Adds the steps of a head, whose last is a classifier.
    fn head(
        &mut self,
        name: String,
        loss_weight: f32,
        steps: &[Step],
        input: LayerId,
        prefix: &str,
    ) -> Result<(), NetError> {
        let place = if name == "main" { &self.net.name } else { &name };
        let Some((Step::Classifier(classifier), body)) = steps.split_last() else {
            let problem = "the last layer has to be of type \"classifier\"".into();
            return Err(NetError::Classifier { place: place.clone(), problem });
        };
        let last = &steps[body.len()];
        let logits_name = last.full_name(prefix);
        check_name(&logits_name, last)?;
        let end = self.series(body, input, prefix)?;
        let op = Op::Linear(graph::Linear {
            bias: true,
            batch_norm: None,
            relu: false,
            init: self.init(&logits_name, classifier.init)?,
        });
        let shape = flat(self.net.classes);
        let logits = self.push(logits_name, op, vec![end], shape)?;
        self.heads.push(Head { name, logits, loss_weight });
        Ok(())
    }

    /// Adds steps one after the other; returns the last layer.
    fn series(
        &mut self,
        steps: &[Step],
        input: LayerId,
        prefix: &str,
    ) -> Result<LayerId, NetError> {
        steps.iter().try_fold(input, |at, step| self.step(step, at, prefix))
    }

    /// Adds one step; returns the layer that the next one reads.
    fn step(&mut self, step: &Step, input: LayerId, prefix: &str) -> Result<LayerId, NetError> {
        let name = step.full_name(prefix);
        check_name(&name, step)?;
        if let Step::A(m) = step
            && m.conv3x3.is_some() == m.conv5x5.is_some()
        {
            return Err(layer(&name, "module A needs either `3x3` (figure 5) or `5x5`, not both"));
        }
        let inner = step.inner_prefix(prefix);
        if let Some(branches) = step.branches() {
            return self.concat(name, &branches, input, &inner);
        }
        if let Some((loss_weight, steps)) = step.auxiliary() {
            self.auxiliary(name, loss_weight, &steps, input)?;
            return Ok(input);
        }
        let from = self.layers[input].shape;
        match step {
            Step::Conv(conv) => self.conv(name, conv, input),
            Step::SeparableConv(conv) => self.separable(name, conv, input),
            Step::MaxPool(s) => {
                let windows = self.pool(&name, from, s.kernel, s.stride, s.padding, s.ceil, false);
                self.push_pool(name, windows?, input, Op::MaxPool)
            }
            Step::AvgPool(pool) => self.average(name, pool, input),
            Step::GlobalAvgPool(_) => {
                self.push_pool(name, adaptive(from, Size::from(1)), input, Op::AvgPool)
            }
            Step::AdaptiveAvgPool(s) => {
                in_range(&name, "size", &[s.size.height, s.size.width])?;
                self.push_pool(name, adaptive(from, s.size), input, Op::AvgPool)
            }
            Step::LocalResponseNorm(norm) => {
                let op = local_response_norm(&name, norm)?;
                self.push(name, op, vec![input], from)
            }
            Step::Dropout(s) => {
                if !(0.0..1.0).contains(&s.rate) {
                    return Err(layer(&name, "rate has to be at least 0 and below 1"));
                }
                self.push(name, Op::Dropout { rate: s.rate }, vec![input], from)
            }
            Step::Linear(s) => {
                let batch_norm = self.batch_norm(&name, Some(s.batch_norm))?;
                let op = Op::Linear(graph::Linear {
                    bias: bias(&name, s.bias, batch_norm)?,
                    batch_norm,
                    relu: s.relu,
                    init: self.init(&name, s.init)?,
                });
                self.push(name, op, vec![input], flat(s.features))
            }
            // One in its place is the head's.
            Step::Classifier(_) => Err(NetError::Classifier {
                place: name,
                problem: "a classifier ends the network or an auxiliary head; \
                          for a linear layer elsewhere use type = \"linear\""
                    .into(),
            }),
            Step::Branches(_)
            | Step::V1Naive(_)
            | Step::V1(_)
            | Step::Bn(_)
            | Step::BnReduction(_)
            | Step::A(_)
            | Step::B(_)
            | Step::C(_)
            | Step::D(_)
            | Step::E(_)
            | Step::AuxiliaryV1(_)
            | Step::AuxiliaryV3(_)
            | Step::Auxiliary(_) => unreachable!("modules and heads are dealt with above"),
        }
    }

    /// Adds all branches, then their concatenation.
    fn concat(
        &mut self,
        name: String,
        branches: &[Series],
        input: LayerId,
        prefix: &str,
    ) -> Result<LayerId, NetError> {
        if branches.len() < 2 || branches.iter().filter(|b| b.is_empty()).count() > 1 {
            return Err(layer(
                &name,
                "a module needs two branches or more, of which one may be empty",
            ));
        }
        let ends = branches
            .iter()
            .map(|branch| self.series(branch, input, prefix))
            .collect::<Result<Vec<_>, _>>()?;
        let shapes: Vec<Shape> = ends.iter().map(|&end| self.layers[end].shape).collect();
        let grid = |s: &Shape| (s.height, s.width);
        if shapes.iter().any(|s| grid(s) != grid(&shapes[0])) {
            let grids: Vec<_> =
                shapes.iter().map(|s| format!("{}×{}", s.height, s.width)).collect();
            return Err(NetError::Branches { layer: name, grids: grids.join(", ") });
        }
        let channels = shapes.iter().map(|s| s.channels).sum();
        self.push(name, Op::Concat, ends, Shape { channels, ..shapes[0] })
    }

    /// Adds an auxiliary head; the main path goes on from `input`.
    fn auxiliary(
        &mut self,
        name: String,
        loss_weight: f32,
        steps: &[Step],
        input: LayerId,
    ) -> Result<(), NetError> {
        if !(loss_weight.is_finite() && loss_weight >= 0.0) {
            return Err(layer(&name, "loss_weight has to be 0 or more"));
        }
        if name == "main" {
            return Err(layer(&name, "this is the main head's name; call it otherwise"));
        }
        self.claim(&name)?;
        let prefix = name.clone();
        self.head(name, loss_weight, steps, input, &prefix)
    }

    fn conv(&mut self, name: String, conv: &Conv, input: LayerId) -> Result<LayerId, NetError> {
        let from = self.layers[input].shape;
        let kernel = if conv.shrink { shrink(conv.kernel, from) } else { conv.kernel };
        let (window, shape) =
            windowed(&name, from, kernel, conv.stride, conv.padding, conv.channels)?;
        let batch_norm = self.batch_norm(&name, conv.batch_norm)?;
        let op = Op::Conv(graph::Conv {
            window,
            bias: bias(&name, conv.bias, batch_norm)?,
            batch_norm,
            relu: conv.relu,
            init: self.init(&name, conv.init)?,
        });
        self.push(name, op, vec![input], shape)
    }

    fn separable(
        &mut self,
        name: String,
        conv: &SeparableConv,
        input: LayerId,
    ) -> Result<LayerId, NetError> {
        let from = self.layers[input].shape;
        in_range(&name, "multiplier", &[conv.multiplier])?;
        let channels = from.channels * conv.multiplier;
        let (window, shape) =
            windowed(&name, from, conv.kernel, conv.stride, conv.padding, channels)?;
        let init = self.init(&name, conv.init)?;
        let op = Op::Depthwise { multiplier: conv.multiplier, window, init };
        let depthwise = self.push(format!("{name}.depthwise"), op, vec![input], shape)?;
        let batch_norm = conv.batch_norm;
        let pointwise = layers::Conv { batch_norm, ..layers::conv("", 1, conv.channels) };
        self.conv(name, &pointwise, depthwise)
    }

    fn average(
        &mut self,
        name: String,
        pool: &AvgPool,
        input: LayerId,
    ) -> Result<LayerId, NetError> {
        let from = self.layers[input].shape;
        let kernel = if pool.shrink { shrink(pool.kernel, from) } else { pool.kernel };
        let count = pool.count_padding.unwrap_or(self.net.defaults.count_padding);
        let windows = self.pool(&name, from, kernel, pool.stride, pool.padding, pool.ceil, count);
        self.push_pool(name, windows?, input, Op::AvgPool)
    }

    #[allow(clippy::too_many_arguments)]
    fn pool(
        &self,
        name: &str,
        from: Shape,
        kernel: Size,
        stride: Size,
        padding: Pad,
        ceil: bool,
        count_padding: bool,
    ) -> Result<PoolWindows, NetError> {
        if let Pad::Explicit { top, bottom, left, right } = padding
            && (top.max(bottom) >= kernel.height || left.max(right) >= kernel.width)
        {
            return Err(layer(name, "a pool's padding has to be smaller than its kernel"));
        }
        let (rows, columns) = axes(name, from, kernel, stride, padding, ceil)?;
        Ok(PoolWindows { rows: rows.spans(count_padding), columns: columns.spans(count_padding) })
    }

    fn push_pool(
        &mut self,
        name: String,
        windows: PoolWindows,
        input: LayerId,
        op: fn(PoolWindows) -> Op,
    ) -> Result<LayerId, NetError> {
        let channels = self.layers[input].shape.channels;
        let shape = Shape { channels, height: windows.rows.len(), width: windows.columns.len() };
        self.push(name, op(windows), vec![input], shape)
    }

    /// The batch norm of a layer that asks for one (`true`), none or the default.
    fn batch_norm(&self, name: &str, asked: Option<bool>) -> Result<Option<BatchNorm>, NetError> {
        match (asked, self.net.defaults.batch_norm) {
            (Some(false), _) => Ok(None),
            (Some(true), None) => Err(layer(
                name,
                "it asks for batch norm; say in [defaults.batch_norm] which epsilon, decay and \
                 scale it has",
            )),
            (_, default) => Ok(default),
        }
    }

    fn init(&self, name: &str, asked: Option<Init>) -> Result<Init, NetError> {
        let init = asked.unwrap_or(self.net.defaults.init);
        check_init(name, init)?;
        Ok(init)
    }

    /// Takes a name, once.
    fn claim(&mut self, name: &str) -> Result<(), NetError> {
        if self.names.insert(name.to_owned()) {
            Ok(())
        } else {
            Err(NetError::Duplicate { name: name.to_owned() })
        }
    }

    fn push(
        &mut self,
        name: String,
        op: Op,
        inputs: Vec<LayerId>,
        shape: Shape,
    ) -> Result<LayerId, NetError> {
        in_range(
            &name,
            "each of channels, height and width",
            &[shape.channels, shape.height, shape.width],
        )?;
        if shape.len() > MOST_VALUES {
            return Err(layer(&name, "its output is too large: more than 2^31 values"));
        }
        self.claim(&name)?;
        self.layers.push(Layer { name, op, inputs, shape });
        Ok(self.layers.len() - 1)
    }
}

/// Window and output shape of a convolution.
fn windowed(
    name: &str,
    from: Shape,
    kernel: Size,
    stride: Size,
    padding: Pad,
    channels: usize,
) -> Result<(Window, Shape), NetError> {
    let (rows, columns) = axes(name, from, kernel, stride, padding, false)?;
    let padding = Padding {
        top: rows.before,
        bottom: rows.reached(),
        left: columns.before,
        right: columns.reached(),
    };
    let window = Window {
        kernel: (kernel.height, kernel.width),
        stride: (stride.height, stride.width),
        padding,
    };
    Ok((window, Shape { channels, height: rows.output, width: columns.output }))
}

/// Windows down and across.
fn axes(
    name: &str,
    from: Shape,
    kernel: Size,
    stride: Size,
    padding: Pad,
    ceil: bool,
) -> Result<(Axis, Axis), NetError> {
    in_range(name, "kernel", &[kernel.height, kernel.width])?;
    in_range(name, "stride", &[stride.height, stride.width])?;
    let (vertical, horizontal) = match padding {
        Pad::Same => (AxisPad::Same, AxisPad::Same),
        Pad::Valid => {
            let none = AxisPad::Explicit { before: 0, after: 0 };
            (none, none)
        }
        Pad::Explicit { top, bottom, left, right } => {
            if [top, bottom, left, right].iter().any(|&n| n > LARGEST) {
                return Err(layer(name, &format!("padding may be {LARGEST} at most")));
            }
            (
                AxisPad::Explicit { before: top, after: bottom },
                AxisPad::Explicit { before: left, after: right },
            )
        }
    };
    let rows = Axis::new(from.height, kernel.height, stride.height, vertical, ceil);
    let columns = Axis::new(from.width, kernel.width, stride.width, horizontal, ceil);
    rows.zip(columns).ok_or_else(|| NetError::Grid {
        layer: name.to_owned(),
        kernel: (kernel.height, kernel.width),
        grid: (from.height, from.width),
    })
}

fn adaptive(from: Shape, to: Size) -> PoolWindows {
    PoolWindows {
        rows: windows::adaptive(from.height, to.height),
        columns: windows::adaptive(from.width, to.width),
    }
}

fn shrink(kernel: Size, to: Shape) -> Size {
    Size { height: kernel.height.min(to.height), width: kernel.width.min(to.width) }
}

fn bias(name: &str, asked: Option<bool>, norm: Option<BatchNorm>) -> Result<bool, NetError> {
    match (asked, norm) {
        (Some(true), Some(_)) => Err(layer(
            name,
            "batch norm has a shift of its own; leave out `bias`, or set batch_norm = false",
        )),
        (asked, norm) => Ok(asked.unwrap_or(norm.is_none())),
    }
}

fn local_response_norm(name: &str, norm: &LocalResponseNorm) -> Result<Op, NetError> {
    let &LocalResponseNorm { size, alpha, beta, k, .. } = norm;
    if size % 2 == 0 || size > LARGEST {
        return Err(layer(name, "size has to be odd"));
    }
    if !(alpha >= 0.0 && alpha.is_finite() && beta.is_finite() && k > 0.0 && k.is_finite()) {
        return Err(layer(name, "alpha may not be below 0, and k has to be above 0"));
    }
    Ok(Op::LocalResponseNorm { size, alpha, beta, k })
}

fn check_name(full_name: &str, step: &Step) -> Result<(), NetError> {
    if step.name().trim().is_empty() || step.name().contains(char::is_control) {
        return Err(layer(full_name, "a name needs visible characters, and only such"));
    }
    Ok(())
}

fn flat(channels: usize) -> Shape {
    Shape { channels, height: 1, width: 1 }
}

fn layer(name: &str, problem: &str) -> NetError {
    NetError::Layer { layer: name.to_owned(), problem: problem.to_owned() }
}

fn in_range(name: &str, what: &str, numbers: &[usize]) -> Result<(), NetError> {
    if numbers.iter().all(|n| (1..=LARGEST).contains(n)) {
        return Ok(());
    }
    Err(layer(name, &format!("{what} has to be from 1 to {LARGEST}")))
}

fn check_init(name: &str, init: Init) -> Result<(), NetError> {
    match init {
        Init::Truncated(std) if !(std.is_finite() && std >= 0.0) => {
            Err(layer(name, "the initial weights' standard deviation has to be 0 or more"))
        }
        _ => Ok(()),
    }
}

/// Checks what belongs to no layer.
fn check_settings(net: &Net) -> Result<(), NetError> {
    in_range("classes", "the number of classes", &[net.classes])?;
    check_init("defaults", net.defaults.init)?;
    if let Some(norm) = net.defaults.batch_norm {
        if !(norm.epsilon.is_finite() && norm.epsilon > 0.0) {
            return Err(layer("defaults.batch_norm", "epsilon has to be above 0"));
        }
        if !(0.0..1.0).contains(&norm.decay) {
            return Err(layer("defaults.batch_norm", "decay has to be at least 0 and below 1"));
        }
    }
    let (mean, std) = (&net.preprocessing.mean, &net.preprocessing.std);
    if mean.len() != net.input.channels || std.len() != net.input.channels {
        return Err(layer(
            "preprocessing",
            &format!(
                "mean and std need one value per input channel ({}), not {} and {}",
                net.input.channels,
                mean.len(),
                std.len()
            ),
        ));
    }
    if !mean.iter().chain(std).all(|v| v.is_finite()) || std.contains(&0.0) {
        return Err(layer("preprocessing", "mean has to be finite, std finite and not 0"));
    }
    Ok(())
}

/// Checks that no two parameters share a name (a linear layer `a.conv` would have the weight of a
/// convolution `a`) and that none is absurdly large.
fn check_parameters(graph: &Graph) -> Result<(), NetError> {
    let mut names = HashSet::new();
    for parameter in graph.parameters() {
        let mut shape = parameter.shape.iter();
        if shape.try_fold(1usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > MOST_VALUES) {
            let name = &graph.layers[parameter.layer].name;
            return Err(layer(name, "it would have more than 2^31 weights"));
        }
        if !names.insert(parameter.name.clone()) {
            return Err(NetError::Duplicate { name: parameter.name });
        }
    }
    Ok(())
}
