//! The built-in networks against the figures that papers and other implementations publish.

use inception_net::graph::{Graph, Op};
use inception_net::zoo::{self, Dialect, Options};
use inception_net::{Net, NetError};

fn net(name: &str, dialect: Option<Dialect>) -> Net {
    let options = Options { dialect, ..Options::default() };
    zoo::build(name, &options).expect(name)
}

fn layer(graph: &Graph, name: &str) -> usize {
    let found = graph.layers.iter().position(|layer| layer.name == name);
    found.unwrap_or_else(|| panic!("no layer {name}"))
}

/// All networks in all their dialects.
fn all() -> impl Iterator<Item = (String, Net)> {
    zoo::names().flat_map(|name| {
        let dialects = zoo::dialects(name).expect(name).iter();
        dialects.map(move |&d| (format!("{name} {d}"), net(name, Some(d))))
    })
}

#[test]
fn published_figures() {
    use Dialect::{Keras, Paper, TfSlim, Torchvision};
    // Parameters, without auxiliary heads, multiply–adds in millions, smallest input.
    let figures = [
        // torchvision's documentation: 27,161,264 parameters, 5.713 G, smallest input 75;
        // GoogLeNet 13,004,888 (6,624,904 without heads), 1.498 G, smallest input 15.
        ("inception-v3", Torchvision, 27_161_264, 23_834_568, 5713, 75),
        ("googlenet", Torchvision, 13_004_888, 6_624_904, 1498, 15),
        // BVLC's Caffe model without its heads: 6,998,552 parameters.
        ("googlenet", Paper, 13_378_280, 6_998_552, 1583, 31),
        // Keras counts 23,851,784 with batch norm's running statistics, 23,817,352 trained.
        ("inception-v3", Keras, 23_817_352, 23_817_352, 5713, 75),
        // The paper says 13.6·10⁶ parameters.
        ("bn-inception", Paper, 13_605_672, 11_188_288, 1935, 1),
        // TF-slim's inception_v2: 11.2·10⁶.
        ("bn-inception", TfSlim, 11_179_361, 11_179_361, 1935, 1),
        // As printed in table 1, with the widths documented in the file.
        ("inception-v2", Paper, 30_336_400, 25_935_016, 5939, 75),
        ("inception-v3-paper", Paper, 30_356_656, 25_954_248, 6353, 75),
    ];
    for (name, dialect, parameters, without, millions, smallest) in figures {
        let net = net(name, Some(dialect));
        let summary = net.graph().expect(name).summary();
        assert_eq!(summary.parameters, parameters, "{name} {dialect}");
        assert_eq!(summary.parameters_without_auxiliary, without, "{name} {dialect}");
        let rounded = (summary.multiply_adds as f64 / 1e6).round() as usize;
        assert_eq!(rounded, millions, "{name} {dialect}");
        assert_eq!(net.smallest_input(), Ok(smallest), "{name} {dialect}");
    }
}

#[test]
fn the_small_network_stays_small() {
    let summary = net("inception-v3-small", None).graph().unwrap().summary();
    assert!((500_000..1_500_000).contains(&summary.parameters), "{}", summary.parameters);
    assert!((8_000_000..15_000_000).contains(&summary.multiply_adds), "{}", summary.multiply_adds);
    let graph = net("inception-v3-small", None).graph().unwrap();
    for l in &graph.layers {
        let is_class = matches!(l.op, Op::Linear(_) | Op::Input);
        assert!(is_class || l.shape.channels % 16 == 0, "{}: {}", l.name, l.shape.channels);
    }
}

