//! What is known of published packages whose files do not say it.

use std::collections::BTreeMap;

use inception_net::Net;
use inception_net::preprocessing::{
    ChannelOrder, Filter, Preprocessing, Protocol, Resize, Rounding,
};

/// How a package uses its model.
pub(crate) struct Package {
    /// What its code does with a picture.
    pub preprocessing: Preprocessing,
    /// The classes' names, in the order of the outputs.
    pub labels: Vec<String>,
}

/// The package that `notes` name, if its model is this network.
pub(crate) fn known(notes: &BTreeMap<String, String>, net: &Net) -> Option<Package> {
    (notes.get("package").map(String::as_str) == Some("nsfwjs")
        && net.classes == NSFWJS.len()
        && net.input.channels == 3)
        .then(|| Package {
            // nsfwjs' `infer`: values by 255, then `resizeBilinear` with aligned corners.
            preprocessing: Preprocessing {
                central: None,
                resize: Resize::Exact { height: net.input.height, width: net.input.width },
                filter: Filter::Bilinear,
                protocol: Protocol::AlignCorners,
                crop: None,
                rounding: Rounding::default(),
                order: ChannelOrder::Rgb,
                mean: vec![0.0; 3],
                std: vec![1.0; 3],
            },
            labels: NSFWJS.map(str::to_owned).into(),
        })
}

/// Its `nsfw_classes`.
const NSFWJS: [&str; 5] = ["Drawing", "Hentai", "Neutral", "Porn", "Sexy"];
