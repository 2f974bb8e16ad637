//! What `peers/networks.py` writes for our engine to compute: a network of the zoo in
//! torchvision's dialect, its weights, pictures with labels.

use std::error::Error;
use std::path::Path;

use inception_engine::reference::cross_entropy;
use inception_kernels::reference::Tensor;
use inception_model::{TensorFile, Weights};
use inception_net::graph::{Graph, Op};
use inception_net::zoo::{self, Dialect, Options};

/// A network and a batch for it.
pub struct Case {
    /// Without dropout, which no two engines draw alike.
    pub graph: Graph,
    pub weights: Weights,
    /// In (picture, channel, row, column) order.
    pub pictures: Vec<f32>,
    pub labels: Vec<usize>,
}

/// `case.json`.
#[derive(serde::Deserialize)]
struct Description {
    network: String,
    classes: usize,
    labels: Vec<usize>,
}

impl Case {
    /// Reads `case.json`, `pictures.safetensors` and `weights.safetensors`.
    pub fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let description = std::fs::read(folder.join("case.json"))?;
        let Description { network, classes, labels } = serde_json::from_slice(&description)?;
        let options = Options {
            classes: Some(classes),
            dialect: Some(Dialect::Torchvision),
            ..Options::default()
        };
        let mut graph = zoo::build(&network, &options)?.graph()?;
        for layer in &mut graph.layers {
            if let Op::Dropout { rate } = &mut layer.op {
                *rate = 0.0;
            }
        }
        let pictures = TensorFile::open(&folder.join("pictures.safetensors"))?;
        let (_, _, pictures) = pictures.into_tensors()?.pop().ok_or("there are no pictures")?;
        let weights = TensorFile::open(&folder.join("weights.safetensors"))?;
        let weights = Weights::from_named(&graph, weights.into_tensors()?)?;
        Ok(Self { graph, weights, pictures, labels })
    }

    /// The weighted loss of all heads' logits for the first pictures, and its gradients.
    pub fn loss(&self, logits: &[Vec<f32>]) -> (f64, Vec<Vec<f32>>) {
        let heads = self.graph.heads.iter().zip(logits).map(|(head, logits)| {
            let classes = self.graph.layers[head.logits].shape.channels;
            let pictures = logits.len() / classes;
            let data = logits.iter().map(|&v| v.into()).collect();
            let logits = Tensor { shape: [pictures, classes, 1, 1], data };
            let (loss, gradient) = cross_entropy(&logits, &self.labels[..pictures], 0.0);
            let weight = f64::from(head.loss_weight);
            let gradient = gradient.data.iter().map(|g| (weight * g) as f32).collect();
            (weight * loss, gradient)
        });
        let (losses, gradients): (Vec<f64>, Vec<Vec<f32>>) = heads.unzip();
        (losses.iter().sum(), gradients)
    }
}