#[test]
fn names_are_torchvisions() {
    let graph = net("inception-v3", None).graph().unwrap();
    let parameters = graph.parameters();
    // 96 convolutions with weight and four tensors of batch norm; two linear layers.
    assert_eq!(parameters.len(), 96 * 5 + 4);
    let shape = |name: &str| {
        let found = parameters.iter().find(|p| p.name == name);
        found.unwrap_or_else(|| panic!("no parameter {name}")).shape.clone()
    };
    assert_eq!(shape("Conv2d_1a_3x3.conv.weight"), [32, 3, 3, 3]);
    assert_eq!(shape("Conv2d_4a_3x3.bn.running_var"), [192]);
    assert_eq!(shape("Mixed_5b.branch5x5_2.conv.weight"), [64, 48, 5, 5]);
    assert_eq!(shape("Mixed_6a.branch3x3dbl_3.conv.weight"), [96, 96, 3, 3]);
    assert_eq!(shape("Mixed_6b.branch7x7_2.conv.weight"), [128, 128, 1, 7]);
    assert_eq!(shape("Mixed_6e.branch7x7dbl_2.conv.weight"), [192, 192, 7, 1]);
    assert_eq!(shape("Mixed_7a.branch7x7x3_4.bn.weight"), [192]);
    assert_eq!(shape("Mixed_7b.branch3x3_2a.conv.weight"), [384, 384, 1, 3]);
    assert_eq!(shape("Mixed_7c.branch3x3dbl_3b.conv.weight"), [384, 384, 3, 1]);
    assert_eq!(shape("AuxLogits.conv1.conv.weight"), [768, 128, 5, 5]);
    assert_eq!(shape("AuxLogits.fc.weight"), [1000, 768]);
    assert_eq!(shape("fc.bias"), [1000]);
    let graph = net("googlenet", None).graph().unwrap();
    let names: Vec<String> = graph.parameters().into_iter().map(|p| p.name).collect();
    for name in ["conv2_reduce.conv.bias", "inception_3a.5x5_reduce.conv.weight", "aux2.fc1.weight"]
    {
        assert!(names.iter().any(|n| n == name), "{name}");
    }
}

#[test]
fn heads_come_in_order() {
    let heads = |name| {
        let heads = net(name, None).graph().unwrap().heads;
        heads.into_iter().map(|h| (h.name, h.loss_weight)).collect::<Vec<_>>()
    };
    assert_eq!(heads("inception-v3"), [("AuxLogits".into(), 0.4), ("main".into(), 1.0)]);
    let two = [("aux1".into(), 0.3), ("aux2".into(), 0.3), ("main".into(), 1.0)];
    assert_eq!(heads("googlenet"), two);
}

#[test]
fn dialects_differ_where_they_should() {
    let pool = |dialect| {
        let graph = net("inception-v3", Some(dialect)).graph().unwrap();
        let of = |name: &str| graph.layers[layer(&graph, name)].op.clone();
        (of("Mixed_5b.pool"), of("Mixed_7c.pool"))
    };
    let corner = |op: &Op| match op {
        Op::AvgPool(w) => w.rows[0].count * w.columns[0].count,
        _ => 0,
    };
    assert_eq!(corner(&pool(Dialect::Torchvision).0), 9, "padding counts");
    assert_eq!(corner(&pool(Dialect::TfSlim).0), 4, "padding does not count");
    assert_eq!(corner(&pool(Dialect::Fid2015).0), 4, "padding does not count");
    assert!(matches!(pool(Dialect::Fid2015).1, Op::MaxPool(_)));
    assert!(matches!(pool(Dialect::Keras).1, Op::AvgPool(_)));
    let kernel = |dialect| {
        let graph = net("googlenet", Some(dialect)).graph().unwrap();
        match &graph.layers[layer(&graph, "inception_4b.5x5")].op {
            Op::Conv(conv) => conv.window.kernel,
            _ => unreachable!(),
        }
    };
    assert_eq!(kernel(Dialect::Paper), (5, 5));
    assert_eq!(kernel(Dialect::Torchvision), (3, 3));
    assert_eq!(kernel(Dialect::TfSlim), (3, 3));
    assert_eq!(net("inception-v3", Some(Dialect::TfSlim)).classes, 1001);
    assert_eq!(net("inception-v3", Some(Dialect::Fid2015)).classes, 1008);
}

