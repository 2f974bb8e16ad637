//! Training that starts from a model: heads, frozen layers, kept features, batch norm.

mod common;

use std::fs;
use std::path::Path;

use common::{Witness, cpu, data, essence, labels, model, recipe, samples, train};
use inception_engine::{NormMode, Training};
use inception_image::dataset::Source;
use inception_image::{Batching, Dataset, Sample};
use inception_model::Model;
use inception_train::{
    CHECKPOINT_FILE, Checkpoint, FineTuning, FrozenBatchNorm, GapCause, Predictor, Recipe,
    TrainError, Trainer, start_from,
};
use tempfile::tempdir;

/// Two layers of filters frozen, one of them by its module.
fn stem() -> FineTuning {
    FineTuning { freeze: vec!["stem".into(), "mixed".into()], ..FineTuning::default() }
}

fn head_only(cached_views: Option<usize>) -> FineTuning {
    FineTuning { head_only: true, cached_views, ..FineTuning::default() }
}

fn with(fine_tuning: FineTuning, epochs: usize) -> Recipe {
    Recipe { fine_tuning: Some(fine_tuning), ..recipe(epochs) }
}

/// A whole run's end.
fn trained(model: Model, recipe: Recipe, data: &Dataset) -> (Checkpoint, Witness) {
    let folder = tempdir().unwrap();
    let trainer = Trainer::new(model, recipe, cpu(2)).unwrap();
    let mut witness = Witness::default();
    train(trainer, data, folder.path(), 2, &mut witness).unwrap();
    (checkpoint(folder.path()), witness)
}

fn checkpoint(folder: &Path) -> Checkpoint {
    Checkpoint::load(&folder.join(CHECKPOINT_FILE)).unwrap()
}

fn values<'m>(model: &'m Model, name: &str) -> &'m [f32] {
    &model.weights.get(name).unwrap().values
}

#[test]
fn a_head_is_replaced_kept_or_reordered() {
    let old = model();
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut net = old.net.clone();
    net.classes = 5;
    let five = names(&["a", "b", "c", "d", "e"]);
    let start = start_from(old.clone(), net, five.clone(), 9).unwrap();
    assert_eq!((start.replaced, start.renewed.len()), (Some(3), 0));
    assert_eq!(start.model.labels, five);
    assert_eq!(values(&start.model, "stem.conv.weight"), values(&old, "stem.conv.weight"));
    assert_eq!(start.model.weights.get("fc.weight").unwrap().parameter.shape, [5, 13]);
    assert_eq!(start.model.weights.get("aux.fc.weight").unwrap().parameter.shape, [5, 13]);
    let again = |seed| {
        let mut net = old.net.clone();
        net.classes = 5;
        start_from(old.clone(), net, five.clone(), seed).unwrap().model.weights
    };
    assert!(again(9) == start.model.weights && again(10) != start.model.weights);

    // As many classes, but others.
    let others = names(&["x", "y", "z"]);
    let start = start_from(old.clone(), old.net.clone(), others, 9).unwrap();
    assert_eq!(start.replaced, Some(3));
    assert_ne!(values(&start.model, "fc.weight"), values(&old, "fc.weight"));

    let start = start_from(old.clone(), old.net.clone(), labels(), 9).unwrap();
    assert_eq!((start.replaced, &start.model.weights), (None, &old.weights));

    let moved = vec![labels()[2].clone(), labels()[0].clone(), labels()[1].clone()];
    let start = start_from(old.clone(), old.net.clone(), moved, 9).unwrap();
    assert_eq!(start.replaced, None);
    let rows =
        |model| values(model, "fc.weight").chunks(13).map(<[f32]>::to_vec).collect::<Vec<_>>();
    let (before, after) = (rows(&old), rows(&start.model));
    assert_eq!(after, [2, 0, 1].map(|row: usize| before[row].clone()));
}

#[test]
fn another_size_keeps_what_does_not_depend_on_it() {
    let old = model();
    let net = old.net.clone().resized(12, 10).unwrap();
    assert_eq!(net.preprocessing.crop, Some((12, 10)));
    let start = start_from(old.clone(), net, labels(), 9).unwrap();
    assert_eq!(start.model.weights, old.weights);
    // Without the global pool the last layer is connected to its grid.
    let mut flat = old.net.clone();
    flat.layers.retain(|step| step.name() != "pool");
    let old = inception_train::untrained(flat.clone(), labels(), 1).unwrap();
    let net = flat.resized(12, 10).unwrap();
    let error = start_from(old, net, labels(), 9).unwrap_err().to_string();
    assert!(error.contains("`fc`") && error.contains("12×10"), "{error}");
}

