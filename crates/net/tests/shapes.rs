//! Shapes of random networks against a plain computation that walks the steps itself.

mod nets;

use std::collections::HashSet;

use inception_net::graph::{Op, Shape, Span};
use inception_net::{Net, NetError, Pad, Size, Step};
use proptest::prelude::*;

type Channels = usize;

/// Where windows start, found by trying every position; `None` if there is none.
fn positions(
    length: usize,
    kernel: usize,
    stride: usize,
    (before, after): (usize, usize),
    ceil: bool,
) -> Option<Vec<isize>> {
    let (end, before, kernel) = ((length + after) as isize, before as isize, kernel as isize);
    let starts = (-before..end).step_by(stride);
    let starts = starts.filter(|start| {
        // Ceil mode takes one that starts inside the picture, if the one before left some over.
        let cut = *start < length as isize && start + kernel < end + stride as isize;
        start + kernel <= end || (ceil && cut)
    });
    let starts: Vec<isize> = starts.collect();
    (!starts.is_empty()).then_some(starts)
}

fn same(length: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let output = length.div_ceil(stride);
    let total = ((output - 1) * stride + kernel).saturating_sub(length);
    (total / 2, total - total / 2)
}

/// Rows or columns of a windowed layer.
fn output(
    length: usize,
    kernel: usize,
    stride: usize,
    pad: (Pad, bool),
    ceil: bool,
) -> Option<usize> {
    let (pad, vertical) = pad;
    let pad = match pad {
        Pad::Same => return Some(length.div_ceil(stride)),
        Pad::Valid => (0, 0),
        Pad::Explicit { top, bottom, .. } if vertical => (top, bottom),
        Pad::Explicit { left, right, .. } => (left, right),
    };
    positions(length, kernel, stride, pad, ceil).map(|p| p.len())
}

fn windowed(
    from: Shape,
    channels: Channels,
    kernel: Size,
    stride: Size,
    pad: Pad,
    ceil: bool,
) -> Option<Shape> {
    Some(Shape {
        channels,
        height: output(from.height, kernel.height, stride.height, (pad, true), ceil)?,
        width: output(from.width, kernel.width, stride.width, (pad, false), ceil)?,
    })
}

fn series(steps: &[Step], from: Shape) -> Option<Shape> {
    steps.iter().try_fold(from, |at, step| shape(step, at))
}

fn shrunk(kernel: Size, to: Shape, shrink: bool) -> Size {
    if shrink {
        Size { height: kernel.height.min(to.height), width: kernel.width.min(to.width) }
    } else {
        kernel
    }
}

fn shape(step: &Step, from: Shape) -> Option<Shape> {
    let same_channels = from.channels;
    match step {
        Step::Conv(s) => {
            windowed(from, s.channels, shrunk(s.kernel, from, s.shrink), s.stride, s.padding, false)
        }
        Step::SeparableConv(s) => windowed(from, s.channels, s.kernel, s.stride, s.padding, false),
        Step::MaxPool(s) => windowed(from, same_channels, s.kernel, s.stride, s.padding, s.ceil),
        Step::AvgPool(s) => windowed(
            from,
            same_channels,
            shrunk(s.kernel, from, s.shrink),
            s.stride,
            s.padding,
            s.ceil,
        ),
        Step::GlobalAvgPool(_) => Some(Shape { height: 1, width: 1, ..from }),
        Step::AdaptiveAvgPool(s) => {
            Some(Shape { height: s.size.height, width: s.size.width, ..from })
        }
        Step::LocalResponseNorm(_) | Step::Dropout(_) => Some(from),
        Step::Linear(s) => Some(Shape { channels: s.features, height: 1, width: 1 }),
        Step::Auxiliary(s) => series(&s.layers[..s.layers.len() - 1], from).map(|_| from),
        Step::Branches(s) => concat(s.branches.iter().map(|b| series(b, from)).collect()),
        Step::V1Naive(m) => {
            Some(Shape { channels: m.conv1x1 + m.conv3x3 + m.conv5x5 + same_channels, ..from })
        }
        Step::V1(m) => {
            Some(Shape { channels: m.conv1x1 + m.conv3x3.1 + m.conv5x5.1 + m.pool_proj, ..from })
        }
        Step::Bn(m) => {
            Some(Shape { channels: m.conv1x1 + m.conv3x3.1 + m.double3x3.1 + m.pool_proj, ..from })
        }
        Step::BnReduction(m) => {
            let channels = m.conv3x3.1 + m.double3x3.1 + same_channels;
            Some(Shape { channels, height: from.height.div_ceil(2), width: from.width.div_ceil(2) })
        }
        Step::A(m) => {
            let second = m.conv3x3.or(m.conv5x5)?.1;
            Some(Shape { channels: m.conv1x1 + second + m.double3x3.1 + m.pool, ..from })
        }
        Step::B(m) => Some(Shape { channels: m.conv1x1 + m.nxn.1 + m.nxndbl.1 + m.pool, ..from }),
        Step::C(m) => Some(Shape {
            channels: m.conv1x1 + 2 * m.conv3x3.1 + 2 * m.double3x3.1 + m.pool,
            ..from
        }),
        Step::D(m) => {
            let channels = m.conv3x3 + m.double3x3.1 + same_channels;
            windowed(from, channels, 3.into(), 2.into(), m.padding, false)
        }
        Step::E(m) => {
            let channels = m.conv3x3.1 + m.nxn3x3.1 + same_channels;
            windowed(from, channels, 3.into(), 2.into(), m.padding, false)
        }
        Step::AuxiliaryV1(_) | Step::AuxiliaryV3(_) | Step::Classifier(_) => unreachable!(),
    }
}

