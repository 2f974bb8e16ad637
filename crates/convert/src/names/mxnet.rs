//! MXNet's Inception-BN (`example/image-classification/symbols/inception-bn.py`), published as
//! `Inception-BN-0126.params`.
//!
//! It is the paper's BN-Inception with differences: a plain 7×7 in front, its two first pools
//! without padding, strided windows padded by 1 on both sides, average pools that count padding,
//! 128 channels after the pools of 4c and 4d, ε 1e-5. Its convolutions have a bias before batch
//! norm, which is taken from the running mean here. `use_global_stats` and pools' conventions
//! stand in a file of their own, which weights are published with but which is not read.

use inception_net::graph::{BatchNorm, Graph, Role};
use inception_net::layers::{Branches, conv, max_pool};
use inception_net::preprocessing::{ChannelOrder, Preprocessing, Resize};
use inception_net::zoo::Dialect;
use inception_net::{Net, Pad, Step};

use super::{Arrays, Found, Library, Source, same};

pub(super) const MXNET: Library =
    Library { name: "mxnet", recognise, sources, ignores: |_| false, adapt };

fn recognise(arrays: &Arrays) -> Option<Found> {
    let (mean, std) = ([123.68_f32, 116.779, 103.939], 255.0_f32.recip());
    arrays.has("arg:conv_5b_double_3x3_1_weight").then_some(Found {
        network: "bn-inception",
        dialect: Dialect::Paper,
        classes: arrays.axis("arg:fc1_bias", 0)?,
        auxiliary: false,
        // The published model's own: RGB minus these means, nothing divided.
        preprocessing: Some(Preprocessing {
            resize: Resize::Shorter(256),
            order: ChannelOrder::Rgb,
            mean: mean.map(|m| m / 255.0).to_vec(),
            std: vec![std; 3],
            ..Preprocessing::symmetric(256, (224, 224))
        }),
    })
}

/// Makes MXNet's network of the paper's.
fn adapt(net: &mut Net) {
    net.name = "bn-inception-mxnet".to_owned();
    net.dialect = None;
    net.defaults.count_padding = true;
    net.defaults.batch_norm = Some(BatchNorm { epsilon: 1e-5, decay: 0.9, scale: true });
    for step in &mut net.layers {
        match step {
            Step::SeparableConv(first) => {
                let plain = conv("conv1", 7, first.channels).stride(2).padding(Pad::all(3));
                *step = plain.into();
            }
            Step::MaxPool(pool) => pool.padding = Pad::Valid,
            Step::Bn(module) if ["inception_4c", "inception_4d"].contains(&&*module.name) => {
                module.pool_proj = 128;
            }
            Step::BnReduction(module) => {
                let halved =
                    |name: &str, width| conv(name, 3, width).stride(2).padding(Pad::all(1)).into();
                *step = Step::Branches(Branches {
                    name: module.name.clone(),
                    branches: vec![
                        vec![
                            conv("3x3_reduce", 1, module.conv3x3.0).into(),
                            halved("3x3", module.conv3x3.1),
                        ],
                        vec![
                            conv("double_3x3_reduce", 1, module.double3x3.0).into(),
                            conv("double_3x3_1", 3, module.double3x3.1).into(),
                            halved("double_3x3_2", module.double3x3.1),
                        ],
                        vec![max_pool("pool", 3).stride(2).padding(Pad::all(1)).into()],
                    ],
                });
            }
            _ => {}
        }
    }
}

fn sources(network: &str, graph: &Graph) -> Option<Vec<Source>> {
    (network == "bn-inception-mxnet").then(|| {
        let parameters = graph.parameters();
        parameters.iter().map(|p| source(&graph.layers[p.layer].name, p.role)).collect()
    })
}

/// `inception_3a.double_3x3_1` is `3a_double_3x3_0`.
fn source(layer: &str, role: Role) -> Source {
    if layer == "fc" {
        return same(format!("arg:fc1_{}", if role == Role::Bias { "bias" } else { "weight" }));
    }
    let layer = match layer {
        "conv1" => "1".to_owned(),
        "conv2_reduce" => "2_red".to_owned(),
        "conv2" => "2".to_owned(),
        module => {
            let name = module.trim_start_matches("inception_").replacen('.', "_", 1);
            let ends = [("double_3x3_1", "double_3x3_0"), ("double_3x3_2", "double_3x3_1")];
            let ends = [&ends[..], &[("pool_proj", "proj")]].concat();
            let end = ends.iter().find(|(ours, _)| name.ends_with(ours));
            end.map_or(name.clone(), |(ours, theirs)| name.replace(ours, theirs))
        }
    };
    match role {
        Role::Weight => same(format!("arg:conv_{layer}_weight")),
        Role::Bias => same(format!("arg:conv_{layer}_bias")),
        Role::Scale => same(format!("arg:bn_{layer}_gamma")),
        Role::Shift => same(format!("arg:bn_{layer}_beta")),
        Role::RunningMean => Source::Difference {
            name: format!("aux:bn_{layer}_moving_mean"),
            minus: format!("arg:conv_{layer}_bias"),
        },
        Role::RunningVariance => same(format!("aux:bn_{layer}_moving_var")),
    }
}
