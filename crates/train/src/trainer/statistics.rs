//! What a training step finds in every layer, there and back.

use std::sync::Arc;

use inception_engine::Training;
use inception_image::{Batch, Batching, Dataset, Pipeline};
use inception_metrics::Evaluation;
use inception_net::graph::{LayerId, Role};

use super::Trainer;
use super::session;
use super::step::{Broken, Moment, dropout_seed};
use crate::{TrainError, gradient, predictor};

/// A layer with weights in one step of training.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerStatistics {
    /// The layer.
    pub name: String,
    /// Mean of its output over pictures, channels and positions.
    pub mean: f64,
    /// Standard deviation of its output.
    pub deviation: f64,
    /// Share of its outputs that are exactly 0, which is what ReLU makes of all below it.
    pub zeros: f64,
    /// Share of its channels that are 0 everywhere in all pictures: none of them learns from these.
    pub dead: f64,
    /// Length of its filters or matrix, taken as one vector.
    pub weight_norm: f64,
    /// Length of their gradient as the optimiser gets it: with weight decay, clipped.
    pub gradient_norm: f64,
    /// How far the step moved them.
    pub update_norm: f64,
}

impl Trainer {
    /// Does one more step, on a batch of the epoch after the last with the last step's learning
    /// rate, and tells what it finds in each layer that has filters or a matrix, in the network's
    /// order. The weights are not those of the run any more, so the trainer is used up.
    ///
    /// # Errors
    /// If no picture can be read, or numbers are not finite any more.
    pub fn statistics(
        mut self,
        data: &Dataset,
        workers: usize,
    ) -> Result<Vec<LayerStatistics>, TrainError> {
        self.begin_at_the_picture()?;
        let batch = self.next_batch(data, workers)?;
        let recipe = &self.run.recipe;
        let part = self.run.steps * recipe.accumulate as u64;
        self.training.forward(&batch.pictures, dropout_seed(recipe.seed, part))?;
        let layers = self.layers_with_weights();
        let mut found: Vec<LayerStatistics> =
            layers.iter().map(|&(_, layer)| self.output_statistics(layer, batch.len())).collect();
        let before = self.training.weights().clone();
        let rate = self.run.history.last().map_or(0.0, |epoch| epoch.learning_rate);
        let mut evaluation = Evaluation::new(self.run.net.classes);
        let criterion = session::criterion(&self.run.recipe, data)?;
        let moment = Moment { learning_rate: rate, done: 1.0 };
        self.step(std::iter::once(batch), &criterion, moment, &mut evaluation).map_err(
            |broken| match broken {
                Broken::Error(error) => error,
                Broken::NotFinite(origin) => TrainError::Statistics(origin),
            },
        )?;
        let (gradients, after) = (self.training.gradients(), self.training.weights().tensors());
        let length = |values: &[f32]| gradient::sum_of_squares(values).sqrt();
        for (layer, (place, _)) in found.iter_mut().zip(layers) {
            let before = &before.tensors()[place].values;
            let moved: Vec<f32> = after[place]
                .values
                .iter()
                .zip(before)
                .map(|(after, before)| after - before)
                .collect();
            layer.weight_norm = length(before);
            layer.gradient_norm = length(&gradients[place]);
            layer.update_norm = length(&moved);
        }
        Ok(found)
    }

    /// Where only the layers behind kept features were computed, all are from now on.
    fn begin_at_the_picture(&mut self) -> Result<(), TrainError> {
        if self.parts.inputs != [0] {
            self.parts.inputs = vec![0];
            let (weights, cpu) = (self.training.weights().clone(), Arc::clone(&self.cpu));
            let modes = &self.parts.modes;
            self.training = Training::partial(&self.graph, weights, cpu, modes, &[0])?;
        }
        Ok(())
    }

    /// The first batch of the epoch after the last.
    fn next_batch(&self, data: &Dataset, workers: usize) -> Result<Batch, TrainError> {
        let recipe = &self.run.recipe;
        let preprocessor = predictor::preprocessor(&self.run.net)?;
        let pipeline = Pipeline::new(data.train.clone(), preprocessor, recipe.augmentation, 0)?;
        let batching = Batching { batch: recipe.batch, drop_ragged: true, workers };
        let epoch = self.run.history.len() as u64;
        let mut loader = pipeline.train(recipe.seed.into(), epoch, 0, batching);
        loader.next().ok_or_else(|| {
            let first = loader.skipped().first().map(|(_, error)| error.to_string());
            TrainError::NoPictures(first.unwrap_or_default())
        })
    }

    /// Places of the filters and matrices among the weights, and their layers: those that a head
    /// depends on.
    fn layers_with_weights(&self) -> Vec<(usize, LayerId)> {
        let layers = &self.graph.layers;
        let mut needed = vec![false; layers.len()];
        self.graph.heads.iter().for_each(|head| needed[head.logits] = true);
        for id in (0..layers.len()).rev() {
            if needed[id] {
                layers[id].inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        let tensors = self.training.weights().tensors().iter().enumerate();
        let weights = tensors.filter(|(_, tensor)| tensor.parameter.role == Role::Weight);
        let places = weights.map(|(place, tensor)| (place, tensor.parameter.layer));
        places.filter(|&(_, layer)| needed[layer]).collect()
    }

    /// What the forward pass just made left in a layer's output.
    fn output_statistics(&self, layer: LayerId, pictures: usize) -> LayerStatistics {
        let values = self.training.output(layer);
        let layer = &self.graph.layers[layer];
        let pixels = layer.shape.height * layer.shape.width;
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let squares = values.iter().map(|&value| (f64::from(value) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        let zeros = values.iter().filter(|&&value| value == 0.0).count();
        let dead = |channel: &usize| {
            (0..pictures).all(|picture| {
                let start = (picture * layer.shape.channels + channel) * pixels;
                values[start..start + pixels].iter().all(|&value| value == 0.0)
            })
        };
        let dead = (0..layer.shape.channels).filter(dead).count();
        LayerStatistics {
            name: layer.name.clone(),
            mean,
            deviation,
            zeros: zeros as f64 / count,
            dead: dead as f64 / layer.shape.channels as f64,
            weight_norm: 0.0,
            gradient_norm: 0.0,
            update_norm: 0.0,
        }
    }
}
