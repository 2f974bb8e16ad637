//! Whole runs on a tiny network.

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::{Witness, cpu, data, essence, model, recipe, samples, train};
use inception_image::Sample;
use inception_image::dataset::Source;
use inception_model::Model;
use inception_train::{
    Averaging, CHECKPOINT_FILE, Checkpoint, MODEL_FILE, Observer, Origin, Predictor, Recipe, Rule,
    RunOptions, StepReport, TrainError, Trainer, untrained,
};
use tempfile::tempdir;

fn checkpoint(folder: &Path) -> Checkpoint {
    Checkpoint::load(&folder.join(CHECKPOINT_FILE)).unwrap()
}

/// A whole run; its folder's checkpoint and model.
fn outcome(recipe: &Recipe, threads: usize, workers: usize) -> (Checkpoint, Model) {
    let folder = tempdir().unwrap();
    let trainer = Trainer::new(model(), recipe.clone(), cpu(threads)).unwrap();
    let mut witness = Witness::default();
    let ended = train(trainer, &data(), folder.path(), workers, &mut witness).unwrap();
    let checkpoint = checkpoint(folder.path());
    assert!(ended.finished);
    assert_eq!(ended.run, checkpoint.run);
    (checkpoint, Model::load(&folder.path().join(MODEL_FILE)).unwrap())
}

#[test]
fn learns_and_says_how() {
    let folder = tempdir().unwrap();
    let trainer = Trainer::new(model(), recipe(16), cpu(2)).unwrap();
    let mut witness = Witness::default();
    let ended = train(trainer, &data(), folder.path(), 1, &mut witness).unwrap();
    assert_eq!(ended.run.history, witness.epochs);
    let (first, last) = (&witness.epochs[0], &witness.epochs[15]);
    assert!(last.test_top1 >= Some(0.9), "{last:?}");
    assert!(last.objective < first.objective && last.train_loss < first.train_loss);
    assert_eq!(last.test_top5, None);

    // 102 pictures in batches of 16: the ragged rest is left out.
    assert_eq!(witness.steps.len(), 16 * 6);
    let step = &witness.steps[8];
    assert_eq!((step.epoch, step.epochs, step.step, step.steps), (2, 16, 3, 6));
    let rates: Vec<f64> = witness.steps.iter().map(|step| step.learning_rate).collect();
    assert_eq!(rates[8], recipe(16).learning_rate(1.0 + 2.0 / 6.0));

    // What is saved is what was evaluated.
    let model = Model::load(&folder.path().join(MODEL_FILE)).unwrap();
    let mut predictor = Predictor::new(&model.net, &model.weights, cpu(1)).unwrap();
    let pipeline = predictor.pipeline(data().test, 0).unwrap();
    let mut order = Vec::new();
    let evaluation = predictor.evaluate(&pipeline, 2, |i, _| order.push(i)).unwrap();
    assert_eq!(Some(evaluation.loss()), last.test_loss);
    assert_eq!(Some(evaluation.top1()), last.test_top1);
    assert_eq!(order, (0..33).collect::<Vec<_>>());
}

#[test]
fn same_bits_for_any_number_of_threads() {
    let (one, two) = (outcome(&recipe(2), 1, 1), outcome(&recipe(2), 2, 3));
    assert_eq!(essence(&one.0), essence(&two.0));
    assert_eq!(one.1.weights, two.1.weights);
    assert_eq!(one.1.provenance, two.1.provenance);
    let other_seed = outcome(&Recipe { seed: 8, ..recipe(2) }, 2, 1);
    assert_ne!(one.1.weights, other_seed.1.weights);
}

