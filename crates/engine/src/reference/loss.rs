//! What training minimises, in `f64`.

use inception_kernels::reference::Tensor;
use inception_net::graph::Graph;

use super::Pass;

impl Pass<'_> {
    /// Logits of each head, the main one last.
    pub fn logits(&self, graph: &Graph) -> Vec<Tensor> {
        graph.heads.iter().map(|head| self.outputs[head.logits].clone()).collect()
    }

    /// The loss of a training step and its gradient by each head's logits: the heads' softmax
    /// cross entropies, means over the pictures, summed with the heads' weights. `smoothing` is
    /// the share of every target that is spread evenly over all classes (1512.00567, §7).
    pub fn loss(&self, graph: &Graph, labels: &[usize], smoothing: f64) -> (f64, Vec<Tensor>) {
        let heads = graph.heads.iter().zip(self.logits(graph)).map(|(head, logits)| {
            let weight = f64::from(head.loss_weight);
            let (loss, mut gradient) = cross_entropy(&logits, labels, smoothing);
            gradient.data.iter_mut().for_each(|value| *value *= weight);
            (weight * loss, gradient)
        });
        let (losses, gradients): (Vec<f64>, Vec<Tensor>) = heads.unzip();
        (losses.iter().sum(), gradients)
    }
}

/// Softmax cross entropy, mean over the pictures, and its gradient; `smoothing` as in
/// [`Pass::loss`].
pub fn cross_entropy(logits: &Tensor, labels: &[usize], smoothing: f64) -> (f64, Tensor) {
    let pictures = logits.shape[0];
    assert_eq!(pictures, labels.len(), "a label for each picture");
    let classes = logits.data.len() / pictures;
    let mut loss = 0.0;
    let mut gradient = logits.clone();
    for (row, &label) in gradient.data.chunks_exact_mut(classes).zip(labels) {
        let largest = row.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(v));
        let log_sum = largest + row.iter().map(|v| (v - largest).exp()).sum::<f64>().ln();
        for (class, value) in row.iter_mut().enumerate() {
            let own = if class == label { 1.0 - smoothing } else { 0.0 };
            let target = own + smoothing / classes as f64;
            let log_probability = *value - log_sum;
            loss -= target * log_probability / pictures as f64;
            *value = (log_probability.exp() - target) / pictures as f64;
        }
    }
    (loss, gradient)
}
