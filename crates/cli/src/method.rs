//! A recipe in words.

use inception_train::{Averaging, ClassWeights, Decay, Recipe, Rule, SmoothingOver};

/// What a report says of the method: name and value of every ingredient.
pub fn facts(recipe: &Recipe) -> Vec<(&'static str, String)> {
    let number = |value: Option<f64>, otherwise: &str| {
        value.map_or(otherwise.to_owned(), |value| value.to_string())
    };
    let mut facts = vec![
        ("epochs", recipe.epochs.to_string()),
        ("batch", batch(recipe)),
        ("optimiser", optimizer(recipe)),
        ("learning rate", schedule(recipe)),
        ("label smoothing", smoothing(recipe)),
        ("weight decay", recipe.weight_decay.to_string()),
        ("gradient clipping", clipping(recipe)),
        ("weight average", average(recipe)),
        ("auxiliary weight", number(recipe.auxiliary_weight, "the network's")),
        ("dropout", number(recipe.dropout, "the network's")),
    ];
    if let Some(weights) = &recipe.class_weights {
        facts.push(("class weights", class_weights(weights)));
    }
    if let Some(stopping) = recipe.early_stopping {
        facts.push(("early stopping", format!("after {} worse epochs", stopping.patience)));
    }
    if let Some(distillation) = recipe.distillation {
        let (temperature, weight) = (distillation.temperature, distillation.weight);
        facts.push(("teacher", format!("weight {weight}, temperature {temperature}")));
    }
    facts
}

fn batch(recipe: &Recipe) -> String {
    match recipe.accumulate {
        1 => recipe.batch.to_string(),
        batches => format!("{} × {batches}", recipe.batch),
    }
}

/// The optimiser.
pub fn optimizer(recipe: &Recipe) -> String {
    match &recipe.optimizer {
        Rule::Sgd { momentum, nesterov } => {
            let nesterov = if *nesterov { " (Nesterov)" } else { "" };
            format!("SGD, momentum {momentum}{nesterov}")
        }
        Rule::RmsProp { decay, momentum, epsilon } => {
            format!("RMSProp, decay {decay}, momentum {momentum}, ε {epsilon}")
        }
        Rule::RmsPropPyTorch { decay, momentum, epsilon } => {
            format!("RMSProp (PyTorch's), decay {decay}, momentum {momentum}, ε {epsilon}")
        }
        Rule::AdamW { beta1, beta2, epsilon } => {
            format!("AdamW, β₁ {beta1}, β₂ {beta2}, ε {epsilon}")
        }
    }
}

fn schedule(recipe: &Recipe) -> String {
    let schedule = &recipe.schedule;
    let decay = match &schedule.decay {
        Decay::Constant => "constant".to_owned(),
        Decay::Cosine => "cosine".to_owned(),
        Decay::Exponential { factor, every, staircase } => {
            let how = if *staircase { "at once" } else { "smoothly" };
            format!("× {factor} every {every} epochs, {how}")
        }
        Decay::Step { factor, at } => format!("× {factor} after epochs {at:?}"),
        Decay::Polynomial { power } => format!("polynomial, power {power}"),
        Decay::OneCycle { pct_start, .. } => format!("one cycle, rising for {pct_start}"),
    };
    let mut text = format!("{}, {decay}", schedule.largest(recipe.step_pictures()));
    if let Some(of) = schedule.of_epochs {
        text += &format!(", stretched from {of} epochs");
    }
    if schedule.warmup_epochs > 0.0 {
        text += &format!(", warm-up {}", schedule.warmup_epochs);
    }
    text
}

fn smoothing(recipe: &Recipe) -> String {
    match (recipe.label_smoothing, recipe.smoothing_over) {
        (0.0, _) => "none".to_owned(),
        (smoothing, SmoothingOver::All) => smoothing.to_string(),
        (smoothing, SmoothingOver::Others) => format!("{smoothing} over the other classes"),
    }
}

fn clipping(recipe: &Recipe) -> String {
    let norm = recipe.clip_norm.map(|limit| format!("norm {limit}"));
    let value = recipe.clip_value.map(|limit| format!("value {limit}"));
    let both: Vec<String> = value.into_iter().chain(norm).collect();
    if both.is_empty() { "none".to_owned() } else { both.join(", ") }
}

fn average(recipe: &Recipe) -> String {
    match recipe.average {
        None => "none".to_owned(),
        Some(Averaging::Exponential { decay }) => format!("exponential, decay {decay}"),
        Some(Averaging::Polyak { from }) => format!("Polyak, from {from} of the run on"),
    }
}

fn class_weights(weights: &ClassWeights) -> String {
    match weights {
        ClassWeights::Rule(_) => "balanced".to_owned(),
        ClassWeights::List(weights) => {
            weights.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
        }
    }
}