/// Worked out by hand: size + (kernel - 1) · jump per layer, jump · stride.
#[test]
fn receptive_fields() {
    let fields = |name: &str| {
        let graph = net(name, None).graph().unwrap();
        let fields = graph.receptive_fields();
        move |layer_name: &str| {
            let field = fields[layer(&graph, layer_name)];
            (field.size, field.jump)
        }
    };
    let v3 = fields("inception-v3");
    assert_eq!(v3("Conv2d_1a_3x3"), ((3, 3), (2, 2)));
    assert_eq!(v3("Conv2d_2b_3x3"), ((11, 11), (2, 2)));
    assert_eq!(v3("maxpool1"), ((15, 15), (4, 4)));
    assert_eq!(v3("Conv2d_4a_3x3"), ((23, 23), (4, 4)));
    assert_eq!(v3("maxpool2"), ((31, 31), (8, 8)));
    assert_eq!(v3("Mixed_5b.branch5x5_2"), ((63, 63), (8, 8)));
    assert_eq!(v3("Mixed_5b"), ((63, 63), (8, 8)));
    // 127 + 2·8 + 2·8 in the branch of two 3×3.
    assert_eq!(v3("Mixed_6a"), ((159, 159), (16, 16)));
    assert_eq!(v3("Mixed_6b.branch7x7_2"), ((159, 159 + 6 * 16), (16, 16)));
    assert_eq!(v3("Mixed_6b.branch7x7dbl_4"), ((159 + 12 * 16, 159 + 6 * 16), (16, 16)));
    let v1 = fields("googlenet");
    assert_eq!(v1("conv1"), ((7, 7), (2, 2)));
    assert_eq!(v1("pool1"), ((11, 11), (4, 4)));
    assert_eq!(v1("conv2"), ((19, 19), (4, 4)));
    assert_eq!(v1("pool2"), ((27, 27), (8, 8)));
    assert_eq!(v1("inception_3a"), ((27 + 4 * 8, 27 + 4 * 8), (8, 8)));
}

/// A layer table of one module, from a file.
fn cost_of(layers: &str) -> f64 {
    let text = format!(
        r#"
        name = "cost"
        classes = 2
        input = {{ channels = 64, height = 17, width = 17 }}
        preprocessing = {{ resize = "none", order = "rgb", mean = {zeros}, std = {ones} }}
        layer = [{layers}, {{ type = "global-avg-pool", name = "p" }},
            {{ type = "classifier", name = "c" }}]
        "#,
        zeros = "[0".to_owned() + &", 0".repeat(63) + "]",
        ones = "[1".to_owned() + &", 1".repeat(63) + "]",
    );
    let graph = Net::from_toml(&text).unwrap().graph().unwrap();
    let costs = (0..graph.layers.len()).map(|id| match graph.layers[id].op {
        Op::Conv(_) => graph.multiply_adds(id),
        _ => 0,
    });
    costs.sum::<usize>() as f64
}