#[test]
fn frozen_layers_stay_to_the_bit() {
    let start = model();
    let rms = inception_train::Rule::RmsProp { decay: 0.9, momentum: 0.9, epsilon: 1.0 };
    for optimizer in [recipe(1).optimizer, rms] {
        let recipe = Recipe { optimizer, weight_decay: 1e-2, ..with(stem(), 2) };
        let (end, _) = trained(start.clone(), recipe, &data());
        let average = end.average.as_ref().unwrap().weights();
        for (place, tensor) in start.weights.tensors().iter().enumerate() {
            let name = &tensor.parameter.name;
            let frozen = name.starts_with("stem.") || name.starts_with("mixed.");
            for weights in [&end.weights, average] {
                assert_eq!(weights.tensors()[place] == *tensor, frozen, "{name}");
            }
        }
    }
}

#[test]
fn statistics_of_frozen_layers_move_if_asked() {
    let start = model();
    let moved = |frozen_batch_norm| {
        let fine_tuning = FineTuning { frozen_batch_norm, freeze: vec!["stem".into()], ..stem() };
        let (end, _) = trained(start.clone(), with(fine_tuning, 1), &data());
        let changed = |name: &str| end.weights.get(name) != start.weights.get(name);
        assert!(!changed("stem.conv.weight") && !changed("stem.bn.weight"));
        assert!(changed("mixed.left.bn.weight"));
        (changed("stem.bn.running_mean"), changed("mixed.left.bn.running_var"))
    };
    assert_eq!(moved(FrozenBatchNorm::FrozenLayers), (false, true));
    assert_eq!(moved(FrozenBatchNorm::Off), (true, true));
    assert_eq!(moved(FrozenBatchNorm::All), (false, false));
}

/// The model without dropout, whose draws depend on how much is computed.
fn without_dropout() -> Model {
    let mut net = common::net();
    net.layers.retain(|step| step.name() != "dropout");
    inception_train::untrained(net, labels(), 1).unwrap()
}

