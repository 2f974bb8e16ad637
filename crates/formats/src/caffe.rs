//! Caffe's `.caffemodel`: the message `NetParameter` with every layer's blobs.
//!
//! Field numbers: BVLC's `src/caffe/proto/caffe.proto`; `layers` (2) are the layers as files had
//! them before 2014-12, `layer` (100) as since.

use prost::Message;

use crate::{Array, Fault};

#[derive(Clone, PartialEq, Message)]
struct Net {
    #[prost(message, repeated, tag = "2")]
    old_layers: Vec<OldLayer>,
    #[prost(message, repeated, tag = "100")]
    layers: Vec<Layer>,
}

#[derive(Clone, PartialEq, Message)]
struct OldLayer {
    #[prost(string, tag = "4")]
    name: String,
    /// `LayerType`, an enumeration.
    #[prost(int32, tag = "5")]
    kind: i32,
    #[prost(message, repeated, tag = "6")]
    blobs: Vec<Blob>,
}

#[derive(Clone, PartialEq, Message)]
struct Layer {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(message, repeated, tag = "7")]
    blobs: Vec<Blob>,
}

#[derive(Clone, PartialEq, Message)]
struct Blob {
    #[prost(int32, tag = "1")]
    num: i32,
    #[prost(int32, tag = "2")]
    channels: i32,
    #[prost(int32, tag = "3")]
    height: i32,
    #[prost(int32, tag = "4")]
    width: i32,
    #[prost(float, repeated, tag = "5")]
    data: Vec<f32>,
    #[prost(message, optional, tag = "7")]
    shape: Option<Shape>,
    #[prost(double, repeated, tag = "8")]
    double_data: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(int64, repeated, tag = "1")]
    dim: Vec<i64>,
}

/// Reads all blobs. A layer's are called `LAYER.weight` and `LAYER.bias`, batch norm's
/// `LAYER.running_mean`, `LAYER.running_var` and `LAYER.factor`.
///
/// # Errors
///
/// If the message is damaged or a blob's shape is not that of its values.
pub fn read(bytes: &[u8]) -> Result<Vec<Array>, Fault> {
    let net = Net::decode(bytes).map_err(|e| Fault::new(format!("{e}; it may be truncated")))?;
    let old = net.old_layers.into_iter().map(|layer| (layer.name, String::new(), layer.blobs));
    let new = net.layers.into_iter().map(|layer| (layer.name, layer.kind, layer.blobs));
    let mut arrays = Vec::new();
    for (layer, kind, blobs) in old.chain(new) {
        for (place, blob) in blobs.into_iter().enumerate() {
            let name = format!("{layer}.{}", role(&kind, place));
            let (shape, values) =
                array(blob).map_err(|fault| Fault::new(format!("blob `{name}`: {fault}")))?;
            arrays.push(Array { name, shape, values });
        }
    }
    if arrays.is_empty() {
        return Err(Fault::new("none of its layers has values; a .prototxt alone has no weights"));
    }
    Ok(arrays)
}

fn role(kind: &str, place: usize) -> String {
    match (kind, place) {
        ("BatchNorm", 0) => "running_mean".to_owned(),
        ("BatchNorm", 1) => "running_var".to_owned(),
        ("BatchNorm", 2) => "factor".to_owned(),
        (_, 0) => "weight".to_owned(),
        (_, 1) => "bias".to_owned(),
        (_, place) => place.to_string(),
    }
}

/// Old files give every blob four axes, the first of them 1 where it has fewer.
fn array(blob: Blob) -> Result<(Vec<usize>, Vec<f32>), Fault> {
    let axes = match blob.shape {
        Some(shape) => shape.dim,
        None => [blob.num, blob.channels, blob.height, blob.width].map(i64::from).to_vec(),
    };
    let values = match blob.data.is_empty() {
        true => blob.double_data.iter().map(|&value| value as f32).collect(),
        false => blob.data,
    };
    let shape: Option<Vec<usize>> = axes.iter().map(|&axis| usize::try_from(axis).ok()).collect();
    let len = |shape: &Vec<usize>| shape.iter().try_fold(1_usize, |n, &axis| n.checked_mul(axis));
    match shape {
        Some(shape) if len(&shape) == Some(values.len()) => Ok((shape, values)),
        _ => Err(Fault::new(format!("{} values for a shape of {axes:?}", values.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(dim: &[i64], data: &[f32]) -> Blob {
        let shape = Some(Shape { dim: dim.to_vec() });
        Blob { shape, data: data.to_vec(), ..Blob::default() }
    }

    fn net() -> Net {
        let layer =
            |name: &str, kind: &str, blobs| Layer { name: name.into(), kind: kind.into(), blobs };
        let conv =
            layer("conv1", "Convolution", vec![blob(&[2, 1], &[1.0, 2.0]), blob(&[1], &[3.0])]);
        let norm = layer("bn", "BatchNorm", vec![blob(&[1], &[4.0]), blob(&[1], &[5.0])]);
        let old = Blob {
            num: 1,
            channels: 1,
            height: 2,
            width: 1,
            data: vec![6.0, 7.0],
            ..Blob::default()
        };
        let old = OldLayer { name: "fc".into(), kind: 14, blobs: vec![old] };
        Net { layers: vec![conv, norm], old_layers: vec![old] }
    }

    #[test]
    fn layers_of_both_generations_are_read() {
        let arrays = read(&net().encode_to_vec()).unwrap();
        let names: Vec<_> = arrays.iter().map(|a| (a.name.as_str(), a.shape.as_slice())).collect();
        let wanted = [
            ("fc.weight", &[1, 1, 2, 1][..]),
            ("conv1.weight", &[2, 1]),
            ("conv1.bias", &[1]),
            ("bn.running_mean", &[1]),
            ("bn.running_var", &[1]),
        ];
        assert_eq!(names, wanted);
        assert_eq!(arrays[0].values, [6.0, 7.0]);
    }

    #[test]
    fn a_shape_has_to_be_that_of_the_values() {
        for dim in [&[3_i64, 1][..], &[-1, -2], &[i64::MAX, i64::MAX], &[]] {
            let mut net = net();
            net.layers[0].blobs[0] = blob(dim, &[1.0, 2.0]);
            let error = read(&net.encode_to_vec()).unwrap_err().to_string();
            assert!(error.contains("conv1.weight") && error.contains("2 values"), "{error}");
        }
    }

    #[test]
    fn truncations_never_pass_for_whole_files() {
        let bytes = net().encode_to_vec();
        let whole = read(&bytes).unwrap();
        for len in 0..bytes.len() {
            if let Ok(arrays) = read(&bytes[..len]) {
                assert!(arrays.len() < whole.len(), "{len}");
            }
        }
    }
}
