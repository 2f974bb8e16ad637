//! Frozen graphs that TensorFlow wrote (`peers/tensorflow_fixtures.py`), and hostile ones. What
//! the former compute is compared in `convert`.

use std::path::Path;

use inception_formats::graph::{Op, Padding};
use inception_formats::tensorflow::frozen::{self, Grid, Interpolation, Resize};

fn data(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../convert/tests/data/tensorflow");
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn the_operations_of_2015() {
    let read = frozen::read(&data("of-2015.pb")).unwrap();
    let picture = read.picture.unwrap();
    let resize = Resize { kind: Interpolation::Bilinear, size: (15, 15), grid: Grid::Corner };
    assert_eq!(picture.resize, Some(resize));
    let node = |name: &str| read.graph.nodes.iter().find(|node| node.name == name).unwrap();
    assert_eq!(node("DecodeJpeg").op, Op::Input { shape: [Some(3), Some(15), Some(15)] });
    match &node("conv/batchnorm").op {
        Op::BatchNorm { scale: Some(scale), epsilon, .. } => {
            assert_eq!((scale.as_slice(), *epsilon), (&[1.5; 4][..], 1e-3));
        }
        other => panic!("{other:?}"),
    }
    match &node("conv/Conv2D").op {
        Op::Conv { shape, stride, padding, .. } => {
            assert_eq!((*shape, *stride), ([4, 3, 3, 3], (2, 2)));
            assert_eq!(*padding, Padding::Explicit([0; 4]));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(node("mixed/tower_1/pool").op, Op::AvgPool { count_padding: false, .. }));
    assert!(matches!(node("mixed_1/tower/pool").op, Op::MaxPool(_)));
    let outputs: Vec<_> =
        read.graph.outputs.iter().map(|&node| read.graph.nodes[node].name.as_str()).collect();
    assert_eq!(outputs, ["softmax"]);
    for (place, node) in read.graph.nodes.iter().enumerate() {
        assert!(node.inputs.iter().all(|&input| input < place));
    }
}

#[test]
fn a_dropout_is_found_again() {
    let read = frozen::read(&data("spelled-out.pb")).unwrap();
    let dropouts: Vec<_> = read
        .graph
        .nodes
        .iter()
        .filter_map(|node| if let Op::Dropout { rate } = node.op { Some(rate) } else { None })
        .collect();
    assert_eq!(dropouts, [0.25]);
    assert!(read.picture.is_none());
}

#[test]
fn damaged_bytes_never_panic() {
    for name in ["of-2015.pb", "spelled-out.pb"] {
        let bytes = data(name);
        for cut in (0..bytes.len()).step_by(7) {
            // Between two operations a shorter graph is a graph.
            let _ = frozen::read(&bytes[..cut]);
        }
        for place in (0..bytes.len()).step_by(3) {
            let mut bytes = bytes.clone();
            bytes[place] ^= 0x55;
            let _ = frozen::read(&bytes);
        }
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn field(number: u64, contents: impl AsRef<[u8]>) -> Vec<u8> {
    let contents = contents.as_ref();
    [varint(number << 3 | 2), varint(contents.len() as u64), contents.to_vec()].concat()
}

/// An operation with attributes that are messages already.
fn node(name: &str, op: &str, inputs: &[&str], attributes: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = [field(1, name), field(2, op)].concat();
    inputs.iter().for_each(|input| bytes.extend(field(3, input)));
    for (key, value) in attributes {
        bytes.extend(field(5, [field(1, key), field(2, value)].concat()));
    }
    field(1, bytes)
}

/// Floats of this shape, all the one value that is stored.
fn constant(name: &str, shape: &[u64]) -> Vec<u8> {
    let axes: Vec<u8> =
        shape.iter().flat_map(|&axis| field(2, [vec![8], varint(axis)].concat())).collect();
    let tensor = [vec![8, 1], field(2, axes), field(5, 0.5_f32.to_le_bytes())].concat();
    node(name, "Const", &[], &[("value", field(8, tensor))])
}

fn placeholder() -> Vec<u8> {
    let axes = [u64::MAX, 9, 9, 3].map(|axis| field(2, [vec![8], varint(axis)].concat()));
    let attributes = [("dtype", vec![0x30, 1]), ("shape", field(7, axes.concat()))];
    node("x", "Placeholder", &[], &attributes)
}

fn conv(name: &str, inputs: &[&str]) -> Vec<u8> {
    let strides = field(1, field(3, [1, 1, 1, 1]));
    node(name, "Conv2D", inputs, &[("strides", strides), ("padding", field(2, "SAME"))])
}

fn fault(nodes: &[Vec<u8>]) -> String {
    frozen::read(&nodes.concat()).unwrap_err().to_string()
}

#[test]
fn what_a_graph_may_not_say() {
    let weights = constant("w", &[3, 3, 3, 4]);
    let good = [placeholder(), weights.clone(), conv("y", &["x", "w"])];
    let read = frozen::read(&good.concat()).unwrap();
    assert_eq!(read.graph.nodes.len(), 2);

    let cyclic = [weights.clone(), conv("y", &["z", "w"]), node("z", "Relu", &["y"], &[])];
    assert!(fault(&cyclic).contains("loop"));
    assert!(fault(&[conv("y", &["nowhere", "w"]), weights.clone()]).contains("not in the graph"));
    assert!(fault(&[weights.clone(), weights.clone()]).contains("two operations"));
    assert!(fault(&[]).contains("computes nothing"));
    assert!(fault(&[vec![8, 1]]).contains("SavedModel"));

    let variable = node("w", "VariableV2", &[], &[]);
    assert!(fault(&[placeholder(), variable, conv("y", &["x", "w"])]).contains("freeze the graph"));
    let relu6 = node("z", "Relu6", &["y"], &[]);
    let ended = [placeholder(), weights.clone(), conv("y", &["x", "w"]), relu6];
    assert!(fault(&ended).starts_with("`z` (Relu6)"));
    let misfit = [placeholder(), constant("w", &[3, 3, 2, 4]), conv("y", &["x", "w"])];
    assert!(fault(&misfit).contains("filters for 2 channels, of which there are 3"));
}

#[test]
fn a_small_graph_does_not_fill_the_memory() {
    // One stored value for 4·10⁹.
    let huge = constant("w", &[1 << 16, 1 << 16]);
    assert!(fault(&[placeholder(), huge]).contains("far more values"));
    // One constant, read by many operations.
    let mut many = vec![placeholder(), constant("w", &[3, 3, 3, 10_000])];
    many.extend((0..100).map(|i| conv(&format!("y{i}"), &["x", "w"])));
    assert!(fault(&many).contains("far more values"));
    // Sizes that multiply to nothing or overflow.
    for shape in [[0, 1 << 62, 1 << 62, 1 << 62], [1 << 40, 1 << 40, 1, 1]] {
        assert!(!fault(&[placeholder(), constant("w", &shape), conv("y", &["x", "w"])]).is_empty());
    }
}