/// A run interrupted by `witness` and resumed, beside one that never was.
fn interrupted(recipe: &Recipe, mut witness: Witness, (epochs, steps): (usize, usize)) {
    let folder = tempdir().unwrap();
    let trainer = Trainer::new(model(), recipe.clone(), cpu(1)).unwrap();
    let ended = train(trainer, &data(), folder.path(), 1, &mut witness).unwrap();
    assert!(!ended.finished);
    assert_eq!(ended.run.history.len(), epochs);
    assert_eq!(ended.run.epoch.as_ref().map_or(0, |tally| tally.steps), steps);
    let halfway = checkpoint(folder.path());
    assert_eq!(ended.run, halfway.run);

    let trainer = Trainer::resume(halfway, cpu(2)).unwrap();
    let mut rest = Witness::default();
    let ended = train(trainer, &data(), folder.path(), 2, &mut rest).unwrap();
    assert!(ended.finished);
    assert_eq!(rest.epochs.len(), recipe.epochs - epochs);
    assert_eq!(rest.steps.first().map(|s| (s.epoch, s.step)), Some((epochs + 1, steps + 1)));
    let (whole, whole_model) = outcome(recipe, 1, 1);
    assert_eq!(essence(&checkpoint(folder.path())), essence(&whole));
    let resumed_model = Model::load(&folder.path().join(MODEL_FILE)).unwrap();
    assert_eq!(resumed_model.weights, whole_model.weights);
}

#[test]
fn a_run_stopped_after_an_epoch_goes_on_as_if_it_had_not_been() {
    interrupted(&recipe(4), Witness { stop_after_epoch: 2, ..Witness::default() }, (2, 0));
}

#[test]
fn a_run_stopped_within_an_epoch_goes_on_at_the_very_step() {
    for stop in [(2, 3), (1, 2), (1, 1)] {
        let witness = Witness { stop_at: Some(stop), ..Witness::default() };
        interrupted(&recipe(4), witness, (stop.0 - 1, stop.1));
    }
    let accumulating = Recipe { batch: 6, accumulate: 4, ..recipe(3) };
    let witness = Witness { stop_at: Some((2, 3)), ..Witness::default() };
    interrupted(&accumulating, witness, (1, 3));
}

/// Stopped when only the evaluation is left of an epoch.
#[test]
fn a_run_stopped_after_an_epochs_last_step_goes_on_with_its_evaluation() {
    let folder = tempdir().unwrap();
    let mut witness = Witness { stop_at: Some((1, 6)), ..Witness::default() };
    let trainer = Trainer::new(model(), recipe(1), cpu(1)).unwrap();
    let ended = train(trainer, &data(), folder.path(), 1, &mut witness).unwrap();
    assert!(!ended.finished && witness.epochs.is_empty());
    let mut rest = Witness::default();
    let trainer = Trainer::resume(checkpoint(folder.path()), cpu(1)).unwrap();
    assert!(train(trainer, &data(), folder.path(), 1, &mut rest).unwrap().finished);
    assert!(rest.steps.is_empty());
    assert_eq!(essence(&checkpoint(folder.path())), essence(&outcome(&recipe(1), 1, 1).0));
}

/// Every checkpoint that a run writes on its way is one to go on from, to the same end.
#[test]
fn a_checkpoint_after_every_step() {
    let folder = tempdir().unwrap();
    let trainer = Trainer::new(model(), recipe(2), cpu(1)).unwrap();
    let mut seen = Vec::new();
    struct Copies<'a>(&'a Path, &'a mut Vec<Checkpoint>);
    impl Observer for Copies<'_> {
        // The checkpoint that stands there is that of the step before.
        fn step(&mut self, _: &StepReport) {
            self.1.push(checkpoint(self.0));
        }
    }
    let stop = AtomicBool::new(false);
    let every = Duration::ZERO;
    let options =
        RunOptions { folder: folder.path(), workers: 1, checkpoint_every: every, stop: &stop };
    trainer.train(&data(), options, &mut Copies(folder.path(), &mut seen)).unwrap();
    let whole = essence(&checkpoint(folder.path()));
    let positions: Vec<_> = seen.iter().map(|checkpoint| checkpoint.run.steps).collect();
    // The last step of an epoch is left to the checkpoint after the evaluation.
    assert_eq!(positions, (0..12).collect::<Vec<_>>());
    for checkpoint in seen.into_iter().step_by(3) {
        let again = tempdir().unwrap();
        let trainer = Trainer::resume(checkpoint, cpu(2)).unwrap();
        train(trainer, &data(), again.path(), 1, &mut Witness::default()).unwrap();
        assert_eq!(essence(&self::checkpoint(again.path())), whole);
    }
}

