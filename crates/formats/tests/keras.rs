//! Files that Keras and TensorFlow.js' converter wrote (`peers/keras_fixtures.py`), whole and
//! damaged.

use std::fs;
use std::path::PathBuf;

use inception_formats::graph::{Op, Padding};
use inception_formats::{Array, Contents, Fault, Format, hdf5, keras, read, tfjs};
use serde_json::{Value, json};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/keras").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

const MODELS: [(&str, Format); 8] = [
    ("keras3.h5", Format::KerasHdf5),
    ("keras2.h5", Format::KerasHdf5),
    ("keras3.keras", Format::KerasArchive),
    ("keras2.keras", Format::KerasArchive),
    ("tfjs-float32", Format::TfJs),
    ("tfjs-float16", Format::TfJs),
    ("tfjs-uint16", Format::TfJs),
    ("tfjs-uint8/model.json", Format::TfJs),
];

#[test]
fn models_are_recognised_and_have_the_same_graph() {
    let mut shapes = Vec::new();
    for (name, format) in MODELS {
        let contents = read(&path(name)).unwrap();
        assert_eq!(contents.format, format, "{name}");
        assert!(contents.arrays.is_empty());
        let graph = contents.graph.unwrap();
        let ops: Vec<String> = graph
            .nodes
            .iter()
            .map(|node| {
                let text = format!("{:?}", node.op);
                text.split([' ', '(']).next().unwrap_or_default().to_owned()
            })
            .collect();
        let mut sorted = ops.clone();
        sorted.sort();
        shapes.push((name, sorted));
        assert_eq!(ops[graph.outputs[0]], "Softmax", "{name}");
        let conv = graph.nodes.iter().find_map(|node| match &node.op {
            Op::Conv { shape, stride, padding, bias, .. } => {
                Some((*shape, *stride, *padding, bias.is_some()))
            }
            _ => None,
        });
        assert_eq!(conv, Some(([4, 3, 3, 3], (2, 2), Padding::Same, false)), "{name}");
    }
    assert!(shapes.iter().all(|(_, ops)| *ops == shapes[0].1), "{shapes:?}");
}

/// What `peers/keras_fixtures.py` puts into the arrays.
fn counted() -> Vec<f32> {
    (0..600).map(|i| (i % 100) as f32 / 8.0 - 2.0).collect()
}

#[test]
fn hdf5_of_both_ages() {
    // Both kinds of groups and chunk indices, filters, byte orders, many attributes.
    for (name, arrays) in [
        ("chunks.h5", &["deflated", "group/big", "group/half"][..]),
        ("old.h5", &["deflated", "group/half"]),
    ] {
        let mut found = hdf5::read(&bytes(name)).unwrap();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(found.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), arrays, "{name}");
        for Array { name, shape, values } in found {
            assert_eq!((shape.as_slice(), values), (&[20, 30][..], counted()), "{name}");
        }
    }
}

#[test]
fn more_values_than_bytes_are_refused_before_they_are_made() {
    let fault = hdf5::read(&bytes("huge.h5")).unwrap_err().to_string();
    assert!(fault.contains("far more"), "{fault}");
}

#[test]
fn a_file_of_something_else_is_no_model() {
    for name in ["old.h5", "chunks.h5", "huge.h5"] {
        assert!(keras::read_hdf5(&bytes(name)).is_err(), "{name}");
    }
}

#[test]
fn damaged_files_are_faults() {
    for name in ["keras3.h5", "keras2.h5", "chunks.h5", "old.h5", "keras3.keras"] {
        let whole = bytes(name);
        let read = |bytes: &[u8]| match name.ends_with(".keras") {
            true => keras::read_archive(bytes).map(drop),
            false if name.starts_with("keras") => keras::read_hdf5(bytes).map(drop),
            false => hdf5::read(bytes).map(drop),
        };
        for parts in 0..80 {
            let part = &whole[..whole.len() * parts / 80];
            assert!(read(part).is_err(), "{name}, {parts}/80 of it");
        }
        // Whatever it says, it must not panic; the start holds most of the structure.
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) as usize % below
        };
        for turn in 0..300 {
            let mut damaged = whole.clone();
            let area = if turn % 3 == 0 { whole.len() } else { whole.len().min(8000) };
            for _ in 0..=next(3) {
                let (place, width) = (next(area), 1 + next(8));
                let value = [0, 255, next(256) as u8][next(3)];
                let end = (place + width).min(whole.len());
                damaged[place..end].fill(value);
            }
            let _ = read(&damaged);
        }
    }
}

/// The smallest layers-model, its parts to be changed.
fn model(change: impl FnOnce(&mut Value)) -> Value {
    let layer = |class: &str, name: &str, config: Value, inputs: Value| json!({"class_name": class, "name": name, "config": config, "inbound_nodes": inputs});
    let mut model = json!({
        "modelTopology": {"model_config": {"class_name": "Functional", "config": {
            "layers": [
                layer("InputLayer", "in", json!({"batch_input_shape": [null, 2, 2, 1]}), json!([])),
                layer("Flatten", "flat", json!({}), json!([[["in", 0, 0, {}]]])),
                layer("Dense", "fc", json!({"activation": "softmax"}), json!([[["flat", 0, 0, {}]]])),
            ],
            "input_layers": [["in", 0, 0]],
            "output_layers": [["fc", 0, 0]],
        }}},
        "weightsManifest": [{"paths": ["a.bin"], "weights": [
            {"name": "fc/kernel", "shape": [4, 2], "dtype": "float32"},
            {"name": "fc/bias", "shape": [2], "dtype": "float32"},
        ]}],
    });
    change(&mut model);
    model
}

