//! Several networks asked about the same pictures, and several views of each picture.

use std::collections::HashMap;

use inception_image::Sample;
use inception_metrics::{Evaluation, softmax};

use crate::TrainError;
use crate::predictor::{Answer, Predictor};

/// Pictures that all members answer before the next: bounds the memory for their answers.
const CHUNK: usize = 256;

/// Networks whose answers are averaged.
///
/// As in Szegedy et al. 2014 it is probabilities (after softmax) that are averaged, over the views
/// of a picture and over the networks. One network with one view is passed through untouched.
pub struct Ensemble {
    members: Vec<Member>,
    classes: usize,
}

struct Member {
    predictor: Predictor,
    /// By class of the ensemble: the member's output for it, if it has one.
    outputs: Vec<Option<usize>>,
}

impl Ensemble {
    /// The networks with their labels. Classes are those of the first; the others' are matched by
    /// name, so that networks with and without a background class go together.
    ///
    /// # Errors
    /// If a network lacks one of the first one's classes, those apart that stand for nothing
    /// (`background`, `unused …`).
    pub fn new(members: Vec<(Predictor, &[String])>) -> Result<Self, TrainError> {
        let labels = members.first().map(|(_, labels)| labels.to_vec()).unwrap_or_default();
        let idle = |label: &str| label == "background" || label.starts_with("unused");
        let fit = |(number, (predictor, own)): (usize, (Predictor, &[String]))| {
            let places: HashMap<_, usize> = numbered(own).into_iter().zip(0..).collect();
            let outputs: Vec<Option<usize>> =
                numbered(&labels).iter().map(|label| places.get(label).copied()).collect();
            let lacking = labels.iter().zip(&outputs).find(|(l, o)| o.is_none() && !idle(l));
            match lacking {
                Some((class, _)) => {
                    let (number, class) = (number + 1, class.clone());
                    Err(TrainError::Ensemble { number, class })
                }
                None => Ok(Member { predictor, outputs }),
            }
        };
        let members: Result<Vec<Member>, TrainError> =
            members.into_iter().enumerate().map(fit).collect();
        Ok(Self { members: members?, classes: labels.len() })
    }

    /// Asks about all samples and gives `each` the place of every sample, in order, with the
    /// answer: the logits of a single network and view, else the logarithms of the averaged
    /// probabilities, which serve as logits. `workers` threads read the pictures.
    ///
    /// # Errors
    /// As [`Predictor::answer`].
    pub fn answer(
        &mut self,
        samples: &[Sample],
        workers: usize,
        mut each: impl FnMut(usize, Answer),
    ) -> Result<(), TrainError> {
        if let [Member { predictor, .. }] = self.members.as_mut_slice() {
            let pipeline = predictor.pipeline(samples.to_vec(), 0)?;
            return predictor.answer(&pipeline, workers, each);
        }
        let count = self.members.len() as f64;
        for (chunk, first) in samples.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            let mut sums = vec![vec![0.0; self.classes]; chunk.len()];
            let mut failed = vec![false; chunk.len()];
            for Member { predictor, outputs } in &mut self.members {
                let pipeline = predictor.pipeline(chunk.to_vec(), 0)?;
                predictor.answer(&pipeline, workers, |place, answer| match answer {
                    Ok(logits) => {
                        let probabilities = softmax(logits);
                        for (sum, output) in sums[place].iter_mut().zip(&*outputs) {
                            *sum += output.map_or(0.0, |output| probabilities[output]);
                        }
                    }
                    // Told once, whichever networks fail at it.
                    Err(error) if !std::mem::replace(&mut failed[place], true) => {
                        each(first + place, Err(error));
                    }
                    Err(_) => {}
                })?;
            }
            for (place, sum) in sums.iter().enumerate().filter(|(place, _)| !failed[*place]) {
                let logits: Vec<f32> = sum.iter().map(|sum| (sum / count).ln() as f32).collect();
                each(first + place, Ok(&logits));
            }
        }
        Ok(())
    }

    /// How well the ensemble does on the samples that can be read; `each` is told every answer on
    /// the way.
    ///
    /// # Errors
    /// As [`Predictor::answer`].
    pub fn evaluate(
        &mut self,
        samples: &[Sample],
        workers: usize,
        mut each: impl FnMut(usize, Answer),
    ) -> Result<Evaluation, TrainError> {
        let mut evaluation = Evaluation::new(self.classes);
        self.answer(samples, workers, |place, answer| {
            if let Ok(logits) = answer {
                evaluation.add(logits, samples[place].label);
            }
            each(place, answer);
        })?;
        Ok(evaluation)
    }
}

/// Labels with how many of the same come before: ImageNet has two `crane`s and two `maillot`s.
fn numbered(labels: &[String]) -> Vec<(&str, usize)> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let number = |label| {
        let count = seen.entry(label).or_default();
        *count += 1;
        (label, *count)
    };
    labels.iter().map(String::as_str).map(number).collect()
}