/// Without batch norm and dropout, whose results hang on how pictures are divided, four batches
/// of four are one of sixteen.
#[test]
fn accumulated_gradients_are_those_of_one_large_batch() {
    let mut net = common::net();
    net.defaults.batch_norm = None;
    let weights = |batch, accumulate| {
        let folder = tempdir().unwrap();
        let recipe = Recipe { batch, accumulate, augmentation: None, ..recipe(2) };
        let mut net = net.clone();
        net.layers.retain(|step| step.name() != "dropout");
        let model = untrained(net, common::labels(), 3).unwrap();
        let trainer = Trainer::new(model, recipe, cpu(1)).unwrap();
        let mut witness = Witness::default();
        // 96 pictures: no ragged rest in either.
        let mut data = data();
        data.train.truncate(96);
        train(trainer, &data, folder.path(), 1, &mut witness).unwrap();
        assert_eq!(witness.steps.len(), 12);
        checkpoint(folder.path()).weights
    };
    let (one, four) = (weights(16, 1), weights(4, 4));
    for (one, four) in one.tensors().iter().zip(four.tensors()) {
        for (a, b) in one.values.iter().zip(&four.values) {
            assert!((a - b).abs() < 1e-5, "{}: {a} and {b}", one.parameter.name);
        }
    }
}

#[test]
fn without_average_the_weights_themselves_are_saved() {
    let (checkpoint, model) = outcome(&Recipe { average: None, ..recipe(1) }, 1, 1);
    assert!(checkpoint.average.is_none());
    assert_eq!(model.weights, checkpoint.weights);
}

#[test]
fn numbers_that_blow_up_stop_the_run_and_keep_the_checkpoint() {
    let folder = tempdir().unwrap();
    let mut recipe = Recipe { clip_norm: None, ..recipe(3) };
    recipe.schedule.learning_rate = 1e38;
    let trainer = Trainer::new(model(), recipe, cpu(2)).unwrap();
    let mut witness = Witness::default();
    let error = train(trainer, &data(), folder.path(), 1, &mut witness).unwrap_err();
    let TrainError::NotFinite { epoch, step, origin, checkpoint: kept, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*epoch, *step), (1, witness.steps.len() + 1));
    assert!(!matches!(origin, Origin::Loss | Origin::Pictures), "{origin}");
    assert_eq!(*kept, folder.path().join(CHECKPOINT_FILE));
    assert_eq!(checkpoint(folder.path()).weights, model().weights);
    let message = error.to_string();
    assert!(message.contains("epoch 1, step") && message.contains("learning rate"), "{message}");
}