fn read_model(model: &Value, shard: &[u8]) -> Result<Contents, Fault> {
    tfjs::read(model.to_string().as_bytes(), |_| Ok(shard.to_vec()))
}

const LAYERS: &str = "/modelTopology/model_config/config/layers";

#[test]
fn a_small_model_is_read() {
    let shard: Vec<u8> = (0..10).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let graph = read_model(&model(|_| ()), &shard).unwrap().graph.unwrap();
    let Op::Linear { matrix, shape, bias } = &graph.nodes[2].op else { panic!() };
    assert_eq!((shape, bias.as_deref()), (&[2, 4], Some(&[8.0, 9.0][..])));
    assert_eq!(matrix, &[0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
    // As a script, and its shard too.
    let script = format!("!function(m){{m.exports={}}}", model(|_| ()));
    use base64::Engine;
    let shard = base64::engine::general_purpose::STANDARD.encode(shard);
    let shard = format!("!function(m){{m.exports=\"{shard}\"}}");
    let same = tfjs::read(script.as_bytes(), |_| Ok(shard.clone().into())).unwrap();
    assert_eq!(same.graph.unwrap(), graph);
}

#[test]
fn what_is_wrong_with_a_model_is_named() {
    let shard = [0; 40];
    let set = |place: &str, value: Value| {
        let place = place.to_owned();
        model(move |model| *model.pointer_mut(&place).unwrap() = value)
    };
    let layer = |rest: &str, value: Value| set(&format!("{LAYERS}{rest}"), value);
    let weight =
        |rest: &str, value: Value| set(&format!("/weightsManifest/0/weights{rest}"), value);
    for (model, reason) in [
        (layer("/1/inbound_nodes", json!([[["fc", 0, 0, {}]]])), "circle"),
        (layer("/1/inbound_nodes", json!([[["nobody", 0, 0, {}]]])), "nobody"),
        (layer("/1/inbound_nodes", json!([])), "is not there"),
        (layer("/1/name", json!("fc")), "same name"),
        (layer("/1/class_name", json!("Lambda")), "Lambda"),
        (layer("/0/config/batch_input_shape", json!([null, null, null, 1])), "size of the grid"),
        (layer("/0/config/batch_input_shape", json!([null, 9, 9, 1])), "rows"),
        (layer("/2/config", json!({"activation": "tanh"})), "tanh"),
        (layer("/2/name", json!("other")), "other/kernel"),
        (weight("/0/name", json!("x/kernel")), "fc/kernel"),
        (weight("/0/name", json!("fc/bias")), "two arrays"),
        (weight("/0/shape", json!([4, 3])), "beyond the end"),
        (weight("/0/shape", json!([1u64 << 40, 1u64 << 40])), "beyond the end"),
        (weight("/0/shape", json!([3, 2])), "too many"),
        (weight("/0/dtype", json!("complex64")), "complex64"),
        (
            weight(
                "/0",
                json!({"name": "fc/kernel", "shape": [4, 2], "dtype": "float32",
                "quantization": {"dtype": "uint8"}}),
            ),
            "scale",
        ),
        (set("/weightsManifest/0/paths", json!(["a.bin", "a.bin"])), "twice"),
        (set("/modelTopology/model_config/class_name", json!("Mine")), "Mine"),
        (set("/modelTopology/model_config/config/output_layers", json!([["x", 0, 0]])), "returns"),
    ] {
        let fault = read_model(&model, &shard).expect_err(reason).to_string();
        assert!(fault.contains(reason), "{fault:?} does not say {reason:?}");
    }
    assert!(tfjs::read(b"[1, 2]", |_| Ok(Vec::new())).is_err());
}

#[test]
fn models_in_models_end_somewhere() {
    let mut inner = json!({"class_name": "Flatten", "name": "flat", "config": {}});
    for depth in 0..40 {
        inner = json!({"class_name": "Sequential", "name": format!("m{depth}"),
            "config": {"layers": [inner]}});
    }
    let nested = model(|model| model["modelTopology"]["model_config"] = inner);
    let fault = read_model(&nested, &[0; 40]).unwrap_err().to_string();
    assert!(fault.contains("nested") || fault.contains("recursion"), "{fault}");
}

#[test]
fn shards_lie_in_the_models_folder() {
    let folder = std::env::temp_dir().join(format!("inception-tfjs-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for shard in ["../a.bin", "/etc/hostname", "", "missing.bin"] {
        let text = model(|model| model["weightsManifest"][0]["paths"] = json!([shard])).to_string();
        fs::write(folder.join("model.json"), text).unwrap();
        let fault = tfjs::open(&folder).unwrap_err().to_string();
        let outside = fault.contains("outside");
        assert_eq!(outside, shard != "missing.bin", "{fault}");
    }
    fs::remove_dir_all(folder).unwrap();
}
