//! Each rule on a run of values: weights `w`, gradients `g`, and what the rule remembers. The
//! formulas stand at [`Rule`](super::Rule).

/// `m` is the momentum.
pub(super) fn sgd(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    rate: f64,
    momentum: f64,
    nesterov: bool,
) {
    for ((w, &g), m) in w.iter_mut().zip(g).zip(m) {
        let g = f64::from(g);
        let moved = momentum * f64::from(*m) + g;
        let step = if nesterov { g + momentum * moved } else { moved };
        *m = moved as f32;
        *w = (f64::from(*w) - rate * step) as f32;
    }
}

/// `s` is the mean square, `m` the momentum; constants are decay, momentum, ε.
pub(super) fn rmsprop(
    w: &mut [f32],
    g: &[f32],
    [s, m]: [&mut [f32]; 2],
    rate: f64,
    [decay, momentum, epsilon]: [f64; 3],
) {
    let (rate, forget) = (rate as f32, (1.0 - decay) as f32);
    let (momentum, epsilon) = (momentum as f32, epsilon as f32);
    for (((w, g), s), m) in w.iter_mut().zip(g).zip(s).zip(m) {
        *s += forget * (g * g - *s);
        *m = momentum * *m + rate * g / (*s + epsilon).sqrt();
        *w -= *m;
    }
}

/// As [`rmsprop`], in PyTorch's form.
pub(super) fn rmsprop_pytorch(
    w: &mut [f32],
    g: &[f32],
    [s, m]: [&mut [f32]; 2],
    rate: f64,
    [decay, momentum, epsilon]: [f64; 3],
) {
    let (rate, forget) = (rate as f32, (1.0 - decay) as f32);
    let (momentum, epsilon) = (momentum as f32, epsilon as f32);
    for (((w, g), s), m) in w.iter_mut().zip(g).zip(s).zip(m) {
        *s += forget * (g * g - *s);
        *m = momentum * *m + g / (s.sqrt() + epsilon);
        *w -= rate * *m;
    }
}

/// `s` is the mean square, `m` the mean; constants are β₁, β₂, ε; `count` is the number of steps,
/// this one included.
pub(super) fn adam(
    w: &mut [f32],
    g: &[f32],
    [s, m]: [&mut [f32]; 2],
    rate: f64,
    [beta1, beta2, epsilon]: [f64; 3],
    count: u64,
) {
    let (forget1, forget2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
    // Beyond the numbers of `i32` both powers are 0 long since.
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let rate = (rate / (1.0 - beta1.powi(count))) as f32;
    let unbias = (1.0 / (1.0 - beta2.powi(count)).sqrt()) as f32;
    let epsilon = epsilon as f32;
    for (((w, g), s), m) in w.iter_mut().zip(g).zip(s).zip(m) {
        *m += forget1 * (g - *m);
        *s += forget2 * (g * g - *s);
        *w -= rate * *m / (s.sqrt() * unbias + epsilon);
    }
}
