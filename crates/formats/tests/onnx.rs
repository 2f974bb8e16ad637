//! ONNX files made here: what they become, and that no bytes do harm.

use inception_formats::graph::{Graph, Op, Padding, Pool};
use inception_formats::onnx::messages::{
    Attribute, Dimension, FLOAT, Graph as OnnxGraph, INT64, Model, Node, OperatorSet, Shape,
    Tensor, TensorType, Type, ValueInfo,
};
use inception_formats::onnx::{read, read_with};
use prost::Message;

/// A model under construction.
#[derive(Default)]
struct Maker {
    nodes: Vec<Node>,
    tensors: Vec<Tensor>,
}

impl Maker {
    fn node(mut self, op: &str, inputs: &[&str], output: &str, attributes: &[Attribute]) -> Self {
        self.nodes.push(Node {
            inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
            outputs: vec![output.to_owned()],
            op_type: op.to_owned(),
            attributes: attributes.iter().map(|a| a.encode_to_vec().into()).collect(),
            ..Node::default()
        });
        self
    }

    fn floats(mut self, name: &str, shape: &[i64], values: &[f32]) -> Self {
        self.tensors.push(Tensor {
            dims: shape.to_vec(),
            data_type: FLOAT,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into(),
            ..Tensor::default()
        });
        self
    }

    fn whole(mut self, name: &str, values: &[i64]) -> Self {
        self.tensors.push(Tensor {
            dims: vec![values.len() as i64],
            data_type: INT64,
            name: name.to_owned(),
            int64_data: values.to_vec(),
            ..Tensor::default()
        });
        self
    }

    fn model(self, input: &[i64], output: &str) -> Vec<u8> {
        let dims = input.iter().map(|&n| Dimension { value: Some(n), name: None }).collect();
        let tensor = TensorType { elem_type: FLOAT, shape: Some(Shape { dims }) };
        let input = ValueInfo { name: "x".to_owned(), kind: Some(Type { tensor: Some(tensor) }) };
        let output = ValueInfo { name: output.to_owned(), kind: None };
        let graph = OnnxGraph {
            nodes: self.nodes.iter().map(|node| node.encode_to_vec().into()).collect(),
            name: "test".to_owned(),
            initializers: self.tensors.iter().map(|t| t.encode_to_vec().into()).collect(),
            inputs: vec![input.encode_to_vec().into()],
            outputs: vec![output.encode_to_vec().into()],
        };
        let version = OperatorSet { domain: String::new(), version: 13 };
        Model { ir_version: 7, graph: Some(graph), opset_import: vec![version], ..Model::default() }
            .encode_to_vec()
    }
}

fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute { name: name.to_owned(), ints: values.to_vec(), kind: 7, ..Attribute::default() }
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.to_owned(), i: Some(i), kind: 2, ..Attribute::default() }
}

fn lowered(bytes: &[u8]) -> Graph {
    read(bytes).unwrap_or_else(|fault| panic!("{fault}")).graph
}

fn refused(bytes: &[u8], reason: &str) {
    let fault = read(bytes).expect_err(reason).to_string();
    assert!(fault.contains(reason), "{fault}");
}

/// A model with most of what an Inception has.
fn small() -> Vec<u8> {
    Maker::default()
        .floats("m.conv.weight", &[2, 3, 1, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .floats("ones", &[2], &[1.0, 1.0])
        .floats("m.fc.weight", &[2, 5], &[0.5; 10])
        .floats("bias", &[2], &[0.25, 0.5])
        .whole("flat", &[0, -1])
        .node("Conv", &["x", "m.conv.weight"], "c", &[ints("strides", &[1, 1])])
        .node("BatchNormalization", &["c", "ones", "bias", "bias", "ones"], "n", &[])
        .node("Relu", &["n"], "r", &[])
        .node(
            "AveragePool",
            &["x"],
            "p",
            &[ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4]), int("count_include_pad", 1)],
        )
        .node("Concat", &["r", "p"], "j", &[int("axis", 1)])
        .node("GlobalAveragePool", &["j"], "g", &[])
        .node("Reshape", &["g", "flat"], "f", &[])
        .node("Gemm", &["f", "m.fc.weight", "bias"], "l", &[int("transB", 1)])
        .node("Softmax", &["l"], "y", &[])
        .model(&[1, 3, 8, 9], "y")
}

