//! Random networks.

use inception_net::graph::{BatchNorm, Init};
use inception_net::layers::{
    AdaptiveAvgPool, Auxiliary, AvgPool, Branches, Classifier, Conv, Dropout, GlobalAvgPool,
    Linear, LocalResponseNorm, MaxPool, SeparableConv,
};
use inception_net::modules::{A, B, Bn, BnReduction, C, D, E, Pooling, V1, V1Naive};
use inception_net::{Defaults, Input, Net, Pad, Preprocessing, Series, Size, Step};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A network out of any layers; grids may run out, so it need not be valid.
pub fn any() -> impl Strategy<Value = Net> {
    let input = (1usize..4, 1usize..48, 1usize..48);
    let norm = option::of((1e-5f32..0.1, 0.0f32..0.999, proptest::bool::ANY));
    let settings = (input, norm, init(), proptest::bool::ANY, 1usize..20);
    (settings, vec(step(), 1..8)).prop_map(|(settings, mut layers)| {
        let ((channels, height, width), norm, init, count_padding, classes) = settings;
        rename(&mut layers, &mut 0);
        let last = Classifier { name: "last".into(), init: None };
        layers.push(last.into());
        let preprocessing = Preprocessing::symmetric(height, (height, width));
        Net {
            name: "random".into(),
            dialect: None,
            classes,
            input: Input { channels, height, width },
            preprocessing: preprocessing.for_channels(channels),
            defaults: Defaults {
                batch_norm: norm.map(|(epsilon, decay, scale)| BatchNorm { epsilon, decay, scale }),
                init,
                count_padding,
            },
            layers,
        }
    })
}