#[test]
fn a_test_loss_that_blows_up_is_no_epoch() {
    let folder = tempdir().unwrap();
    // One step: its weights are finite, and only the test pictures show what they do.
    let mut recipe = Recipe { batch: 102, average: None, ..recipe(1) };
    recipe.schedule.learning_rate = 1e30;
    recipe.schedule.warmup_epochs = 0.0;
    let trainer = Trainer::new(model(), recipe, cpu(1)).unwrap();
    let mut witness = Witness::default();
    let error = train(trainer, &data(), folder.path(), 1, &mut witness).unwrap_err();
    let TrainError::NotFinite { epoch: 1, step: 1, origin: Origin::TestLoss, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((witness.steps.len(), witness.epochs.len()), (1, 0));
    assert_eq!(checkpoint(folder.path()).weights, model().weights);
    assert!(!folder.path().join(MODEL_FILE).exists());
    assert!(error.to_string().contains("smaller --learning-rate"), "{error}");
}

#[test]
fn a_broken_weight_is_named() {
    let folder = tempdir().unwrap();
    let mut model = model();
    let place = model.weights.place("mixed.left.bn.weight").unwrap();
    model.weights.at_mut(place)[2] = f32::NAN;
    let trainer = Trainer::new(model, recipe(1), cpu(1)).unwrap();
    let error = train(trainer, &data(), folder.path(), 1, &mut Witness::default()).unwrap_err();
    assert!(error.to_string().contains("`mixed.left.bn.weight`"), "{error}");
}

#[test]
fn a_layer_that_overflows_is_named() {
    let folder = tempdir().unwrap();
    let mut net = common::net();
    net.defaults.batch_norm = None;
    let mut model = inception_train::untrained(net, common::labels(), 1).unwrap();
    for name in ["stem.conv.weight", "mixed.left.conv.weight"] {
        let place = model.weights.place(name).unwrap();
        model.weights.at_mut(place).iter_mut().for_each(|w| *w *= 1e25);
    }
    let trainer = Trainer::new(model, recipe(1), cpu(1)).unwrap();
    let error = train(trainer, &data(), folder.path(), 1, &mut Witness::default()).unwrap_err();
    let TrainError::NotFinite { origin, step: 1, .. } = error else { panic!("{error}") };
    assert_eq!(origin, Origin::Output("mixed.left".into()));
}

#[test]
fn unreadable_pictures_are_told_once_and_counted() {
    let folder = tempdir().unwrap();
    let broken = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, "no picture").unwrap();
        Sample { source: Source::File(path), label: 1 }
    };
    let mut data = data();
    data.train.insert(5, broken("train.png"));
    data.test.push(broken("test.png"));
    let trainer = Trainer::new(model(), recipe(2), cpu(1)).unwrap();
    let mut witness = Witness::default();
    train(trainer, &data, folder.path(), 2, &mut witness).unwrap();
    witness.skipped.sort();
    let [test, train] = &witness.skipped[..] else { panic!("{:?}", witness.skipped) };
    assert!(test.contains("test.png") && train.contains("train.png"), "{test} {train}");
    // With the ragged rest the picture may be left out of an epoch before it is looked at.
    assert!(witness.epochs.iter().all(|epoch| (1..=2).contains(&epoch.skipped)));
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let folder = tempdir().unwrap();
    let fault = |data: &inception_image::Dataset| {
        let trainer = Trainer::new(model(), recipe(1), cpu(1)).unwrap();
        train(trainer, data, folder.path(), 1, &mut Witness::default()).unwrap_err().to_string()
    };
    let mut other_classes = data();
    other_classes.classes[1] = "dots".into();
    let message = fault(&other_classes);
    assert!(message.contains("rows, dots, plain"), "{message}");
    let mut without_pictures = data();
    without_pictures.train.clear();
    assert!(matches!(fault(&without_pictures), message if message.contains("no training")));
}

#[test]
fn without_test_pictures_nothing_is_claimed() {
    let folder = tempdir().unwrap();
    let mut data = data();
    data.test.clear();
    let trainer = Trainer::new(model(), recipe(1), cpu(1)).unwrap();
    let mut witness = Witness::default();
    train(trainer, &data, folder.path(), 1, &mut witness).unwrap();
    assert_eq!((witness.epochs[0].test_loss, witness.epochs[0].test_top1), (None, None));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_before_the_first_step() {
    let trainer = Trainer::new(model(), recipe(1), cpu(1)).unwrap();
    let mut witness = Witness::default();
    let nowhere = Path::new("/nonexistent/run");
    let error = train(trainer, &data(), nowhere, 1, &mut witness).unwrap_err();
    assert!(matches!(error, TrainError::Model(_)), "{error}");
    assert!(witness.steps.is_empty());
}

#[test]
fn a_file_that_is_no_checkpoint_is_named() {
    let folder = tempdir().unwrap();
    let (good, _) = outcome(&recipe(1), 1, 1);
    let path = folder.path().join("it");
    let fault = || Checkpoint::load(&path).unwrap_err().to_string();

    assert!(fault().contains("cannot read"));
    good.save(&path).unwrap();
    assert_eq!(essence(&Checkpoint::load(&path).unwrap()), essence(&good));
    let bytes = fs::read(&path).unwrap();
    for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(fault().contains("not a readable checkpoint"), "{}", fault());
    }
    model().save(&path).unwrap();
    assert!(fault().contains("inception-model"), "{}", fault());
    let mut other = good.clone();
    other.run.net.name = "other".into();
    other.run.recipe.optimizer = Rule::Sgd { momentum: 0.5, nesterov: false };
    other.run.recipe.average = Some(Averaging::Exponential { decay: 0.5 });
    other.average = None;
    other.save(&path).unwrap();
    assert!(fault().contains("average/"), "{}", fault());
}