#[test]
fn a_small_inception() {
    let graph = lowered(&small());
    let ops: Vec<&Op> = graph.nodes.iter().map(|node| &node.op).collect();
    assert_eq!(*ops[0], Op::Input { shape: [Some(3), Some(8), Some(9)] });
    let conv = Op::Conv {
        filters: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        shape: [2, 3, 1, 1],
        bias: None,
        stride: (1, 1),
        padding: Padding::Explicit([0; 4]),
        groups: 1,
    };
    assert_eq!(*ops[1], conv);
    assert_eq!(graph.nodes[1].name, "m", "named by its weights");
    let pool =
        Pool { kernel: (3, 3), stride: (1, 1), padding: Padding::Explicit([1; 4]), ceil: false };
    assert_eq!(*ops[4], Op::AvgPool { pool, count_padding: true });
    assert_eq!((ops[5], graph.nodes[5].inputs.as_slice()), (&Op::Concat, &[3, 4][..]));
    let linear = Op::Linear { matrix: vec![0.5; 10], shape: [2, 5], bias: Some(vec![0.25, 0.5]) };
    assert_eq!(*ops[8], linear);
    assert_eq!((ops[9], graph.outputs.as_slice()), (&Op::Softmax, &[9][..]));
}

#[test]
fn a_matrix_read_across_is_turned() {
    let bytes = Maker::default()
        .floats("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .node("Flatten", &["x"], "f", &[])
        .node("MatMul", &["f", "w"], "y", &[])
        .model(&[1, 3, 1, 1], "y");
    let matrix = vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0];
    let linear = Op::Linear { matrix, shape: [2, 3], bias: None };
    assert_eq!(lowered(&bytes).nodes[2].op, linear);
}

#[test]
fn channels_may_be_last_in_the_picture() {
    let bytes = Maker::default()
        .floats("w", &[1, 3, 1, 1], &[1.0; 3])
        .floats("half", &[], &[0.5])
        .node("Mul", &["x", "half"], "h", &[])
        .node("Transpose", &["h"], "t", &[ints("perm", &[0, 3, 1, 2])])
        .node("Conv", &["t", "w"], "y", &[])
        .model(&[1, 8, 9, 3], "y");
    let graph = lowered(&bytes);
    assert_eq!(graph.nodes[0].op, Op::Input { shape: [Some(3), Some(8), Some(9)] });
    assert_eq!(graph.nodes[1].op, Op::Affine { factor: vec![0.5], offset: vec![0.0] });
}

#[test]
fn channels_scaled_one_by_one_are_a_scaling() {
    let mut maker = Maker::default();
    for channel in 0..3 {
        let [at, one, scaled, moved, factor, offset, axis] =
            ["at", "one", "scaled", "moved", "factor", "offset", "axis"]
                .map(|name| format!("{name}{channel}"));
        maker = maker
            .whole(&at, &[channel])
            .whole(&axis, &[1])
            .floats(&factor, &[], &[2.0 + channel as f32])
            .floats(&offset, &[], &[1.0])
            .node("Gather", &["x", &at], &one, &[int("axis", 1)])
            .node("Mul", &[&one, &factor], &scaled, &[])
            .node("Unsqueeze", &[&scaled, &axis], &format!("wide{channel}"), &[])
            .node("Add", &[&format!("wide{channel}"), &offset], &moved, &[]);
    }
    let bytes = maker
        .node("Concat", &["moved0", "moved1", "moved2"], "y", &[int("axis", 1)])
        .model(&[1, 3, 4, 4], "y");
    let op = Op::Affine { factor: vec![2.0, 3.0, 4.0], offset: vec![1.0; 3] };
    assert_eq!(lowered(&bytes).nodes[1].op, op);
}

#[test]
fn zeros_around_a_convolutions_input_become_its_padding() {
    let bytes = Maker::default()
        .floats("w", &[1, 3, 1, 1], &[1.0; 3])
        .whole("pads", &[0, 0, 1, 2, 0, 0, 3, 4])
        .node("Pad", &["x", "pads"], "p", &[])
        .node("Conv", &["p", "w"], "y", &[])
        .model(&[1, 3, 4, 4], "y");
    let Op::Conv { padding, .. } = &lowered(&bytes).nodes[1].op else { panic!("a convolution") };
    assert_eq!(*padding, Padding::Explicit([1, 3, 2, 4]));
}

