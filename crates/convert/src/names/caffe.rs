//! Caffe's layer names: BVLC's `bvlc_googlenet` (models/bvlc_googlenet/train_val.prototxt).
//!
//! A layer's first blob is `LAYER.weight`, its second `LAYER.bias`.

use inception_net::graph::Graph;
use inception_net::zoo::Dialect;

use super::{Arrays, Found, Library, Source, same};

pub(super) const CAFFE: Library =
    Library { name: "caffe", recognise, sources, ignores: |_| false, adapt: |_| {} };

fn recognise(arrays: &Arrays) -> Option<Found> {
    let googlenet =
        arrays.has("conv1/7x7_s2.weight") && arrays.has("inception_5b/pool_proj.weight");
    googlenet.then_some(Found {
        network: "googlenet",
        dialect: Dialect::Paper,
        // Old files give each blob four axes.
        classes: arrays.get("loss3/classifier.bias")?.values.len(),
        auxiliary: arrays.any_under("loss1/"),
        preprocessing: None,
    })
}

fn sources(network: &str, graph: &Graph) -> Option<Vec<Source>> {
    (network == "googlenet")
        .then(|| graph.parameters().iter().map(|p| same(caffe_name(&p.name))).collect())
}

/// `inception_3a.1x1.conv.weight` is `inception_3a/1x1.weight`.
fn caffe_name(name: &str) -> String {
    let (layer, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let layer = layer.strip_suffix(".conv").unwrap_or(layer);
    let layer = match layer {
        "conv1" => "conv1/7x7_s2".to_owned(),
        "conv2_reduce" => "conv2/3x3_reduce".to_owned(),
        "conv2" => "conv2/3x3".to_owned(),
        "fc" => "loss3/classifier".to_owned(),
        "aux1.conv" => "loss1/conv".to_owned(),
        "aux1.fc1" => "loss1/fc".to_owned(),
        "aux1.fc2" => "loss1/classifier".to_owned(),
        "aux2.conv" => "loss2/conv".to_owned(),
        "aux2.fc1" => "loss2/fc".to_owned(),
        "aux2.fc2" => "loss2/classifier".to_owned(),
        module => module.replacen('.', "/", 1),
    };
    format!("{layer}.{kind}")
}