#[test]
fn a_log_line_has_its_keys() {
    let (checkpoint, _) = outcome(&recipe(1), 1, 1);
    let line = serde_json::to_string(&checkpoint.run.history[0]).unwrap();
    for key in [
        "epoch",
        "train_loss",
        "train_top1",
        "test_loss",
        "test_top1",
        "learning_rate",
        "pictures_per_second",
        "seconds",
    ] {
        assert!(line.contains(&format!("\"{key}\":")), "{key} is not in {line}");
    }
    assert!(!line.contains('\n'));
}

#[test]
fn a_pictures_answer_does_not_depend_on_the_others() {
    let model = model();
    let mut predictor = Predictor::new(&model.net, &model.weights, cpu(2)).unwrap();
    let mut logits = |samples: Vec<Sample>, workers| {
        let pipeline = predictor.pipeline(samples, 0).unwrap();
        let mut all = Vec::new();
        predictor
            .answer(&pipeline, workers, |_, answer| all.push(answer.unwrap().to_vec()))
            .unwrap();
        all
    };
    let samples = samples(13, 5);
    let together = logits(samples.clone(), 3);
    let alone: Vec<_> = samples.into_iter().flat_map(|sample| logits(vec![sample], 1)).collect();
    assert_eq!(together, alone);
}

/// One more step finds in every layer what its output, weights and gradient say themselves.
#[test]
fn statistics_of_layers() {
    let folder = tempdir().unwrap();
    let trainer = Trainer::new(model(), recipe(4), cpu(2)).unwrap();
    train(trainer, &data(), folder.path(), 1, &mut Witness::default()).unwrap();
    let take = |threads| {
        let trainer = Trainer::resume(checkpoint(folder.path()), cpu(threads)).unwrap();
        trainer.statistics(&data(), threads).unwrap()
    };
    let layers = take(1);
    assert_eq!(layers, take(2), "they depend on threads");
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let weights = checkpoint(folder.path()).weights;
    for layer in &layers {
        let of_layer = |name: &str| name.starts_with(&layer.name) && name.ends_with(".weight");
        let tensors = weights.tensors().iter();
        let tensor = tensors.into_iter().find(|t| of_layer(&t.parameter.name)).unwrap();
        let norm = tensor.values.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>().sqrt();
        assert!((layer.weight_norm / norm - 1.0).abs() < 1e-12, "{layer:?} instead of {norm}");
        assert!(layer.gradient_norm > 0.0 && layer.gradient_norm <= 2.0, "{layer:?}");
        assert!(layer.update_norm > 0.0 && layer.update_norm < layer.weight_norm, "{layer:?}");
        assert!(layer.deviation > 0.0 && (0.0..=1.0).contains(&layer.zeros), "{layer:?}");
        assert!(layer.dead <= layer.zeros);
    }
    // Batch norm puts half of what ReLU sees below 0, more or less; logits are not cut off.
    assert!((0.1..0.9).contains(&layers[0].zeros), "{:?}", layers[0]);
    assert_eq!(layers[3].zeros, 0.0);
    let length: f64 = layers.iter().map(|layer| layer.gradient_norm.powi(2)).sum();
    assert!(length.sqrt() <= 2.0 * (1.0 + 1e-6), "longer than the limit: {}", length.sqrt());
}