#[test]
fn what_no_inception_does_is_named() {
    let bytes = Maker::default().node("Tanh", &["x"], "y", &[]).model(&[1, 3, 4, 4], "y");
    refused(&bytes, "`Tanh`");
    let bytes = Maker::default().node("Add", &["x", "x"], "y", &[]).model(&[1, 3, 4, 4], "y");
    refused(&bytes, "two values");
    // What the output does not need may be anything.
    let bytes = Maker::default()
        .node("Tanh", &["x"], "z", &[])
        .node("Relu", &["x"], "y", &[])
        .model(&[1, 3, 4, 4], "y");
    assert_eq!(lowered(&bytes).nodes.len(), 2);
}

#[test]
fn cycles_are_refused() {
    let bytes = Maker::default()
        .node("Relu", &["b"], "a", &[])
        .node("Relu", &["a"], "b", &[])
        .model(&[1, 3, 4, 4], "b");
    refused(&bytes, "cycle");
    let bytes = Maker::default().node("Relu", &["y"], "y", &[]).model(&[1, 3, 4, 4], "y");
    refused(&bytes, "cycle");
    let bytes = Maker::default()
        .node("Relu", &["x"], "y", &[])
        .node("Relu", &["x"], "y", &[])
        .model(&[1, 3, 4, 4], "y");
    refused(&bytes, "two nodes");
}

#[test]
fn sizes_are_checked_before_memory_is_taken() {
    // 2^60 values out of a few bytes.
    let bytes = Maker::default()
        .whole("shape", &[1 << 20, 1 << 20, 1 << 20])
        .node("ConstantOfShape", &["shape"], "w", &[])
        .node("Conv", &["x", "w"], "y", &[])
        .model(&[1, 3, 4, 4], "y");
    refused(&bytes, "far more values");
    // The same little by little.
    let mut maker = Maker::default().whole("shape", &[1 << 24]);
    for i in 0..6 {
        maker = maker.node("ConstantOfShape", &["shape"], &format!("w{i}"), &[]);
        maker = maker.node("Relu", &["x"], "y", &[]);
        let name = format!("c{i}");
        maker = maker.node("Concat", &["x", &format!("w{i}")], &name, &[]);
        maker.nodes.remove(maker.nodes.len() - 2);
    }
    let names: Vec<String> = (0..6).map(|i| format!("w{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    refused(&maker.node("Concat", &names, "y", &[]).model(&[1, 3, 4, 4], "y"), "far more values");
    // A tensor that claims more than it holds, or less.
    for shape in [[2, 3, 1, 1], [1, 2, 1, 1], [-1, 3, 1, 1], [i64::MAX, i64::MAX, 1, 1]] {
        let bytes = Maker::default()
            .floats("w", &shape, &[1.0; 3])
            .node("Conv", &["x", "w"], "y", &[])
            .model(&[1, 3, 4, 4], "y");
        refused(&bytes, "tensor `w`");
    }
}

#[test]
fn other_files_are_asked_for_by_plain_names() {
    let entry = |key: &str, value: &str| inception_formats::onnx::messages::Entry {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let model = |location: &str, offset: &str| {
        let mut maker = Maker::default().floats("w", &[1, 3, 1, 1], &[]);
        maker.tensors[0].data_location = 1;
        maker.tensors[0].external_data =
            vec![entry("location", location), entry("offset", offset), entry("length", "12")];
        maker.node("Conv", &["x", "w"], "y", &[]).model(&[1, 3, 4, 4], "y")
    };
    let load = |name: &str| {
        assert_eq!(name, "weights.bin");
        Ok([0.0_f32, 1.0, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect())
    };
    let graph = read_with(&model("weights.bin", "4"), &load).expect("readable").graph;
    let Op::Conv { filters, .. } = &graph.nodes[1].op else { panic!("a convolution") };
    assert_eq!(filters, &[1.0, 2.0, 3.0]);
    for (location, offset) in [
        ("../weights.bin", "4"),
        ("/etc/weights.bin", "4"),
        ("..", "4"),
        ("weights.bin", "8"),
        ("weights.bin", "18446744073709551615"),
        ("weights.bin", "four"),
    ] {
        assert!(read_with(&model(location, offset), &load).is_err(), "{location} {offset}");
    }
    refused(&model("weights.bin", "4"), "another file");
}

#[test]
fn no_bytes_do_harm() {
    let bytes = small();
    for end in 0..bytes.len() {
        let _ = read(&bytes[..end]);
    }
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            let _ = read(&damaged);
        }
    }
    assert!(read(b"").is_err());
    assert!(read(&[0xff; 100]).is_err());
}
