//! A model's description: layers, and what each reads.

use serde_json::Value;

use crate::Fault;

/// A functional or sequential model.
pub(super) struct Network<'a> {
    pub layers: Vec<Layer<'a>>,
    /// Names of the input layers, in the order of a call's arguments. Empty for a sequence.
    pub inputs: Vec<&'a str>,
    /// What the model returns. Empty for a sequence, which returns its last layer's output.
    pub outputs: Vec<Place<'a>>,
    /// Whether each layer reads the one before it.
    pub sequential: bool,
}

/// A layer, which may be a model itself.
pub(super) struct Layer<'a> {
    pub name: &'a str,
    pub class: &'a str,
    pub config: &'a Value,
    pub calls: Vec<Call<'a>>,
}

/// One use of a layer.
#[derive(Default)]
pub(super) struct Call<'a> {
    /// The tensors it reads.
    pub inputs: Vec<Place<'a>>,
    /// Numbers among its arguments, as in `x / 127.5`.
    pub numbers: Vec<f64>,
}

/// The output of a layer's use.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place<'a> {
    pub layer: &'a str,
    pub call: u64,
}

/// The network in `{"class_name": …, "config": {…}}`.
pub(super) fn network(model: &Value) -> Result<Network<'_>, Fault> {
    let class = text(model, "class_name")?;
    let config = model.get("config").ok_or_else(|| Fault::new("its model has no config"))?;
    match class {
        "Functional" | "Model" | "Sequential" => of_config(config, class == "Sequential"),
        other => Err(Fault::new(format!(
            "a model of the class {other} describes itself by code; build it in Keras as a \
             functional model and save that"
        ))),
    }
}

/// The same for a layer that is a model; `None` for other layers.
pub(super) fn inner<'a>(layer: &Layer<'a>) -> Result<Option<Network<'a>>, Fault> {
    match layer.class {
        "Functional" | "Model" | "Sequential" => {
            of_config(layer.config, layer.class == "Sequential").map(Some)
        }
        _ => Ok(None),
    }
}

fn of_config(config: &Value, sequential: bool) -> Result<Network<'_>, Fault> {
    // Before 2.2 a sequence's config was the list itself.
    let layers = config.get("layers").unwrap_or(config);
    let layers = layers.as_array().ok_or_else(|| Fault::new("its model has no list of layers"))?;
    let layers: Vec<_> = layers.iter().map(layer).collect::<Result<_, _>>()?;
    let mut inputs = Vec::new();
    let mut outputs = Vec::new();
    if !sequential {
        places(config.get("input_layers").unwrap_or(&NULL), &mut inputs);
        places(config.get("output_layers").unwrap_or(&NULL), &mut outputs);
    }
    let inputs = inputs.into_iter().map(|place| place.layer).collect();
    Ok(Network { layers, inputs, outputs, sequential })
}

/// What is not there.
static NULL: Value = Value::Null;

fn layer(layer: &Value) -> Result<Layer<'_>, Fault> {
    let class = text(layer, "class_name")?;
    let config = layer.get("config").unwrap_or(&NULL);
    let name = layer.get("name").or_else(|| config.get("name")).and_then(Value::as_str);
    let name = name.unwrap_or(class);
    let nodes = layer.get("inbound_nodes").and_then(Value::as_array);
    let calls = nodes.into_iter().flatten().map(call).collect();
    Ok(Layer { name, class, config, calls })
}

/// Keras 2: `[["conv2d", 0, 0, {}], …]`, or one of these alone. Keras 3:
/// `{"args": […], "kwargs": {…}}` with tensors and numbers somewhere inside.
fn call(node: &Value) -> Call<'_> {
    let mut call = Call::default();
    match node {
        Value::Array(_) => {
            places(node, &mut call.inputs);
            let each = node.as_array().into_iter().flatten();
            for arguments in std::iter::once(node).chain(each).filter_map(|tensor| tensor.get(3)) {
                let arguments = arguments.as_object().into_iter().flat_map(|map| map.values());
                call.numbers.extend(arguments.filter_map(Value::as_f64));
            }
        }
        Value::Object(arguments) => {
            for part in ["args", "kwargs"] {
                arguments.get(part).into_iter().for_each(|value| tensors(value, &mut call));
            }
        }
        _ => {}
    }
    call
}

/// Tensors and numbers in a call of Keras 3. The JSON reader has bounded the depth.
fn tensors<'a>(value: &'a Value, call: &mut Call<'a>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| tensors(item, call)),
        Value::Number(number) => call.numbers.extend(number.as_f64()),
        Value::Object(object) => match object.get("config").and_then(|c| c.get("keras_history")) {
            Some(history) => places(history, &mut call.inputs),
            None => object.values().for_each(|item| tensors(item, call)),
        },
        _ => {}
    }
}

/// `["conv2d", 0, 0]` or lists of such.
fn places<'a>(value: &'a Value, found: &mut Vec<Place<'a>>) {
    let Some(items) = value.as_array() else { return };
    if let (Some(Value::String(layer)), Some(Value::Number(call))) = (items.first(), items.get(1)) {
        found.push(Place { layer, call: call.as_u64().unwrap_or(0) });
        return;
    }
    items.iter().for_each(|item| places(item, found));
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, Fault> {
    value
        .get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| Fault::new(format!("its model has a part without a {key}")))
}