/// The run ends where patience does, resumed or not, and leaves the best epoch's model.
#[test]
fn a_run_that_gets_no_better_ends_early_with_its_best_model() {
    let settings = ["early_stopping.patience=2", "schedule.learning_rate=0.4"];
    let recipe = recipe(60).with_settings(&settings).unwrap();
    let stopping = recipe.early_stopping.unwrap();
    let (ended, best_model) = outcome(&recipe, 1, 1);
    let history = &ended.run.history;
    let best = stopping.best(history).unwrap();
    assert_eq!((history.len() < 60, history.len() - 1 - best), (true, 2), "{history:?}");
    assert_eq!(best_model.provenance["epochs"], (best + 1).to_string());
    let mut predictor = Predictor::new(&best_model.net, &best_model.weights, cpu(1)).unwrap();
    let pipeline = predictor.pipeline(data().test, 0).unwrap();
    let evaluation = predictor.evaluate(&pipeline, 1, |_, _| ()).unwrap();
    assert_eq!(Some(evaluation.loss()), history[best].test_loss);

    let folder = tempdir().unwrap();
    let trainer = Trainer::new(model(), recipe, cpu(1)).unwrap();
    let mut witness = Witness { stop_at: Some((2, 3)), ..Witness::default() };
    train(trainer, &data(), folder.path(), 1, &mut witness).unwrap();
    let trainer = Trainer::resume(checkpoint(folder.path()), cpu(1)).unwrap();
    train(trainer, &data(), folder.path(), 1, &mut Witness::default()).unwrap();
    assert_eq!(essence(&checkpoint(folder.path())), essence(&ended));
}

#[test]
fn clipped_steps_are_counted() {
    for (limit, expected) in [(Some(1e-9), 1.0), (Some(1e9), 0.0), (None, 0.0)] {
        let folder = tempdir().unwrap();
        let recipe = Recipe { clip_norm: limit, ..recipe(2) };
        let trainer = Trainer::new(model(), recipe, cpu(2)).unwrap();
        let mut witness = Witness::default();
        train(trainer, &data(), folder.path(), 1, &mut witness).unwrap();
        assert!(witness.epochs.iter().all(|epoch| epoch.clipped == expected));
        assert!(witness.steps.iter().all(|step| step.clipped == expected));
        let numbers: Vec<u64> = witness.steps.iter().map(|step| step.run_step).collect();
        assert_eq!(numbers, (1..=12).collect::<Vec<u64>>());
    }
}

#[test]
fn a_student_learns_from_its_teacher_alone() {
    let folder = tempdir().unwrap();
    let (_, teacher) = outcome(&recipe(16), 2, 1);
    let settings = ["distillation.temperature=4", "distillation.weight=1"];
    let recipe = recipe(12).with_settings(&settings).unwrap();
    let student = || Trainer::new(model(), recipe.clone(), cpu(2)).unwrap();
    let mut witness = Witness::default();
    // Labels count for nothing: what is learned is learned from the teacher.
    let mut data = data();
    data.train.iter_mut().for_each(|sample| sample.label = 0);
    let taught = student().with_teacher(&teacher).unwrap();
    train(taught, &data, folder.path(), 1, &mut witness).unwrap();
    assert!(witness.epochs[11].test_top1 >= Some(0.9), "{:?}", witness.epochs[11]);

    let alone = train(student(), &data, folder.path(), 1, &mut Witness::default());
    assert!(alone.unwrap_err().to_string().contains("needs a teacher"));
    let untaught = Recipe { distillation: None, ..recipe.clone() };
    let fault = |student: Trainer, teacher: &Model| {
        student.with_teacher(teacher).err().unwrap().to_string()
    };
    let plain = Trainer::new(model(), untaught, cpu(1)).unwrap();
    assert!(fault(plain, &teacher).contains("without `distillation`"));
    let mut stranger = teacher.clone();
    stranger.labels[1] = "dots".into();
    assert!(fault(student(), &stranger).contains("no class `columns`"));
    stranger.net.input.height = 9;
    assert!(fault(student(), &stranger).contains("pictures of 1×9×8"));
}

#[test]
fn a_rate_is_found() {
    let folder = tempdir().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let find = || {
        let trainer = Trainer::new(model(), recipe(1), cpu(2)).unwrap();
        let (folder, checkpoint_every) = (folder.path(), std::time::Duration::MAX);
        let options = RunOptions { folder, workers: 1, checkpoint_every, stop: &stop };
        trainer.find_rate(&data(), options, (60, (1e-4, 1e4)), &mut ()).unwrap()
    };
    let curve = find();
    assert!((20..60).contains(&curve.points.len()), "{} steps", curve.points.len());
    let (steepest, suggestion) = (curve.steepest().unwrap(), curve.suggestion().unwrap());
    assert!(steepest > 1e-3 && (1e-3..10.0).contains(&suggestion), "{suggestion}");
    assert_eq!(find(), curve);
}