/// Gives each step a name of its own.
fn rename(steps: &mut Series, next: &mut usize) {
    for step in steps {
        *next += 1;
        let fresh = format!("step-{next}");
        match step {
            Step::Branches(s) => {
                s.name = fresh;
                s.branches.iter_mut().for_each(|branch| rename(branch, next));
            }
            Step::Auxiliary(s) => {
                s.name = fresh;
                rename(&mut s.layers, next);
            }
            Step::Conv(s) => s.name = fresh,
            Step::SeparableConv(s) => s.name = fresh,
            Step::MaxPool(s) => s.name = fresh,
            Step::AvgPool(s) => s.name = fresh,
            Step::GlobalAvgPool(s) => s.name = fresh,
            Step::AdaptiveAvgPool(s) => s.name = fresh,
            Step::LocalResponseNorm(s) => s.name = fresh,
            Step::Dropout(s) => s.name = fresh,
            Step::Linear(s) => s.name = fresh,
            Step::V1Naive(s) => s.name = fresh,
            Step::V1(s) => s.name = fresh,
            Step::Bn(s) => s.name = fresh,
            Step::BnReduction(s) => s.name = fresh,
            Step::A(s) => s.name = fresh,
            Step::B(s) => s.name = fresh,
            Step::C(s) => s.name = fresh,
            Step::D(s) => s.name = fresh,
            Step::E(s) => s.name = fresh,
            Step::AuxiliaryV1(s) => s.name = fresh,
            Step::AuxiliaryV3(s) => s.name = fresh,
            Step::Classifier(s) => s.name = fresh,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let leaf = prop_oneof![8 => layer(), 1 => linear(), 4 => module()];
    leaf.prop_recursive(2, 12, 3, |inner| {
        // Branches of any layers rarely end on the same grid; most keep it.
        let step = prop_oneof![1 => inner.clone(), 12 => keeping()];
        let branch = prop_oneof![1 => Just(Series::new()), 12 => vec(step, 1..3)];
        prop_oneof![
            2 => vec(branch, 2..4)
                .prop_map(|branches| Branches { name: String::new(), branches }.into()),
            1 => (vec(inner, 0..3), 0.0f32..2.0).prop_map(|(mut layers, loss_weight)| {
                let end = Classifier { name: String::new(), init: Some(Init::Truncated(0.01)) };
                layers.push(end.into());
                Auxiliary { name: String::new(), loss_weight, layers }.into()
            }),
        ]
    })
}

/// Steps that keep the grid.
fn keeping() -> impl Strategy<Value = Step> {
    let one = || Size::from(1);
    prop_oneof![
        layer().prop_map(move |mut step| {
            let window = match &mut step {
                Step::Conv(s) => Some((&mut s.stride, &mut s.padding)),
                Step::SeparableConv(s) => Some((&mut s.stride, &mut s.padding)),
                Step::MaxPool(s) => Some((&mut s.stride, &mut s.padding)),
                Step::AvgPool(s) => Some((&mut s.stride, &mut s.padding)),
                _ => None,
            };
            match window {
                Some((stride, padding)) => (*stride, *padding) = (one(), Pad::Same),
                None => step = Dropout { name: String::new(), rate: 0.5 }.into(),
            }
            step
        }),
        module().prop_filter("keeps the grid", |step| {
            !matches!(step, Step::BnReduction(_) | Step::D(_) | Step::E(_))
        }),
        // Branches inside a branch, as in module C.
        vec(layer(), 2..3).prop_map(|pair| {
            let branches = pair
                .into_iter()
                .map(|step| match step {
                    Step::Conv(c) => {
                        vec![Step::Conv(Conv { stride: 1.into(), padding: Pad::Same, ..c })]
                    }
                    _ => vec![Dropout { name: String::new(), rate: 0.25 }.into()],
                })
                .collect();
            Branches { name: String::new(), branches }.into()
        }),
    ]
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![(1usize..5).prop_map(Size::from), (1usize..8, 1usize..8).prop_map(Size::from)]
}

fn pad() -> impl Strategy<Value = Pad> {
    prop_oneof![
        Just(Pad::Same),
        Just(Pad::Valid),
        (0usize..3).prop_map(Pad::all),
        (0usize..3, 0usize..3, 0usize..3, 0usize..3)
            .prop_map(|(top, bottom, left, right)| { Pad::Explicit { top, bottom, left, right } }),
    ]
}

fn init() -> impl Strategy<Value = Init> {
    prop_oneof![Just(Init::He), (0.0f32..1.0).prop_map(Init::Truncated)]
}

/// Kernel, stride, padding.
fn window() -> impl Strategy<Value = (Size, Size, Pad)> {
    let stride = prop_oneof![3 => Just(Size::from(1)), 1 => size()];
    (size(), stride, pad())
}

/// The same for pools, whose padding is smaller than their kernel.
fn pool_window() -> impl Strategy<Value = (Size, Size, Pad)> {
    window().prop_map(|(kernel, stride, padding)| match padding {
        Pad::Explicit { top, bottom, left, right } => {
            let kernel = Size {
                height: kernel.height.max(top.max(bottom) + 1),
                width: kernel.width.max(left.max(right) + 1),
            };
            (kernel, stride, padding)
        }
        _ => (kernel, stride, padding),
    })
}

fn flags() -> impl Strategy<Value = (Option<bool>, Option<bool>, bool, bool)> {
    let flag = || option::of(proptest::bool::ANY);
    // Batch norm cannot be asked for where the network has none, nor beside a bias.
    let norm = prop_oneof![Just(None), Just(Some(false))];
    (norm, flag(), proptest::bool::ANY, proptest::bool::ANY)
        .prop_map(|(norm, bias, relu, other)| (norm, bias.filter(|_| norm.is_some()), relu, other))
}

fn layer() -> impl Strategy<Value = Step> {
    let name = String::new;
    prop_oneof![
        3 => (window(), 1usize..20, flags(), option::of(init())).prop_map(
            move |((kernel, stride, padding), channels, (batch_norm, bias, relu, shrink), init)| {
                let name = name();
                Conv { name, kernel, stride, padding, channels, batch_norm, bias, relu, init, shrink }
                    .into()
            }
        ),
        1 => (window(), 1usize..4, 1usize..20, option::of(init())).prop_map(
            move |((kernel, stride, padding), multiplier, channels, init)| {
                let name = name();
                SeparableConv {
                    name,
                    kernel,
                    stride,
                    padding,
                    multiplier,
                    channels,
                    batch_norm: None,
                    init,
                }
                .into()
            }
        ),
        2 => (pool_window(), proptest::bool::ANY).prop_map(move |((kernel, stride, padding), ceil)| {
            MaxPool { name: name(), kernel, stride, padding, ceil }.into()
        }),
        2 => (pool_window(), flags()).prop_map(
            move |((kernel, stride, padding), (_, _, ceil, count))| {
                let name = name();
                let count_padding = Some(count);
                // Cutting the kernel could leave less than the padding.
                let shrink = padding == Pad::Valid;
                AvgPool { name, kernel, stride, padding, ceil, count_padding, shrink }.into()
            }
        ),
        1 => size().prop_map(move |size| AdaptiveAvgPool { name: name(), size }.into()),
        1 => Just(GlobalAvgPool { name: name() }.into()),
        1 => (0.0f32..0.99).prop_map(move |rate| Dropout { name: name(), rate }.into()),
        1 => (0usize..4, 0.0f32..1.0).prop_map(move |(half, alpha)| {
            LocalResponseNorm { name: name(), size: 2 * half + 1, alpha, beta: 0.75, k: 1.0 }.into()
        }),
    ]
}

fn linear() -> impl Strategy<Value = Step> {
    (1usize..20, flags(), option::of(init())).prop_map(|(features, (_, bias, relu, _), init)| {
        let name = String::new();
        Linear { name, features, batch_norm: false, bias, relu, init }.into()
    })
}

fn module() -> impl Strategy<Value = Step> {
    let width = || 1usize..9;
    let pair = || (1usize..9, 1usize..9);
    let pooling = || prop_oneof![Just(Pooling::Average), Just(Pooling::Max)];
    let name = String::new;
    prop_oneof![
        (width(), width(), width()).prop_map(move |(conv1x1, conv3x3, conv5x5)| {
            V1Naive { name: name(), conv1x1, conv3x3, conv5x5 }.into()
        }),
        (width(), pair(), pair(), width(), prop_oneof![Just(3usize), Just(5)]).prop_map(
            move |(conv1x1, conv3x3, conv5x5, pool_proj, kernel5x5)| {
                V1 { name: name(), conv1x1, conv3x3, conv5x5, pool_proj, kernel5x5 }.into()
            }
        ),
        (width(), pair(), pair(), width(), pooling()).prop_map(
            move |(conv1x1, conv3x3, double3x3, pool_proj, pooling)| {
                Bn { name: name(), conv1x1, conv3x3, double3x3, pool_proj, pooling }.into()
            }
        ),
        (pair(), pair()).prop_map(move |(conv3x3, double3x3)| {
            BnReduction { name: name(), conv3x3, double3x3 }.into()
        }),
        (width(), pair(), pair(), width(), proptest::bool::ANY).prop_map(
            move |(conv1x1, second, double3x3, pool, five)| {
                let (conv3x3, conv5x5) =
                    if five { (None, Some(second)) } else { (Some(second), None) };
                A { name: name(), conv1x1, conv3x3, conv5x5, double3x3, pool }.into()
            }
        ),
        (width(), pair(), pair(), width(), 1usize..8).prop_map(
            move |(conv1x1, nxn, nxndbl, pool, n)| {
                B { name: name(), conv1x1, nxn, nxndbl, pool, n }.into()
            }
        ),
        (width(), pair(), pair(), width(), pooling()).prop_map(
            move |(conv1x1, conv3x3, double3x3, pool, pooling)| {
                C { name: name(), conv1x1, conv3x3, double3x3, pool, pooling }.into()
            }
        ),
        (width(), pair(), pad()).prop_map(move |(conv3x3, double3x3, padding)| {
            D { name: name(), conv3x3, double3x3, padding }.into()
        }),
        (pair(), pair(), 1usize..8).prop_map(move |(conv3x3, nxn3x3, n)| {
            E { name: name(), conv3x3, nxn3x3, n, padding: Pad::Valid }.into()
        }),
    ]
}