fn concat(branches: Vec<Option<Shape>>) -> Option<Shape> {
    let branches: Vec<Shape> = branches.into_iter().collect::<Option<_>>()?;
    let first = branches[0];
    let alike = branches.iter().all(|b| (b.height, b.width) == (first.height, first.width));
    alike.then(|| Shape { channels: branches.iter().map(|b| b.channels).sum(), ..first })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn graphs_have_the_shapes_of_their_steps(net in nets::any()) {
        let input = net.input;
        let input = Shape { channels: input.channels, height: input.height, width: input.width };
        let body = &net.layers[..net.layers.len() - 1];
        match net.graph() {
            Ok(graph) => {
                let last = graph.layers.last().unwrap();
                let before = graph.layers[last.inputs[0]].shape;
                prop_assert_eq!(series(body, input), Some(before));
                check(&net, &graph)?;
            }
            Err(NetError::Grid { .. } | NetError::TooSmall { .. } | NetError::Branches { .. }) => {
                prop_assert_eq!(series(body, input), None);
            }
            // Too many empty branches.
            Err(NetError::Layer { problem, .. }) => {
                prop_assert!(problem.contains("two branches"), "{}", problem);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

/// What holds for every graph.
fn check(net: &Net, graph: &inception_net::Graph) -> Result<(), TestCaseError> {
    let names: HashSet<_> = graph.layers.iter().map(|l| &l.name).collect();
    prop_assert_eq!(names.len(), graph.layers.len());
    let parameters = graph.parameters();
    let names: HashSet<_> = parameters.iter().map(|p| &p.name).collect();
    prop_assert_eq!(names.len(), parameters.len());
    prop_assert_eq!(&graph.heads.last().unwrap().name, "main");
    for (id, layer) in graph.layers.iter().enumerate() {
        prop_assert!(layer.inputs.iter().all(|&i| i < id));
        prop_assert!(!layer.shape.is_empty());
        let Some(&input) = layer.inputs.first() else { continue };
        let from = graph.layers[input].shape;
        match &layer.op {
            Op::MaxPool(w) | Op::AvgPool(w) => {
                prop_assert_eq!(
                    (w.rows.len(), w.columns.len()),
                    (layer.shape.height, layer.shape.width)
                );
                check_spans(&w.rows, from.height)?;
                check_spans(&w.columns, from.width)?;
            }
            Op::Conv(conv) => {
                // The windows end exactly where the padding does, or inside the picture.
                let w = conv.window;
                let reach = (layer.shape.height - 1) * w.stride.0 + w.kernel.0;
                let padded = w.padding.top + from.height + w.padding.bottom;
                prop_assert!(reach == padded || (w.padding.bottom == 0 && reach < padded));
                let reach = (layer.shape.width - 1) * w.stride.1 + w.kernel.1;
                let padded = w.padding.left + from.width + w.padding.right;
                prop_assert!(reach == padded || (w.padding.right == 0 && reach < padded));
            }
            _ => {}
        }
    }
    let summary = graph.summary();
    let trained = parameters.iter().filter(|p| p.role.is_trained());
    let total: usize = trained.map(|p| p.shape.iter().product::<usize>()).sum();
    prop_assert_eq!(summary.parameters, total);
    prop_assert!(summary.parameters_without_auxiliary <= total);
    prop_assert!(net.to_svg().unwrap().ends_with("</svg>\n"));
    Ok(())
}

fn check_spans(spans: &[Span], length: usize) -> Result<(), TestCaseError> {
    for span in spans {
        prop_assert!(span.start < span.end && span.end <= length);
        prop_assert!(span.count >= span.end - span.start);
    }
    Ok(())
}

/// One axis of a pool as PyTorch defines it, all cases of small numbers: windows, and what counts.
#[test]
fn pool_windows_match_a_plain_search() {
    let net = |length: usize, kernel: usize, stride: usize, pad: (usize, usize), ceil: bool| {
        let (top, bottom) = pad;
        format!(
            r#"
            name = "pool"
            classes = 1
            input = {{ channels = 1, height = {length}, width = 1 }}
            preprocessing = {{ resize = "none", order = "grey", mean = [0], std = [1] }}
            layer = [
                {{ type = "avg-pool", name = "p", kernel = [{kernel}, 1], stride = [{stride}, 1],
                   padding = [{top}, {bottom}, 0, 0], ceil = {ceil}, count_padding = true }},
                {{ type = "classifier", name = "c" }},
            ]
            "#
        )
    };
    let mut checked = 0;
    for length in 1..9 {
        for kernel in 1..5 {
            for stride in 1..5 {
                for (before, after) in [(0, 0), (1, 1), (0, 1), (2, 2), (3, 1)] {
                    if before >= kernel || after >= kernel {
                        continue;
                    }
                    for ceil in [false, true] {
                        let text = net(length, kernel, stride, (before, after), ceil);
                        let starts = positions(length, kernel, stride, (before, after), ceil);
                        let spans = match Net::from_toml(&text).map(|n| n.graph().unwrap()) {
                            Err(_) => None,
                            Ok(graph) => match &graph.layers[1].op {
                                Op::AvgPool(w) => Some(w.rows.clone()),
                                _ => unreachable!(),
                            },
                        };
                        let expected = starts.map(|starts| {
                            let span = |&start: &isize| {
                                let end = start + kernel as isize;
                                Span {
                                    start: start.max(0) as usize,
                                    end: end.min(length as isize) as usize,
                                    count: (end.min((length + after) as isize) - start) as usize,
                                }
                            };
                            starts.iter().map(span).collect::<Vec<_>>()
                        });
                        let case = format!("{length} {kernel}/{stride} {before},{after} {ceil}");
                        assert_eq!(spans, expected, "{case}");
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(checked > 500, "{checked}");
}

/// TensorFlow's SAME puts the odd zero below and right; PyTorch's numbers are symmetric.
#[test]
fn same_is_tensorflows() {
    assert_eq!(same(224, 7, 2), (2, 3));
    let text = |padding: &str| {
        format!(
            r#"
            name = "pad"
            classes = 1
            input = {{ channels = 1, height = 224, width = 225 }}
            preprocessing = {{ resize = "none", order = "grey", mean = [0], std = [1] }}
            layer = [
                {{ type = "conv", name = "c", kernel = 7, stride = 2, padding = {padding}, channels = 1 }},
                {{ type = "global-avg-pool", name = "p" }},
                {{ type = "classifier", name = "l" }},
            ]
            "#
        )
    };
    let padding = |word: &str| {
        let graph = Net::from_toml(&text(word)).unwrap().graph().unwrap();
        match &graph.layers[1].op {
            Op::Conv(conv) => {
                let p = conv.window.padding;
                (p.top, p.bottom, p.left, p.right)
            }
            _ => unreachable!(),
        }
    };
    assert_eq!(padding("\"same\""), (2, 3, 3, 3));
    // The last window of an even input does not reach the third zero below.
    assert_eq!(padding("3"), (3, 2, 3, 3));
    assert_eq!(padding("\"valid\""), (0, 0, 0, 0));
}
