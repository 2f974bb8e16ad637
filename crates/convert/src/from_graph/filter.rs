//! A layer with weights, and what folds into it.

use inception_formats::graph::Padding;

/// Whatever has weights.
pub(super) struct Filter {
    pub kind: Kind,
    /// `[out, in / groups, height, width]` or `[out, in]`.
    pub shape: Vec<usize>,
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub norm: Option<Norm>,
    pub relu: bool,
    /// The depthwise convolution before a 1×1 one.
    pub depthwise: Option<Depthwise>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Conv {
        stride: (usize, usize),
        padding: Padding,
    },
    /// Each channel by filters of its own.
    Depthwise {
        stride: (usize, usize),
        padding: Padding,
        groups: usize,
    },
    Linear,
}

pub(super) struct Depthwise {
    pub stride: (usize, usize),
    pub padding: Padding,
    pub multiplier: usize,
    pub shape: Vec<usize>,
    pub weight: Vec<f32>,
}

pub(super) struct Norm {
    pub scale: Option<Vec<f32>>,
    pub shift: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    pub epsilon: f32,
}

impl Filter {
    pub fn outputs(&self) -> usize {
        self.shape[0]
    }

    /// Whether it is a 1×1 convolution of every pixel.
    pub fn is_pointwise(&self) -> bool {
        let Kind::Conv { stride: (1, 1), padding } = self.kind else { return false };
        self.shape[2..] == [1, 1]
            && matches!(padding, Padding::Same | Padding::Explicit([0, 0, 0, 0]))
    }

    /// Whether it can end a network: a fully connected layer, or a convolution that would be one
    /// on a grid of its kernel's size.
    pub fn may_classify(&self) -> bool {
        let whole = matches!(
            self.kind,
            Kind::Linear | Kind::Conv { padding: Padding::Explicit([0, 0, 0, 0]), .. }
        );
        self.depthwise.is_none() && (whole || self.is_pointwise())
    }

    /// Makes the last layer a fully connected one without batch norm. A convolution's filters lie
    /// in memory as the matrix does.
    pub fn make_linear(&mut self) {
        self.kind = Kind::Linear;
        self.shape = vec![self.shape[0], self.shape[1..].iter().product()];
        self.fold_norm();
    }

    /// Batch norm into weights and bias.
    pub fn fold_norm(&mut self) {
        let Some(norm) = self.norm.take() else { return };
        let outputs = 0..self.outputs();
        let factor: Vec<f64> = outputs
            .clone()
            .map(|o| {
                let scale = norm.scale.as_ref().map_or(1.0, |scale| f64::from(scale[o]));
                scale / (f64::from(norm.variance[o]) + f64::from(norm.epsilon)).sqrt()
            })
            .collect();
        let offset: Vec<f64> = outputs
            .map(|o| f64::from(norm.shift[o]) - f64::from(norm.mean[o]) * factor[o])
            .collect();
        self.multiply(&factor, &offset);
    }

    /// Batch norm of what comes out. A bias before it moves the mean.
    pub fn normalise(&mut self, mut norm: Norm) {
        if let Some(bias) = self.bias.take() {
            norm.mean.iter_mut().zip(&bias).for_each(|(mean, bias)| *mean -= bias);
        }
        self.norm = Some(norm);
    }

    /// `x * factor + offset` of what comes out.
    pub fn scale(&mut self, factor: &[f32], offset: &[f32]) {
        let wide = |values: &[f32]| -> Vec<f64> {
            (0..self.outputs()).map(|o| f64::from(values[o % values.len()])).collect()
        };
        let (factor, offset) = (wide(factor), wide(offset));
        let Some(norm) = &mut self.norm else { return self.multiply(&factor, &offset) };
        for (o, shift) in norm.shift.iter_mut().enumerate() {
            *shift = (f64::from(*shift) * factor[o] + offset[o]) as f32;
        }
        if factor.iter().any(|&factor| factor != 1.0) {
            let scale = norm.scale.get_or_insert_with(|| vec![1.0; factor.len()]);
            for (scale, factor) in scale.iter_mut().zip(&factor) {
                *scale = (f64::from(*scale) * factor) as f32;
            }
        }
    }

    fn multiply(&mut self, factor: &[f64], offset: &[f64]) {
        let per_output = (self.weight.len() / factor.len()).max(1);
        for (filter, &factor) in self.weight.chunks_mut(per_output).zip(factor) {
            if factor != 1.0 {
                filter.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
            }
        }
        let outputs = factor.len();
        let bias = self.bias.get_or_insert_with(|| vec![0.0; outputs]);
        for (o, bias) in bias.iter_mut().enumerate() {
            *bias = (f64::from(*bias) * factor[o] + offset[o]) as f32;
        }
    }

    /// Takes over the depthwise convolution before this 1×1 one, with its bias or batch norm,
    /// which is one factor and one offset for each of the channels read here.
    pub fn absorb(&mut self, mut depthwise: Filter, (stride, padding, groups): DepthwiseShape) {
        depthwise.fold_norm();
        if let Some(offset) = depthwise.bias.take() {
            let inputs = offset.len();
            let added = self.weight.chunks(inputs).map(|filter| {
                filter.iter().zip(&offset).map(|(w, b)| f64::from(*w) * f64::from(*b)).sum::<f64>()
            });
            let added: Vec<f64> = added.collect();
            self.multiply(&vec![1.0; added.len()], &added);
        }
        self.depthwise = Some(Depthwise {
            stride,
            padding,
            multiplier: depthwise.shape[0] / groups,
            shape: depthwise.shape,
            weight: depthwise.weight,
        });
    }
}

pub(super) type DepthwiseShape = ((usize, usize), Padding, usize);