#[test]
fn kept_features_teach_what_the_pictures_do() {
    let plain = |views| Recipe { augmentation: None, ..with(head_only(views), 3) };
    let (kept, seen) = trained(without_dropout(), plain(Some(1)), &data());
    let (computed, expected) = trained(without_dropout(), plain(None), &data());
    for (found, expected) in kept.weights.tensors().iter().zip(computed.weights.tensors()) {
        for (found, expected) in found.values.iter().zip(&expected.values) {
            assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
    }
    for (found, expected) in seen.epochs.iter().zip(&expected.epochs) {
        assert_eq!(found.test_top1, expected.test_top1);
        assert!((found.test_loss.unwrap() - expected.test_loss.unwrap()).abs() < 1e-4);
        assert!((found.train_loss - expected.train_loss).abs() < 1e-4);
    }
    // With two views the second epoch sees other pictures than the first.
    let (two, _) = trained(model(), with(head_only(Some(2)), 2), &data());
    let (one, _) = trained(model(), with(head_only(Some(1)), 2), &data());
    assert_ne!(one.weights, two.weights);
}

#[test]
fn kept_features_resume_to_the_bit() {
    let recipe = || with(head_only(Some(2)), 4);
    let run = |threads, witness: &mut Witness, folder: &Path, from: Option<Checkpoint>| {
        let trainer = match from {
            Some(checkpoint) => Trainer::resume(checkpoint, cpu(threads)),
            None => Trainer::new(model(), recipe(), cpu(threads)),
        };
        train(trainer.unwrap(), &data(), folder, threads, witness).unwrap()
    };
    let folder = tempdir().unwrap();
    run(2, &mut Witness::default(), folder.path(), None);
    let whole = checkpoint(folder.path());
    let mut stopped = Witness { stop_after_epoch: 3, ..Witness::default() };
    assert!(!run(1, &mut stopped, folder.path(), None).finished);
    let halfway = checkpoint(folder.path());
    assert!(run(3, &mut Witness::default(), folder.path(), Some(halfway)).finished);
    assert_eq!(essence(&checkpoint(folder.path())), essence(&whole));
}

#[test]
fn pictures_without_features_are_skipped() {
    let folder = tempdir().unwrap();
    let mut data = data();
    let path = folder.path().join("broken.png");
    fs::write(&path, "no picture").unwrap();
    data.train.insert(5, Sample { source: Source::File(path.clone()), label: 1 });
    data.test.insert(0, Sample { source: Source::File(path), label: 1 });
    let (_, witness) = trained(model(), with(head_only(Some(1)), 2), &data);
    assert_eq!(witness.skipped.len(), 2, "{:?}", witness.skipped);
    assert!(witness.epochs.iter().all(|epoch| (1..=2).contains(&epoch.skipped)));
    let told = &witness.epochs[1];
    assert!(told.test_loss.is_some_and(f64::is_finite), "{told:?}");
}

#[test]
fn features_beyond_memory_are_an_error_with_a_remedy() {
    let recipe = with(head_only(Some(1 << 30)), 1);
    let trainer = Trainer::new(model(), recipe, cpu(1)).unwrap();
    let folder = tempdir().unwrap();
    let error = train(trainer, &data(), folder.path(), 1, &mut Witness::default()).unwrap_err();
    assert!(matches!(error, TrainError::Features { .. }), "{error}");
    assert!(error.to_string().contains("cached_views"), "{error}");
}

/// A model whose batch norms have statistics of other data, which move slowly.
fn spoiled() -> Model {
    let mut model = model();
    model.net.defaults.batch_norm.as_mut().unwrap().decay = 0.9999;
    for (parameter, values) in model.weights.values_mut() {
        if parameter.name.ends_with("running_var") {
            values.iter_mut().for_each(|v| *v *= 1e-4);
        }
    }
    model
}

#[test]
fn statistics_that_do_not_suit_raise_the_alarm_once() {
    let (_, witness) = trained(spoiled(), recipe(8), &data());
    let [gap] = &witness.gaps[..] else { panic!("{:?}", witness.gaps) };
    assert_eq!(gap.epoch, 1);
    assert!(gap.inference_loss > gap.training_loss + 0.69, "{gap:?}");
    let GapCause::Slow { rest, .. } = gap.cause else { panic!("{gap:?}") };
    assert!((rest - 0.9999f64.powi(6)).abs() < 1e-4);
    let text = gap.to_string();
    assert!(text.contains("reestimate_norm") && text.contains("what they began with"), "{text}");

    // Taken anew they suit; so do frozen ones, by which training itself normalises.
    let anew = Recipe { reestimate_norm: Some(4), ..recipe(8) };
    let (end, healed) = trained(spoiled(), anew, &data());
    assert!(healed.gaps.is_empty(), "{:?}", healed.gaps);
    let (before, after) = (witness.epochs[7].test_loss, healed.epochs[7].test_loss);
    assert!(after < before, "{after:?}, {before:?}");
    assert_eq!(end.run.recipe.reestimate_norm, Some(4));
    let all = FineTuning { frozen_batch_norm: FrozenBatchNorm::All, ..FineTuning::default() };
    assert!(trained(spoiled(), with(all, 2), &data()).1.gaps.is_empty());
    // A sound network raises none.
    assert!(trained(model(), recipe(8), &data()).1.gaps.is_empty());
}

#[test]
fn statistics_taken_anew_are_the_populations() {
    let run = |reestimate_norm| {
        let recipe = Recipe { average: None, reestimate_norm, ..recipe(1) };
        trained(model(), recipe, &data()).0.weights
    };
    let (moving, anew) = (run(None), run(Some(100)));
    let differs = |name: &str| moving.get(name) != anew.get(name);
    assert!(differs("stem.bn.running_mean") && differs("mixed.left.bn.running_var"));
    // Nothing else changes in an epoch's end.
    for tensor in moving.tensors().iter().filter(|t| t.parameter.role.is_trained()) {
        assert!(!differs(&tensor.parameter.name), "{}", tensor.parameter.name);
    }
}

#[test]
fn over_one_batch_of_all_pictures_the_statistics_are_that_batchs() {
    let plain = Recipe { batch: 102, average: None, augmentation: None, ..recipe(1) };
    let anew = Recipe { reestimate_norm: Some(9), ..plain };
    let found = trained(without_dropout(), anew, &data()).0.weights;
    // The batch once more moves nothing: 0.9 of its statistics and a tenth of them.
    let (net, before) = (without_dropout().net, found.clone());
    let graph = net.graph().unwrap();
    let pipeline =
        Predictor::new(&net, &before, cpu(1)).unwrap().pipeline(data().train, 0).unwrap();
    let all = Batching { batch: 102, drop_ragged: false, workers: 1 };
    let pictures = pipeline.evaluate(all).next().unwrap().pictures;
    let mut training = Training::new(&graph, before, cpu(1), NormMode::Batch).unwrap();
    training.forward(&pictures, 0).unwrap();
    for (found, moved) in found.tensors().iter().zip(training.weights().tensors()) {
        for (found, moved) in found.values.iter().zip(&moved.values) {
            assert!((found - moved).abs() <= 1e-5 * found.abs().max(1.0), "{found} {moved}");
        }
    }
}

#[test]
fn a_handful_of_pictures_and_batches_of_one_are_enough() {
    let few = Dataset {
        classes: labels(),
        train: samples(4, 1),
        test: samples(1, 2),
        skipped: Vec::new(),
    };
    for (batch, steps) in [(1, 12), (5, 2), (32, 1)] {
        let (end, witness) = trained(model(), Recipe { batch, ..recipe(2) }, &few);
        assert_eq!(witness.steps.len(), 2 * steps, "batches of {batch}");
        assert!(end.weights.tensors().iter().flat_map(|t| &t.values).all(|v| v.is_finite()));
    }
}