#[test]
fn factorisation_saves_what_the_paper_says() {
    let conv = |name: &str, kernel: &str| {
        format!(r#"{{ type = "conv", name = "{name}", kernel = {kernel}, channels = 64 }}"#)
    };
    let pair = |a: &str, b: &str| cost_of(&format!("{}, {}", conv("a", a), conv("b", b)));
    // 5×5 as two 3×3: 18/25.
    assert_eq!(pair("3", "3") / cost_of(&conv("a", "5")), 0.72);
    // n×n as 1×n and n×1: 2/n, so 33 % saved for n = 3.
    assert_eq!(pair("[1, 3]", "[3, 1]") / cost_of(&conv("a", "3")), 6.0 / 9.0);
    assert_eq!(pair("[1, 7]", "[7, 1]") / cost_of(&conv("a", "7")), 2.0 / 7.0);
    // 3×3 as two 2×2 saves 11 % only.
    assert_eq!(pair("2", "2") / cost_of(&conv("a", "3")), 8.0 / 9.0);
}

#[test]
fn every_network_takes_every_size_from_its_smallest_up() {
    for (name, net) in all() {
        let smallest = net.smallest_input().expect(&name);
        for side in (smallest..smallest + 40).chain([224, 299, 331]) {
            let mut net = net.clone();
            (net.input.height, net.input.width) = (side, side + side % 7);
            let graph = net.graph().unwrap_or_else(|e| panic!("{name} at {side}: {e}"));
            for head in &graph.heads {
                assert_eq!(graph.layers[head.logits].shape.len(), net.classes);
            }
        }
        if smallest > 1 {
            let mut net = net.clone();
            (net.input.height, net.input.width) = (smallest - 1, smallest - 1);
            let error = net.graph().unwrap_err();
            let expected =
                format!("the smallest picture this network takes is {smallest}×{smallest}");
            assert!(error.to_string().ends_with(&expected), "{name}: {error}");
        }
    }
}

#[test]
fn options_are_followed() {
    let options = Options {
        classes: Some(7),
        size: Some((96, 128)),
        channels: Some(1),
        width: 0.5,
        dialect: None,
    };
    for name in zoo::names() {
        let net = zoo::build(name, &options).expect(name);
        let graph = net.graph().expect(name);
        let input = graph.layers[0].shape;
        assert_eq!((input.channels, input.height, input.width), (1, 96, 128));
        assert_eq!(net.preprocessing.mean.len(), 1, "{name}");
        for head in &graph.heads {
            assert_eq!(graph.layers[head.logits].shape.channels, 7, "{name}");
        }
        for layer in &graph.layers {
            if matches!(layer.op, Op::Conv(_)) {
                assert_eq!(layer.shape.channels % 16, 0, "{name} {}", layer.name);
            }
        }
        let full = zoo::build(name, &Options { width: 1.0, ..options.clone() }).unwrap();
        let parameters = |net: &Net| net.graph().unwrap().summary().parameters;
        let ratio = parameters(&net) as f64 / parameters(&full) as f64;
        assert!((0.2..0.6).contains(&ratio), "{name}: half the width has {ratio}");
    }
}

#[test]
fn wrong_options_say_what_is_right() {
    let error = |name: &str, options: Options| zoo::build(name, &options).unwrap_err().to_string();
    let unknown = error("inception-v9", Options::default());
    assert!(unknown.contains("inception-v9") && unknown.contains("bn-inception"), "{unknown}");
    let dialect = Some(Dialect::Keras);
    let keras = error("googlenet", Options { dialect, ..Options::default() });
    assert!(keras.contains("paper, torchvision, tf-slim"), "{keras}");
    let size = Some((60, 299));
    let small = error("inception-v3", Options { size, ..Options::default() });
    assert!(small.contains("75×75") && small.contains("Mixed_"), "{small}");
    for width in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        let wide = error("googlenet", Options { width, ..Options::default() });
        assert!(wide.contains("width multiplier"), "{wide}");
    }
    let classes = error("googlenet", Options { classes: Some(0), ..Options::default() });
    assert!(classes.contains("number of classes"), "{classes}");
    assert!("slim".parse::<Dialect>().unwrap_err().to_string().contains("tf-slim"));
}

#[test]
fn names_are_unique_and_layers_ordered() {
    for (name, net) in all() {
        let graph = net.graph().unwrap();
        let mut names: Vec<_> = graph.layers.iter().map(|l| &l.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), graph.layers.len(), "{name}");
        for (id, layer) in graph.layers.iter().enumerate() {
            assert!(layer.inputs.iter().all(|&input| input < id), "{name} {}", layer.name);
        }
    }
}

#[test]
fn preprocessing_follows_the_dialect() {
    use inception_net::preprocessing::{ChannelOrder, Resize};
    let caffe = net("googlenet", None).preprocessing;
    assert_eq!((caffe.order, caffe.resize), (ChannelOrder::Bgr, Resize::Shorter(256)));
    // Pixel value 200 of the blue channel: 200 - 104.
    assert!(((200.0 / 255.0 - caffe.mean[0]) / caffe.std[0] - 96.0).abs() < 1e-3);
    let v3 = net("inception-v3", None).preprocessing;
    assert_eq!((v3.resize, v3.crop), (Resize::Shorter(342), Some((299, 299))));
    let fid = net("inception-v3", Some(Dialect::Fid2015)).preprocessing;
    assert!(((255.0 / 255.0 - fid.mean[0]) / fid.std[0] - 127.0 / 128.0).abs() < 1e-6);
}

#[test]
fn summaries_have_the_documented_keys() {
    let summary = net("inception-v3-small", None).graph().unwrap().summary();
    let json = serde_json::to_value(&summary).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["layers", "multiply_adds", "parameters", "parameters_without_auxiliary"]);
    assert_eq!(json["layers"][1]["shape"], serde_json::json!([16, 28, 28]));
    let table = summary.to_string();
    assert!(table.contains("conv 1×5") && table.contains("aux.conv0 *"), "{table}");
}

#[test]
fn unknown_names_are_typed_errors() {
    let error = zoo::build("", &Options::default()).unwrap_err();
    assert!(matches!(error, NetError::UnknownNetwork { .. }));
}
