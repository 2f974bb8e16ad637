//! A network whose answers another learns from.

use std::sync::Arc;

use inception_engine::{Cpu, Inference};
use inception_model::Model;
use inception_net::Net;
use inception_net::preprocessing::ChannelOrder;

use crate::TrainError;

/// A network ready to answer a student's batches.
///
/// It sees the very pictures that the student sees, augmented alike: each value is brought from the
/// student's range and order of channels to its own. So both have to take pictures of one size.
pub struct Teacher {
    inference: Inference,
    /// Pixels of a channel.
    pixels: usize,
    /// By channel of the teacher's input: the student's channel, and factor and summand that
    /// make its values the teacher's.
    channels: Vec<(usize, f32, f32)>,
    /// By class of the student: the teacher's output for it.
    outputs: Vec<usize>,
    classes: usize,
}

impl Teacher {
    /// A model as the teacher of a network with these classes.
    ///
    /// # Errors
    /// If it is not a network, takes pictures of another size or kind, or lacks a class.
    pub fn new(
        model: &Model,
        student: &Net,
        labels: &[String],
        cpu: Arc<Cpu>,
    ) -> Result<Self, TrainError> {
        let (own, others) = (model.net.input, student.input);
        if (own.height, own.width, own.channels) != (others.height, others.width, others.channels) {
            let of = |channels, height, width| format!("{channels}×{height}×{width}");
            return Err(TrainError::Teacher(format!(
                "it takes pictures of {}, the network to be trained of {}; train it with --size {}x{} \
                 or choose a teacher of its size",
                of(own.channels, own.height, own.width),
                of(others.channels, others.height, others.width),
                own.height,
                own.width,
            )));
        }
        let outputs: Result<Vec<usize>, TrainError> = labels
            .iter()
            .map(|label| {
                let place = model.labels.iter().position(|own| own == label);
                place.ok_or_else(|| TrainError::Teacher(format!("it knows no class `{label}`")))
            })
            .collect();
        let graph = model.net.graph()?;
        Ok(Self {
            inference: Inference::new(&graph, &model.weights, cpu)?,
            pixels: own.height * own.width,
            channels: channels(&model.net, student),
            outputs: outputs?,
            classes: model.net.classes,
        })
    }

    /// Logits for a batch of the student's pictures, a value for each of the student's classes.
    ///
    /// # Errors
    /// If the pictures are not of the student's size.
    pub fn answer(&mut self, pictures: &[f32]) -> Result<Vec<f32>, TrainError> {
        let size = self.pixels * self.channels.len();
        let mut own = vec![0.0; pictures.len()];
        for (from, to) in pictures.chunks_exact(size).zip(own.chunks_exact_mut(size)) {
            for (&(channel, factor, summand), to) in
                self.channels.iter().zip(to.chunks_exact_mut(self.pixels))
            {
                let from = &from[channel * self.pixels..(channel + 1) * self.pixels];
                to.iter_mut().zip(from).for_each(|(to, v)| *to = v * factor + summand);
            }
        }
        let logits = self.inference.run(&own)?;
        let rows = logits.chunks_exact(self.classes);
        Ok(rows.flat_map(|row| self.outputs.iter().map(|&output| row[output])).collect())
    }
}

/// From `(v − mean) / std` of the student to the teacher's, channel by channel.
fn channels(teacher: &Net, student: &Net) -> Vec<(usize, f32, f32)> {
    let (own, others) = (&teacher.preprocessing, &student.preprocessing);
    let count = own.mean.len();
    let mirrored = own.order != others.order && own.order != ChannelOrder::Grey;
    (0..count)
        .map(|channel| {
            let from = if mirrored { count - 1 - channel } else { channel };
            let factor = others.std[from] / own.std[channel];
            (from, factor, (others.mean[from] - own.mean[channel]) / own.std[channel])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_students_values_become_the_teachers() {
        let net = |mean: [f32; 3], std: [f32; 3], order| {
            let mut net = inception_net::zoo::build("googlenet", &Default::default()).unwrap();
            (net.preprocessing.mean, net.preprocessing.std) = (mean.to_vec(), std.to_vec());
            net.preprocessing.order = order;
            net
        };
        let student = net([0.5, 0.25, 0.125], [0.5, 0.25, 1.0], ChannelOrder::Rgb);
        let teacher = net([0.1, 0.2, 0.3], [0.2, 0.4, 0.8], ChannelOrder::Bgr);
        let pixel = [0.75f32, 0.5, 0.25];
        for (channel, (from, factor, summand)) in channels(&teacher, &student).iter().enumerate() {
            assert_eq!(*from, 2 - channel);
            let seen = (pixel[*from] - student.preprocessing.mean[*from])
                / student.preprocessing.std[*from];
            let wanted = (pixel[*from] - teacher.preprocessing.mean[channel])
                / teacher.preprocessing.std[channel];
            assert!((seen * factor + summand - wanted).abs() < 1e-6);
        }
        assert_eq!(channels(&student, &student), [(0, 1.0, 0.0), (1, 1.0, 0.0), (2, 1.0, 0.0)]);
    }
}
