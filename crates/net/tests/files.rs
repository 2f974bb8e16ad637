//! Networks as files: nothing is lost on the way, and errors say where and what.

mod nets;

use inception_net::zoo::{self, Options};
use inception_net::{Net, NetError};
use proptest::prelude::*;

/// Every built-in network in every dialect comes back from its TOML and its JSON.
#[test]
fn built_in_networks_round_trip() {
    for name in zoo::names() {
        for &dialect in zoo::dialects(name).unwrap() {
            let options = Options { dialect: Some(dialect), ..Options::default() };
            let net = zoo::build(name, &options).unwrap();
            assert_eq!(Net::from_toml(&net.to_toml()), Ok(net.clone()), "{name} {dialect}");
            let json = serde_json::to_string(&net).unwrap();
            assert_eq!(serde_json::from_str::<Net>(&json).unwrap(), net, "{name} {dialect}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn random_networks_round_trip(net in nets::any()) {
        let text = net.to_toml();
        // Not all are valid networks; what is written is read all the same.
        let read: Net = toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        prop_assert_eq!(&read, &net);
        let json = serde_json::to_value(&net).unwrap();
        prop_assert_eq!(serde_json::from_value::<Net>(json).unwrap(), net);
    }
}

const FILE: &str = r#"name = "mine"
classes = 5
input = { channels = 3, height = 32, width = 32 }
preprocessing = { resize = "none", order = "rgb", mean = [0, 0, 0], std = [1, 1, 1] }

[[layer]]
type = "conv"
name = "stem"
kernel = 3
channels = 16

[[layer]]
name = "mixed"
type = "A"
1x1 = 16
3x3 = [16, 16]
3x3dbl = [16, 16]
pool = 16

[[layer]]
type = "branches"
name = "own"
branches = [
    [{ type = "conv", name = "a", kernel = 1, channels = 8 }],
    [
        { type = "max-pool", name = "b", kernel = 3 },
        { type = "conv", name = "c", kernel = [1, 7], channels = 8 },
    ],
]

[[layer]]
type = "global-avg-pool"
name = "pool"

[[layer]]
type = "classifier"
name = "fc"
"#;

/// What `Net::from_toml` says of the file with one piece of it replaced.
fn error_of(piece: &str, by: &str) -> NetError {
    assert!(FILE.contains(piece), "{piece}");
    let text = FILE.replacen(piece, by, 1);
    Net::from_toml(&text).expect_err(&text)
}

#[test]
fn the_example_is_a_network() {
    let net = Net::from_toml(FILE).unwrap();
    let graph = net.graph().unwrap();
    let names: Vec<_> = graph.layers.iter().map(|l| l.name.as_str()).collect();
    assert!(names.contains(&"mixed.branch3x3dbl_2") && names.contains(&"own.c"), "{names:?}");
}

#[test]
fn errors_carry_the_line_and_what_was_expected() {
    // Replaced piece, replacement, line, words of the message.
    let cases = [
        ("classes = 5", "classs = 5", 2, "unknown field `classs`, expected one of `name`"),
        ("classes = 5", "classes = \"5\"", 2, "expected a whole number"),
        ("classes = 5", "classes = -5", 2, "expected a whole number"),
        ("classes = 5", "classes = 5.5", 2, "expected a whole number"),
        ("height = 32, ", "", 3, "missing field `height`"),
        ("resize = \"none\"", "resize = \"some\"", 4, "expected one of `none`, `shorter`, `exact`"),
        ("kernel = 3\nchannels", "kernel = 3\nchanels", 10, "expected one of `name`, `kernel`"),
        ("kernel = 3\n", "kernel = [3]\n", 9, "expected a whole number or [height, width]"),
        ("kernel = 3\n", "kernel = 3\npadding = \"full\"\n", 10, "\"same\", \"valid\""),
        ("type = \"A\"", "type = \"F\"", 14, "expected one of `conv`"),
        ("type = \"A\"", "typ = \"A\"", 12, "missing field `type`"),
        ("3x3 = [16, 16]", "3x3 = [16]", 16, "a list of two numbers"),
        ("3x3 = [16, 16]", "7x7 = [16, 16]", 16, "unknown field `7x7`"),
        ("pool = 16\n", "", 12, "missing field `pool`"),
        ("pool = 16\n", "pool = 16\npool = 16\n", 19, "duplicate key"),
        ("channels = 8 }],", "chanels = 8 }],", 24, "unknown field `chanels`"),
        ("kernel = [1, 7]", "kernel = {}", 27, "expected a whole number or [height, width]"),
        ("type = \"max-pool\"", "type = \"pool\"", 26, "expected one of `conv`"),
        ("kernel = [1, 7], channels = 8", "kernel = 1", 27, "missing field `channels`"),
        ("branches = [\n", "branches = [\n    7,\n", 24, "expected a list"),
        ("name = \"fc\"\n", "name = \"fc\"\nrelu = tru\n", 38, ""),
    ];
    for (piece, by, line, words) in cases {
        match error_of(piece, by) {
            NetError::Toml { line: at, message } => {
                assert_eq!(at, line, "{by}: {message}");
                assert!(message.contains(words), "{by}: {message}");
            }
            other => panic!("{by}: {other}"),
        }
    }
}

#[test]
fn what_is_no_network_is_named_with_its_remedy() {
    let grown = "height = 9, width = 9";
    let cases: [(&str, &str, &[&str]); 17] = [
        ("kernel = 3\n", "kernel = 40\npadding = \"valid\"\n", &["`stem`", "32×32", "40×40"]),
        ("name = \"pool\"", "name = \"mixed\"", &["`mixed`", "used twice"]),
        ("name = \"c\"", "name = \"a\"", &["`own.a`", "used twice"]),
        ("kernel = 3\n", "kernel = 0\n", &["`stem`", "kernel", "from 1"]),
        ("kernel = 3\n", "kernel = 3\nstride = 0\n", &["`stem`", "stride", "from 1"]),
        ("channels = 16", "channels = 0", &["`stem`", "channels"]),
        ("channels = 16", "channels = 70000", &["`stem`", "65536"]),
        ("kernel = 3\n", "kernel = 3\npadding = 4000000000\n", &["`stem`", "padding"]),
        ("kernel = 3\n", "kernel = 3\nbatch_norm = true\n", &["`stem`", "defaults.batch_norm"]),
        ("3x3 = [16, 16]\n", "", &["`mixed`", "3x3", "5x5"]),
        (
            "name = \"b\", kernel = 3",
            "name = \"b\", kernel = 3, stride = 2",
            &["`own`", "32×32, 16×16"],
        ),
        ("kernel = 3 },", "kernel = 3, padding = 3 },", &["`own.b`", "padding", "smaller"]),
        ("type = \"classifier\"\n", "type = \"linear\"\nfeatures = 5\n", &["`mine`", "classifier"]),
        ("name = \"stem\"", "name = \" \"", &["name"]),
        ("std = [1, 1, 1]", "std = [1, 0, 1]", &["preprocessing", "std"]),
        ("mean = [0, 0, 0]", "mean = [0, 0]", &["preprocessing", "3", "2"]),
        ("height = 32, width = 32", grown, &[]),
    ];
    for (piece, by, words) in cases {
        if by == grown {
            assert!(Net::from_toml(&FILE.replacen(piece, by, 1)).is_ok());
            continue;
        }
        let message = error_of(piece, by).to_string();
        for word in words {
            assert!(message.contains(word), "{by}: {message}");
        }
    }
}

#[test]
fn heads_need_their_classifier() {
    let side = |last: &str| {
        let head = format!(
            "[[layer]]\ntype = \"auxiliary\"\nname = \"side\"\nloss_weight = 0.5\n\
             layers = [{{ type = \"global-avg-pool\", name = \"g\" }}{last}]\n\n\
             [[layer]]\ntype = \"global-avg-pool\"\n"
        );
        FILE.replacen("[[layer]]\ntype = \"global-avg-pool\"\n", &head, 1)
    };
    let error = Net::from_toml(&side("")).unwrap_err().to_string();
    assert!(error.contains("`side`") && error.contains("classifier"), "{error}");
    let net = Net::from_toml(&side(", { type = \"classifier\", name = \"out\" }")).unwrap();
    let graph = net.graph().unwrap();
    assert_eq!(graph.heads.len(), 2);
    assert_eq!(graph.layers[graph.heads[0].logits].name, "side.out");
    // The main path goes on as if there were no head.
    let summary = graph.summary();
    let bare = Net::from_toml(FILE).unwrap().graph().unwrap().summary();
    assert_eq!(summary.parameters_without_auxiliary, bare.parameters);
    assert_eq!(summary.multiply_adds, bare.multiply_adds);
    let middle = error_of(
        "type = \"max-pool\", name = \"b\", kernel = 3",
        "type = \"classifier\", name = \"b\"",
    );
    assert!(middle.to_string().contains("linear"), "{middle}");
}

/// `a.conv` as a linear layer and `a` as a convolution would share `a.conv.weight`.
#[test]
fn parameters_may_not_share_names() {
    let error = error_of(
        "type = \"global-avg-pool\"\nname = \"pool\"",
        "type = \"linear\"\nname = \"stem.conv\"\nfeatures = 4",
    );
    assert_eq!(error, NetError::Duplicate { name: "stem.conv.weight".into() });
}

/// Endless nesting is refused, not followed until the stack ends.
#[test]
fn deep_nesting_is_an_error() {
    let mut inner = "[]".to_owned();
    for i in 0..20_000 {
        inner = format!("[{{type=\"branches\",name=\"n{i}\",branches=[[],{inner}]}}]");
        if inner.len() > 2_000_000 {
            break;
        }
    }
    let piece = "[{ type = \"conv\", name = \"a\", kernel = 1, channels = 8 }]";
    assert!(matches!(error_of(piece, &inner), NetError::Toml { .. }));
}

/// Broken files give errors: every prefix, and thousands of changed bytes.
#[test]
fn broken_files_never_panic() {
    for end in 0..FILE.len() {
        let _ = Net::from_toml(&FILE[..end]);
    }
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    for _ in 0..3000 {
        let mut bytes = FILE.as_bytes().to_vec();
        for _ in 0..1 + random() % 3 {
            let at = random() % bytes.len();
            bytes[at] = b"0123456789[]{}=\"',.\n x-e"[random() % 24];
        }
        let _ = Net::from_toml(std::str::from_utf8(&bytes).unwrap());
    }
}

#[test]
fn json_needs_no_order() {
    let net = Net::from_toml(FILE).unwrap();
    let mut json = serde_json::to_value(&net).unwrap();
    // serde_json's maps are sorted, so `channels` and `name` stand before `type` here.
    json["layer"][0]["kernel"] = serde_json::json!([1, 3]);
    let read: Net = serde_json::from_value(json).unwrap();
    let graph = read.graph().unwrap();
    assert_eq!(graph.parameters()[0].shape, [16, 3, 1, 3]);
}

#[test]
fn drawings_show_every_layer_once() {
    let built_in = zoo::names().map(|name| zoo::build(name, &Options::default()).unwrap());
    for net in built_in.chain([Net::from_toml(FILE).unwrap()]) {
        let svg = net.to_svg().unwrap();
        let graph = net.graph().unwrap();
        for layer in &graph.layers[1..] {
            let inner_concat =
                layer.name.ends_with("branch3x3_2") || layer.name.ends_with("branch3x3dbl_3");
            let is_open = matches!(layer.op, inception_net::graph::Op::Concat) && inner_concat;
            let expected = usize::from(!is_open && !layer.name.ends_with(".depthwise"));
            let title = format!("<title>{}</title>", layer.name);
            assert_eq!(svg.matches(&title).count(), expected, "{} {}", net.name, layer.name);
        }
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for tag in ["g", "text", "svg", "style", "defs", "title", "marker"] {
            let open =
                svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
            assert_eq!(open, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", net.name);
    }
}

#[test]
fn drawings_escape_names() {
    let svg = error_free("name = \"stem\"", "name = \"<a & b>\"").to_svg().unwrap();
    assert!(svg.contains("&lt;a &amp; b&gt;") && !svg.contains("<a &"));
}

fn error_free(piece: &str, by: &str) -> Net {
    Net::from_toml(&FILE.replacen(piece, by, 1)).unwrap()
}
