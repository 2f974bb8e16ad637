//! The named tensors of a graph's weights.

use crate::graph::{BatchNorm, Graph, Layer, Op, Parameter, Role};

impl Graph {
    /// All parameters, in the order of the layers; within a layer weight, bias, then batch norm's
    /// scale, shift, running mean and running variance.
    ///
    /// Convolutions and their batch norm have the names `LAYER.conv.…` and `LAYER.bn.…`, linear
    /// layers `LAYER.weight`, `LAYER.bias` and `LAYER.bn.…`, as torchvision's networks do. A
    /// depthwise layer, itself called `NAME.depthwise`, has `NAME.depthwise.weight`.
    pub fn parameters(&self) -> Vec<Parameter> {
        (0..self.layers.len()).flat_map(|id| self.layer_parameters(id)).collect()
    }

    /// The parameters of one layer.
    pub fn layer_parameters(&self, id: usize) -> Vec<Parameter> {
        let layer = &self.layers[id];
        let mut list = List { layer, id, parameters: Vec::new() };
        let channels = layer.shape.channels;
        match &layer.op {
            Op::Conv(conv) => {
                let (height, width) = conv.window.kernel;
                let inputs = self.layers[layer.inputs[0]].shape.channels;
                list.push("conv.weight", vec![channels, inputs, height, width], Role::Weight);
                if conv.bias {
                    list.push("conv.bias", vec![channels], Role::Bias);
                }
                list.push_batch_norm(conv.batch_norm);
            }
            Op::Depthwise { window, .. } => {
                let (height, width) = window.kernel;
                list.push("weight", vec![channels, 1, height, width], Role::Weight);
            }
            Op::Linear(linear) => {
                let inputs = self.layers[layer.inputs[0]].shape.len();
                list.push("weight", vec![channels, inputs], Role::Weight);
                if linear.bias {
                    list.push("bias", vec![channels], Role::Bias);
                }
                list.push_batch_norm(linear.batch_norm);
            }
            Op::Input
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::LocalResponseNorm { .. }
            | Op::Concat
            | Op::Dropout { .. } => {}
        }
        list.parameters
    }
}

/// One layer's parameters while they are listed.
struct List<'a> {
    layer: &'a Layer,
    id: usize,
    parameters: Vec<Parameter>,
}

impl List<'_> {
    fn push(&mut self, name: &str, shape: Vec<usize>, role: Role) {
        let name = format!("{}.{name}", self.layer.name);
        self.parameters.push(Parameter { name, shape, layer: self.id, role });
    }

    fn push_batch_norm(&mut self, batch_norm: Option<BatchNorm>) {
        let Some(batch_norm) = batch_norm else { return };
        let shape = vec![self.layer.shape.channels];
        if batch_norm.scale {
            self.push("bn.weight", shape.clone(), Role::Scale);
        }
        self.push("bn.bias", shape.clone(), Role::Shift);
        self.push("bn.running_mean", shape.clone(), Role::RunningMean);
        self.push("bn.running_var", shape, Role::RunningVariance);
    }
}
