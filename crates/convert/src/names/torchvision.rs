//! torchvision's names, which timm and pytorch-fid have too.
//!
//! torchvision: `models/inception.py` (its names of Inception v3 are ours), `models/googlenet.py`;
//! timm: `models/inception_v3.py`; pytorch-fid: `inception.py`, whose 1008 outputs tell it apart.

use inception_formats::SETTINGS;
use inception_net::graph::Graph;
use inception_net::preprocessing::{Preprocessing, Protocol, Resize};
use inception_net::zoo::Dialect;

use super::{Arrays, Found, Library, Source, same, timm};

pub(super) const TORCHVISION: Library = Library {
    name: "torchvision",
    recognise,
    sources,
    ignores: |name| name.ends_with("num_batches_tracked"),
    adapt: |_| {},
};

/// Outputs of the graph of 2015.
const FID_CLASSES: usize = 1008;

pub(super) fn recognise(arrays: &Arrays) -> Option<Found> {
    let classes = arrays.axis("fc.bias", 0)?;
    if arrays.has("Mixed_7c.branch3x3dbl_3b.conv.weight") {
        let fid = classes == FID_CLASSES;
        return Some(Found {
            network: "inception-v3",
            dialect: if fid { Dialect::Fid2015 } else { Dialect::Torchvision },
            classes,
            auxiliary: arrays.any_under("AuxLogits."),
            preprocessing: match fid {
                true => Some(pytorch_fid()),
                false => arrays.note(SETTINGS).and_then(timm::from_settings),
            },
        });
    }
    arrays.has("inception5b.branch4.1.conv.weight").then_some(Found {
        network: "googlenet",
        dialect: Dialect::Torchvision,
        classes,
        auxiliary: arrays.any_under("aux1."),
        preprocessing: None,
    })
}

/// pytorch-fid maps [0, 255] onto [-1, 1], where the graph that its weights come from has
/// (v - 128) / 128, and resizes with PyTorch's `interpolate`.
fn pytorch_fid() -> Preprocessing {
    Preprocessing {
        resize: Resize::Exact { height: 299, width: 299 },
        protocol: Protocol::TorchvisionAliased,
        crop: None,
        ..Preprocessing::symmetric(0, (299, 299))
    }
}

fn sources(network: &str, graph: &Graph) -> Option<Vec<Source>> {
    let rename: fn(&str) -> String = match network {
        "inception-v3" => str::to_owned,
        "googlenet" => googlenet,
        _ => return None,
    };
    Some(graph.parameters().iter().map(|p| same(rename(&p.name))).collect())
}

/// `inception_3a.3x3_reduce.conv.weight` is `inception3a.branch2.0.conv.weight`.
fn googlenet(name: &str) -> String {
    const BRANCHES: [(&str, &str); 6] = [
        ("1x1", "branch1"),
        ("3x3_reduce", "branch2.0"),
        ("3x3", "branch2.1"),
        ("5x5_reduce", "branch3.0"),
        ("5x5", "branch3.1"),
        ("pool_proj", "branch4.1"),
    ];
    let (layer, rest) = name.split_once('.').unwrap_or((name, ""));
    if let Some(module) = layer.strip_prefix("inception_") {
        let (layer, rest) = rest.split_once('.').unwrap_or((rest, ""));
        let branch = BRANCHES.iter().find(|(ours, _)| *ours == layer).map_or(layer, |(_, b)| b);
        return format!("inception{module}.{branch}.{rest}");
    }
    let layer = match layer {
        "conv2_reduce" => "conv2",
        "conv2" => "conv3",
        other => other,
    };
    format!("{layer}.{rest}")
}
