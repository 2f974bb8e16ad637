//! What a plan consists of, and how long each part takes.

use std::time::{Duration, Instant};

use inception_kernels::conv::Algorithm;

use super::Inference;
use super::lowering::{Kernel, Step};
use crate::EngineError;

/// One kernel call of a plan, for one picture.
#[derive(Clone, Debug)]
pub struct StepInfo {
    /// The layers it computes.
    pub layers: Vec<String>,
    /// What it does: `max pool`, …; a convolution's kernel, stride, channels and grid, as in
    /// `3×3/2 288→384 @17×17`.
    pub layer_kind: String,
    /// How a convolution is computed.
    pub algorithm: Option<Algorithm>,
    /// Those to choose from, of a convolution; a plan may name others that apply.
    pub candidates: Vec<Algorithm>,
    /// Multiply–adds of the definition.
    pub multiply_adds: u64,
    /// Those that are done, without transforms.
    pub done: u64,
    /// Bytes of packed weights.
    pub weights: usize,
}

impl Inference {
    /// The plan's steps, in order.
    pub fn steps(&self) -> &[StepInfo] {
        &self.infos
    }

    /// Computes a batch of at most [`BATCH`](super::BATCH) pictures like [`Inference::run`] and
    /// tells how long each step took; the results are lost.
    pub fn time_steps(&mut self, pictures: &[f32]) -> Result<Vec<Duration>, EngineError> {
        let count = crate::steps::count_pictures(pictures.len(), self.picture())?;
        self.arena.resize(count)?;
        let mut times = vec![Duration::ZERO; self.steps.len()];
        self.run_batch(pictures, |step, run| {
            let start = Instant::now();
            run();
            times[step] += start.elapsed();
        });
        Ok(times)
    }
}

impl Step {
    /// What the step is, for one picture.
    pub fn info(&self, names: Vec<String>) -> StepInfo {
        let mut info = StepInfo {
            layers: names,
            layer_kind: self.kind().to_owned(),
            algorithm: None,
            candidates: Vec::new(),
            multiply_adds: 0,
            done: 0,
            weights: 0,
        };
        if let Kernel::Conv { filters, layer, multiply_adds, .. } = &self.kernel {
            let algorithm = filters.algorithm();
            info.multiply_adds = *multiply_adds;
            info.done = layer.multiply_adds(algorithm).round() as u64;
            info.layer_kind = layer.kind();
            info.algorithm = Some(algorithm);
            info.candidates = layer.candidates();
            info.weights = filters.bytes();
        }
        info
    }

    fn kind(&self) -> &'static str {
        match &self.kernel {
            Kernel::Conv { .. } => "convolution",
            Kernel::Depthwise { .. } => "depthwise convolution",
            Kernel::MaxPool(_) => "max pool",
            Kernel::AvgPool { .. } => "average pool",
            Kernel::Lrn(_) => "local response norm",
            Kernel::Copy => "copy",
        }
    }
}
