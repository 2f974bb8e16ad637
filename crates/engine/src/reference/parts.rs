//! The layers without arithmetic of their own.

use inception_kernels::reference::Tensor;
use inception_net::graph::LayerId;

use super::Keep;

/// Dropout, and its gradient too.
pub(super) fn dropped(x: &Tensor, layer: LayerId, rate: f32, keep: Option<Keep>) -> Tensor {
    let mut y = x.clone();
    if let Some(keep) = keep {
        let factor = 1.0 / (1.0 - f64::from(rate));
        for at in x.indices() {
            y[at] *= if keep(layer, at) { factor } else { 0.0 };
        }
    }
    y
}

/// The channels of all tensors, one after the other.
pub(super) fn concatenated<'t>(parts: impl Iterator<Item = &'t Tensor> + Clone) -> Tensor {
    let [pictures, _, height, width] = parts.clone().next().expect("a part").shape;
    let channels = parts.clone().map(|part| part.shape[1]).sum();
    let mut whole = Tensor::zeros([pictures, channels, height, width]);
    let mut first = 0;
    for part in parts {
        for at @ [n, c, y, x] in part.indices() {
            whole[[n, first + c, y, x]] = part[at];
        }
        first += part.shape[1];
    }
    whole
}

/// The inverse of [`concatenated`], given each part's number of channels.
pub(super) fn split(whole: &Tensor, channels: impl Iterator<Item = usize>) -> Vec<Tensor> {
    let [pictures, _, height, width] = whole.shape;
    let mut first = 0;
    let part = |channels| {
        let mut part = Tensor::zeros([pictures, channels, height, width]);
        for at @ [n, c, y, x] in part.indices() {
            part[at] = whole[[n, first + c, y, x]];
        }
        first += channels;
        part
    };
    channels.map(part).collect()
}

pub(super) fn add(to: &mut Tensor, what: &Tensor) {
    assert_eq!(to.shape, what.shape);
    to.data.iter_mut().zip(&what.data).for_each(|(to, what)| *to += what);
}
