//! A model's arrays, found by layer.

use std::collections::HashMap;

use crate::{Array, Fault};

/// Arrays by what a layer calls them. Each is taken once: layers that share weights are not of
/// the Inception family, and a small file could ask for very many copies.
pub(crate) enum Weights {
    /// Under `LAYER/WEIGHT`, the last two parts of Keras' names without `:0`
    /// (`conv2d_7/kernel:0`).
    Named(HashMap<String, Array>),
    /// Under paths of the layers' places, as Keras 3 stores them
    /// (`layers/conv2d_7/vars/0`).
    Placed(HashMap<String, Array>),
}

impl Weights {
    /// Arrays with Keras' names of variables.
    pub(crate) fn named(arrays: Vec<Array>) -> Result<Self, Fault> {
        let mut named = HashMap::with_capacity(arrays.len());
        for array in arrays {
            let key = short(&array.name);
            if named.contains_key(&key) {
                return Err(Fault::new(format!("two arrays are called {key}")));
            }
            named.insert(key, array);
        }
        Ok(Self::Named(named))
    }

    /// Arrays with paths as names.
    pub(crate) fn placed(arrays: Vec<Array>) -> Self {
        Self::Placed(arrays.into_iter().map(|array| (array.name.clone(), array)).collect())
    }

    /// The arrays of one layer, `kinds` of them in Keras' order.
    pub(super) fn take<const N: usize>(
        &mut self,
        layer: &str,
        path: &str,
        kinds: [&str; N],
    ) -> Result<[Array; N], Fault> {
        let mut taken = Vec::with_capacity(N);
        for (i, kind) in kinds.into_iter().enumerate() {
            let (found, name) = match self {
                Self::Named(arrays) => {
                    let name = format!("{layer}/{kind}");
                    (arrays.remove(&name), name)
                }
                Self::Placed(arrays) => {
                    let name = format!("{path}/vars/{i}");
                    (arrays.remove(&name), name)
                }
            };
            taken.push(found.ok_or_else(|| {
                Fault::new(format!("layer {layer}: there is no array {name}, or it is used twice"))
            })?);
        }
        Ok(taken.try_into().expect("one for each kind"))
    }
}

/// `block/conv2d_7/kernel:0` is `conv2d_7/kernel`.
fn short(name: &str) -> String {
    let name = name.strip_suffix(":0").unwrap_or(name);
    let start = name.rmatch_indices('/').nth(1).map_or(0, |(slash, _)| slash + 1);
    name[start..].to_owned()
}
