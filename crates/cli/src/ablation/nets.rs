//! `inception-v3-small` with one thing changed.

use inception_net::layers::{Branches, Conv};
use inception_net::{Net, Pad, Series, Size, Step};

/// The network under another name. It is no built-in one any more.
pub fn named(net: Net, name: &str) -> Net {
    Net { name: format!("ablation-{name}"), dialect: None, ..net }
}

/// The stem's 3×3 and 3×3 of stride 2 as the one 5×5 of stride 2 that sees the same: at this size
/// the counterpart of the paper's 7×7, which it factorised into three 3×3.
pub fn unfactorised_stem(net: Net) -> Net {
    let stem = pairs(&net.layers[..2], |first, second| {
        let five = Conv { kernel: 5.into(), ..second.clone() };
        is_square(first, 3).then(|| vec![five.into()])
    });
    Net { layers: [&stem, &net.layers[2..]].concat(), ..net }
}

/// The auxiliary head with or without batch norm on its fully connected layer; `None` for no head.
pub fn auxiliary(net: Net, batch_norm: Option<bool>) -> Net {
    let layers = net.layers.iter().filter_map(|step| match (step, batch_norm) {
        (Step::AuxiliaryV3(_), None) => None,
        (Step::AuxiliaryV3(head), Some(batch_norm)) => {
            Some(Step::AuxiliaryV3(inception_net::modules::AuxiliaryV3 {
                batch_norm,
                ..head.clone()
            }))
        }
        _ => Some(step.clone()),
    });
    Net { layers: layers.collect(), ..net }
}

/// No ReLU between the two 3×3 of the modules A (1512.00567 §3.1, figure 2).
pub fn linear_factors(net: Net) -> Net {
    in_modules(net, is_a, |branch| {
        pairs(branch, |first, second| {
            let linear = Conv { relu: false, ..first.clone() };
            both_square(first, second).then(|| vec![linear.into(), second.clone().into()])
        })
    })
}

/// One 5×5 for the two 3×3 of the modules A.
pub fn five_by_five(net: Net) -> Net {
    in_modules(net, is_a, |branch| {
        pairs(branch, |first, second| {
            let five = Conv { kernel: 5.into(), ..second.clone() };
            both_square(first, second).then(|| vec![five.into()])
        })
    })
}

/// One n×n for each 1×n and n×1 of the modules B and E.
pub fn square_kernels(net: Net) -> Net {
    let asymmetric = |step: &Step| matches!(step, Step::B(_) | Step::E(_));
    in_modules(net, asymmetric, |branch| {
        pairs(branch, |first, second| {
            let (a, b) = (first.kernel, second.kernel);
            let crossed = a.height == b.width && a.width == b.height && a.height != a.width;
            let side = a.height.max(a.width);
            crossed.then(|| vec![Conv { kernel: side.into(), ..second.clone() }.into()])
        })
    })
}

/// On which side of the convolutions a grid-size reduction pools.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PoolSide {
    /// First: the representation is quartered before it is widened.
    Before,
    /// Last: all convolutions work on the larger grid.
    After,
}

/// Reductions D and E with their convolutions at stride 1, of the same widths, and the pool before
/// or after instead of beside them (§5, figure 9).
pub fn pooling(net: Net, side: PoolSide) -> Net {
    let mut layers = Series::new();
    for step in &net.layers {
        let reduction = matches!(step, Step::D(_) | Step::E(_));
        let Some(branches) = step.branches().filter(|_| reduction) else {
            layers.push(step.clone());
            continue;
        };
        let mut pool = None;
        let mut convolutions = Vec::new();
        for branch in branches {
            match branch.as_slice() {
                [Step::MaxPool(found)] => {
                    let name = format!("{}_pool", step.name());
                    pool = Some(Step::MaxPool(inception_net::layers::MaxPool {
                        name,
                        ..found.clone()
                    }));
                    // What was pooled is passed through.
                    convolutions.push(Series::new());
                }
                _ => convolutions.push(branch.into_iter().map(without_stride).collect()),
            }
        }
        let module: Step = Branches { name: step.name().to_owned(), branches: convolutions }.into();
        let pool = pool.into_iter();
        match side {
            PoolSide::Before => layers.extend(pool.chain([module])),
            PoolSide::After => layers.extend([module].into_iter().chain(pool)),
        }
    }
    Net { layers, ..net }
}

fn without_stride(step: Step) -> Step {
    match step {
        Step::Conv(conv) => Conv { stride: 1.into(), padding: Pad::Same, ..conv }.into(),
        other => other,
    }
}

fn is_a(step: &Step) -> bool {
    matches!(step, Step::A(_))
}

fn is_square(conv: &Conv, side: usize) -> bool {
    conv.kernel == Size::from(side)
}

fn both_square(first: &Conv, second: &Conv) -> bool {
    is_square(first, 3) && is_square(second, 3)
}

/// The network with each branch of some modules changed.
fn in_modules(net: Net, chosen: impl Fn(&Step) -> bool, change: impl Fn(&[Step]) -> Series) -> Net {
    let layers = net.layers.iter().map(|step| match step.branches().filter(|_| chosen(step)) {
        Some(branches) => {
            let branches = branches.iter().map(|branch| change(branch)).collect();
            Branches { name: step.name().to_owned(), branches }.into()
        }
        None => step.clone(),
    });
    Net { layers: layers.collect(), ..net }
}

/// A series in which pairs of consecutive convolutions are something else, where `change` says so.
fn pairs(series: &[Step], change: impl Fn(&Conv, &Conv) -> Option<Series>) -> Series {
    let mut changed = Series::new();
    let mut rest = series;
    while let [step, others @ ..] = rest {
        rest = others;
        if let (Step::Conv(first), [Step::Conv(second), after @ ..]) = (step, others)
            && let Some(new) = change(first, second)
        {
            changed.extend(new);
            rest = after;
            continue;
        }
        changed.push(step.clone());
    }
    changed
}
