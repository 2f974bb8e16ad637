//! A model's last evaluation, with the pictures worth looking at.

use anyhow::Result;
use inception_image::{Picture, Sample};
use inception_metrics::{Evaluation, cross_entropy, logit_gap, softmax, top_k};
use inception_train::Predictor;

use crate::report::{Shown, data_uri};

/// Pictures in each gallery: rows of six on a wide page.
const SHOWN: usize = 18;
/// Classes told of each picture.
const TOLD: usize = 3;

/// What a model does on its test pictures.
pub struct Showcase {
    /// All of them.
    pub evaluation: Evaluation,
    /// How far each picture's largest logit is above the mean of the others.
    pub gaps: Vec<f64>,
    /// Some, evenly spaced.
    pub examples: Vec<Shown>,
    /// Those it got wrong, in order of the probability it gave the truth, the lowest first.
    pub mistakes: Vec<Shown>,
}

/// A picture's place and what the model says of it.
struct Judged {
    place: usize,
    loss: f64,
    ranking: Vec<(usize, f64)>,
}

impl Showcase {
    /// Evaluates the model on the samples; `each` is told how many are done.
    pub fn new(
        predictor: &mut Predictor,
        samples: &[Sample],
        workers: usize,
        mut each: impl FnMut(usize),
    ) -> Result<Self> {
        let pipeline = predictor.pipeline(samples.to_vec(), 0)?;
        let shown = samples.len().min(SHOWN);
        let chosen: Vec<usize> =
            (0..shown).map(|i| (2 * i + 1) * samples.len() / (2 * shown)).collect();
        let mut gaps = Vec::with_capacity(samples.len());
        let (mut examples, mut mistakes) = (Vec::new(), Vec::<Judged>::new());
        let mut done = 0;
        let evaluation = predictor.evaluate(&pipeline, workers, |place, answer| {
            done += 1;
            each(done);
            let Ok(logits) = answer else { return };
            gaps.push(logit_gap(logits));
            if chosen.binary_search(&place).is_ok() {
                examples.push(judge(place, logits, &samples[place]));
            }
            if top_k(logits, 1) != [samples[place].label] {
                mistakes.push(judge(place, logits, &samples[place]));
                // Ties, as between certain mistakes, stay in the pictures' order.
                mistakes.sort_by(|a, b| b.loss.total_cmp(&a.loss));
                mistakes.truncate(SHOWN);
            }
        })?;
        let shown = |judged: Vec<Judged>| {
            judged.into_iter().filter_map(|j| j.shown(&samples[j.place])).collect()
        };
        Ok(Self { evaluation, gaps, examples: shown(examples), mistakes: shown(mistakes) })
    }
}

fn judge(place: usize, logits: &[f32], sample: &Sample) -> Judged {
    let probabilities = softmax(logits);
    let ranking = top_k(logits, TOLD).into_iter().map(|class| (class, probabilities[class]));
    Judged { place, loss: cross_entropy(logits, sample.label), ranking: ranking.collect() }
}

impl Judged {
    /// `None` if the picture is gone since.
    fn shown(&self, sample: &Sample) -> Option<Shown> {
        let picture = sample.picture().ok()?;
        Some(Shown {
            image: data_uri(picture.width(), picture.height(), &rgb(&picture))?,
            name: sample.name().into_owned(),
            truth: sample.label,
            ranking: self.ranking.clone(),
        })
    }
}

/// Red, green and blue of every pixel.
pub fn rgb(picture: &Picture) -> Vec<u8> {
    match picture.channels() {
        1 => picture.values().iter().flat_map(|&v| [v; 3]).collect(),
        _ => picture.values().to_vec(),
    }
}
