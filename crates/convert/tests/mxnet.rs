//! MXNet's Inception-BN.

use inception_convert::{Options, import};
use inception_formats::{Array, Contents, Format};

/// Name, channels in and out, side of the filters, of every convolution
/// (`example/image-classification/symbols/inception-bn.py`).
fn convolutions() -> Vec<(String, usize, usize, usize)> {
    let mut all = vec![
        ("1".to_owned(), 3, 64, 7),
        ("2_red".to_owned(), 64, 64, 1),
        ("2".to_owned(), 64, 192, 3),
    ];
    // 1×1, 3×3 reduce, 3×3, double reduce, double, projection; without the first and the last
    // the grid is halved.
    let modules = [
        ("3a", 64, 64, 64, 64, 96, 32),
        ("3b", 64, 64, 96, 64, 96, 64),
        ("3c", 0, 128, 160, 64, 96, 0),
        ("4a", 224, 64, 96, 96, 128, 128),
        ("4b", 192, 96, 128, 96, 128, 128),
        ("4c", 160, 128, 160, 128, 160, 128),
        ("4d", 96, 128, 192, 160, 192, 128),
        ("4e", 0, 128, 192, 192, 256, 0),
        ("5a", 352, 192, 320, 160, 224, 128),
        ("5b", 352, 192, 320, 192, 224, 128),
    ];
    let mut width = 192;
    for (name, one, reduce, three, double_reduce, double, projection) in modules {
        let mut add =
            |end: &str, from, to, side| all.push((format!("{name}_{end}"), from, to, side));
        if one > 0 {
            add("1x1", width, one, 1);
            add("proj", width, projection, 1);
        }
        add("3x3_reduce", width, reduce, 1);
        add("3x3", reduce, three, 3);
        add("double_3x3_reduce", width, double_reduce, 1);
        add("double_3x3_0", double_reduce, double, 3);
        add("double_3x3_1", double, double, 3);
        width = one + three + double + if one > 0 { projection } else { width };
    }
    all
}

#[test]
fn every_array_has_its_place_and_biases_go_into_means() {
    let mut arrays = Vec::new();
    let mut add = |name: String, shape: &[usize], value: f32| {
        let values = vec![value; shape.iter().product()];
        arrays.push(Array { name, shape: shape.to_vec(), values });
    };
    for (name, from, to, side) in convolutions() {
        add(format!("arg:conv_{name}_weight"), &[to, from, side, side], 0.0);
        add(format!("arg:conv_{name}_bias"), &[to], 0.25);
        add(format!("arg:bn_{name}_gamma"), &[to], 1.0);
        add(format!("arg:bn_{name}_beta"), &[to], 0.0);
        add(format!("aux:bn_{name}_moving_mean"), &[to], 2.0);
        add(format!("aux:bn_{name}_moving_var"), &[to], 1.0);
    }
    add("arg:fc1_weight".to_owned(), &[1000, 1024], 0.0);
    add("arg:fc1_bias".to_owned(), &[1000], 0.0);
    let contents = |arrays| Contents::arrays(Format::Mxnet, arrays);
    let model = import(contents(arrays.clone()), &Options::default()).unwrap();
    assert_eq!(model.net.name, "bn-inception-mxnet");
    let mean = model.weights.get("inception_4e.double_3x3_2.bn.running_mean").unwrap();
    assert!(mean.values.iter().all(|&v| v == 1.75));
    let graph = model.net.graph().unwrap();
    let grid = |name: &str| {
        let layer = graph.layers.iter().find(|layer| layer.name == name).unwrap();
        (layer.shape.channels, layer.shape.height)
    };
    assert_eq!(grid("pool1"), (64, 55));
    assert_eq!((grid("inception_3c"), grid("inception_4c")), ((576, 14), (608, 14)));
    assert_eq!(grid("inception_5b"), (1024, 7));
    // Without one bias nothing is imported.
    arrays.retain(|array| array.name != "arg:conv_2_bias");
    let error = import(contents(arrays), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("arg:conv_2_bias is missing"), "{error}");
}
