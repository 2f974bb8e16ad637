//! Batches: the same whatever prepares them, and never a wait without end.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{colours, encode, noise};
use image::ImageFormat;
use inception_image::dataset::{OpenOptions, Source, fashion_mnist};
use inception_image::{
    Augmentation, Batch, Batching, Colour, DataError, Dataset, Erase, Fill, Mix, Picture, Pipeline,
    Preprocessor, RandAugment, RandomCrop, Sample,
};
use inception_net::Preprocessing;
use inception_net::preprocessing::{ChannelOrder, Filter, Protocol, Resize, Rounding};

fn grey(height: usize, width: usize) -> Preprocessor {
    let p = Preprocessing {
        central: None,
        resize: Resize::None,
        filter: Filter::Bilinear,
        protocol: Protocol::default(),
        crop: None,
        rounding: Rounding::default(),
        order: ChannelOrder::Grey,
        mean: vec![0.0],
        std: vec![1.0 / 255.0],
    };
    Preprocessor::new(p, (1, height, width)).unwrap()
}

/// Grey pictures of 2 × 3 pixels, all different, labelled by their number modulo 4.
fn samples(count: usize) -> Vec<Sample> {
    let values = noise(count * 6);
    let sample = |(number, values): (usize, &[u8])| Sample {
        source: Source::Memory { picture: Arc::new(Picture::grey(3, 2, values.to_vec())), number },
        label: number % 4,
    };
    values.chunks_exact(6).enumerate().map(sample).collect()
}

fn batching(batch: usize, workers: usize) -> Batching {
    Batching { batch, drop_ragged: false, workers }
}

fn pipeline(count: usize, augmentation: Option<Augmentation>) -> Arc<Pipeline> {
    Pipeline::new(samples(count), grey(2, 3), augmentation, 0).unwrap()
}

/// All that can be done to a picture, and a blend of it.
fn everything() -> Augmentation {
    Augmentation {
        rand_augment: Some(RandAugment { operations: 2, magnitude: 9 }),
        colour: Some(Colour::Slim),
        erase: Some(Erase {
            probability: 0.5,
            area: (0.02, 0.33),
            aspect: (0.3, 3.3),
            fill: Fill::Noise,
        }),
        mix: Some(Mix { mixup: Some(0.2), cutmix: Some(1.0) }),
        ..Augmentation::photographs()
    }
}

fn indices(batches: &[Batch]) -> Vec<usize> {
    batches.iter().flat_map(|b| b.indices.clone()).collect()
}

#[test]
fn a_pass_that_begins_later_gives_the_same_batches() {
    let pipeline = pipeline(23, Some(Augmentation::small_pictures()));
    let from = |first| pipeline.train(3, 5, first, batching(5, 2));
    let whole: Vec<Batch> = from(0).collect();
    for first in 0..=5 {
        let loader = from(first);
        assert_eq!(loader.batches(), 5);
        assert_eq!(loader.collect::<Vec<_>>(), whole[first..]);
    }
}

#[test]
fn evaluation_gives_every_picture_once_in_order() {
    let pipeline = pipeline(23, Some(Augmentation::small_pictures()));
    let loader = pipeline.evaluate(batching(5, 3));
    assert_eq!(loader.batches(), 5);
    let batches: Vec<Batch> = loader.collect();
    assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [5, 5, 5, 5, 3]);
    assert_eq!(indices(&batches), (0..23).collect::<Vec<_>>());
    let expected = noise(23 * 6);
    let pictures: Vec<u8> =
        batches.iter().flat_map(|b| &b.pictures).map(|v| v.round() as u8).collect();
    assert_eq!(pictures, expected);
    assert!(batches.iter().all(|b| b.indices.iter().zip(&b.labels).all(|(i, l)| i % 4 == *l)));
}

#[test]
fn training_shuffles_anew_each_epoch() {
    let pipeline = pipeline(50, None);
    let order =
        |seed, epoch| indices(&pipeline.train(seed, epoch, 0, batching(7, 2)).collect::<Vec<_>>());
    let first = order(1, 0);
    assert_ne!(first, (0..50).collect::<Vec<_>>());
    assert_eq!(first, order(1, 0));
    assert_ne!(first, order(1, 1));
    assert_ne!(first, order(2, 0));
    let mut sorted = first;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
}

#[test]
fn batches_do_not_depend_on_the_number_of_workers() {
    let pipeline = pipeline(101, Some(Augmentation::small_pictures()));
    let run = |workers| pipeline.train(3, 5, 0, batching(8, workers)).collect::<Vec<Batch>>();
    let one = run(1);
    for workers in [0, 2, 3, 16, 200] {
        assert_eq!(run(workers), one, "{workers} workers");
    }
}

#[test]
fn blends_depend_on_the_batch_alone() {
    let pipeline = pipeline(101, Some(everything()));
    let run = |epoch, first, workers| {
        pipeline.train(3, epoch, first, batching(8, workers)).collect::<Vec<Batch>>()
    };
    let whole = run(5, 0, 1);
    assert!(whole.iter().all(|batch| batch.pictures.iter().all(|v| v.is_finite())));
    let shares: Vec<f32> =
        whole.iter().map(|batch| batch.blend.as_ref().unwrap().shares[0]).collect();
    assert!(shares.windows(2).all(|pair| pair[0] != pair[1]), "{shares:?}");
    assert_eq!(run(5, 0, 3), whole);
    assert_eq!(run(5, 4, 2), whole[4..]);
    assert_ne!(run(6, 0, 1)[0].blend, whole[0].blend);
    // One batch at a time, by a picture in it.
    for (n, batch) in whole.iter().enumerate() {
        let index = batch.indices[n % batch.len()];
        assert_eq!(pipeline.batch_with(index, 3, 5, batching(8, 1)).as_ref(), Some(batch));
    }
    let ragged = Batching { drop_ragged: true, ..batching(8, 1) };
    let left_out = whole[12].indices[0];
    assert_eq!(pipeline.batch_with(left_out, 3, 5, ragged), None);
    assert!(pipeline.evaluate(batching(8, 2)).all(|batch| batch.blend.is_none()));
}

/// The same passes with and without mixing: what is mixed are the pictures of the batch.
#[test]
fn mixed_pictures_are_sums_of_the_batch() {
    let mix = Some(Mix { mixup: Some(1.0), cutmix: None });
    let run = |mix| {
        let augmentation = Augmentation { mix, ..Augmentation::small_pictures() };
        let pipeline = pipeline(40, Some(augmentation));
        pipeline.train(1, 2, 0, batching(8, 2)).collect::<Vec<Batch>>()
    };
    for (plain, mixed) in run(None).iter().zip(run(mix)) {
        let blend = mixed.blend.unwrap();
        assert_eq!((&plain.labels, &plain.indices), (&mixed.labels, &mixed.indices));
        let fits = |places: usize| {
            let share = blend.shares[0];
            (0..8).all(|i| {
                let other = (i + places) % 8;
                let pixels = plain.pictures[i * 6..][..6].iter().zip(&plain.pictures[other * 6..]);
                let mut sums = pixels.map(|(a, b)| share * a + (1.0 - share) * b);
                blend.labels[i] == plain.labels[other]
                    && mixed.pictures[i * 6..][..6].iter().all(|v| sums.next() == Some(*v))
            })
        };
        assert_eq!((1..8).filter(|&places| fits(places)).count(), 1);
    }
}

#[test]
fn augmentation_depends_on_picture_and_epoch_but_not_on_place() {
    let augmentation =
        Augmentation { crop: RandomCrop::Shift { by: 1 }, ..Augmentation::small_pictures() };
    let pipeline = pipeline(40, Some(augmentation));
    let pictures = |epoch, batch| {
        let batches = pipeline.train(1, epoch, 0, batching(batch, 2));
        let mut all: Vec<(usize, Vec<u32>)> = batches
            .flat_map(|b| {
                let pictures =
                    b.pictures.chunks_exact(6).map(|p| p.iter().map(|v| v.to_bits()).collect());
                b.indices.iter().copied().zip(pictures.collect::<Vec<_>>()).collect::<Vec<_>>()
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(pictures(0, 7), pictures(0, 40));
    let changed = pictures(0, 7).iter().zip(&pictures(1, 7)).filter(|(a, b)| a != b).count();
    // Of 18 variants two epochs rarely draw the same.
    assert!(changed > 30, "{changed}");
}

#[test]
fn a_ragged_last_batch_is_kept_or_dropped() {
    let pipeline = pipeline(10, None);
    let sizes = |batch, drop_ragged| {
        let batching = Batching { batch, drop_ragged, workers: 2 };
        pipeline.train(0, 0, 0, batching).map(|b| b.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(4, false), [4, 4, 2]);
    assert_eq!(sizes(4, true), [4, 4]);
    assert_eq!(sizes(5, true), [5, 5]);
    assert_eq!(sizes(16, true), [10], "the only batch stays");
}

#[test]
fn nothing_gives_no_batches() {
    let pipeline = Pipeline::new(Vec::new(), grey(2, 3), None, 0).unwrap();
    assert_eq!(pipeline.evaluate(batching(4, 2)).count(), 0);
}

#[test]
fn dropped_early_it_stops() {
    let pipeline = pipeline(10_000, None);
    for taken in [0, 1, 3] {
        let mut loader = pipeline.evaluate(batching(4, 3));
        assert_eq!(loader.by_ref().take(taken).count(), taken);
        drop(loader);
        // The threads have given back what they held.
        assert_eq!(Arc::strong_count(&pipeline), 1);
    }
}

#[test]
fn few_batches_are_prepared_ahead() {
    // Pictures in files that are changed once the loader has begun: those prepared in time show
    // the old colour, all others the new.
    let folder = tempfile::tempdir().unwrap();
    let write = |i: usize, v: u8| {
        let path = folder.path().join(format!("{i}.png"));
        let picture = image::GrayImage::from_pixel(3, 2, image::Luma([v]));
        fs::write(&path, encode(picture, ImageFormat::Png)).unwrap();
        Sample { source: Source::File(path), label: 0 }
    };
    let samples: Vec<Sample> = (0..100).map(|i| write(i, 10)).collect();
    let pipeline = Pipeline::new(samples, grey(2, 3), None, 0).unwrap();
    let mut loader = pipeline.evaluate(batching(1, 2));
    loader.next().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    (0..100).for_each(|i| drop(write(i, 20)));
    let late: Vec<Batch> = loader.skip(10).collect();
    assert!(late.len() > 80);
    assert!(late.iter().all(|b| b.pictures.iter().all(|v| v.round() == 20.0)));
}

/// Three classes of PNG files, 40 × 30 pixels; some of them broken.
fn files(folder: &Path, broken: &[&str]) -> Dataset {
    for class in ["a", "b", "c"] {
        fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..6 {
            let bytes = encode(colours(40 + i, 30), ImageFormat::Png);
            fs::write(folder.join(format!("{class}/{i}.png")), bytes).unwrap();
        }
    }
    for name in broken {
        let path = folder.join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let options = OpenOptions { test_share: 0.0, ..OpenOptions::default() };
    let mut dataset = Dataset::open(folder, &options).unwrap();
    let test = std::mem::take(&mut dataset.test);
    dataset.train.extend(test);
    dataset.train.sort_by_key(|s| s.name().into_owned());
    dataset
}

fn photographs() -> Preprocessor {
    Preprocessor::new(Preprocessing::symmetric(24, (20, 20)), (3, 20, 20)).unwrap()
}

#[test]
fn broken_pictures_are_left_out_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = files(folder.path(), &["a/2.png", "b/0.png", "b/1.png"]);
    let pipeline = Pipeline::new(dataset.train, photographs(), None, 0).unwrap();
    for workers in [1, 4] {
        let mut loader = pipeline.evaluate(batching(2, workers));
        let batches: Vec<Batch> = loader.by_ref().collect();
        // The batch of 6 and 7 lost both, the one of 2 and 3 the first.
        assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [2, 1, 2, 2, 2, 2, 2, 2]);
        assert!(batches.iter().all(|b| b.pictures.len() == b.len() * 1200));
        assert!(batches.iter().all(|b| b.len() == b.indices.len()));
        let skipped: Vec<usize> = loader.skipped().iter().map(|(index, _)| *index).collect();
        assert_eq!(skipped, [2, 6, 7]);
        assert!(loader.skipped()[0].1.to_string().contains("2.png: the file is cut off"));
    }
}

#[test]
fn a_cache_changes_nothing_but_the_number_of_decodings() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = files(folder.path(), &["c/5.png"]);
    let augmentation = Some(Augmentation::photographs());
    let run = |cache_bytes| {
        let pipeline =
            Pipeline::new(dataset.train.clone(), photographs(), augmentation, cache_bytes).unwrap();
        (0..3)
            .map(|epoch| pipeline.train(1, epoch, 0, batching(4, 3)).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let without = run(0);
    // Room for none, for some, for all.
    for bytes in [3000, 30_000, usize::MAX] {
        assert_eq!(run(bytes), without, "{bytes} bytes");
    }
    let pipeline = Pipeline::new(dataset.train, photographs(), None, usize::MAX).unwrap();
    let first: Vec<Batch> = pipeline.evaluate(batching(4, 2)).collect();
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(pipeline.evaluate(batching(4, 2)).collect::<Vec<_>>(), first);
}

#[test]
fn photographs_are_augmented_within_range_and_each_time_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = files(folder.path(), &[]);
    let pipeline =
        Pipeline::new(dataset.train, photographs(), Some(Augmentation::photographs()), 0).unwrap();
    let epoch = |epoch| -> Vec<f32> {
        pipeline.train(9, epoch, 0, batching(100, 1)).flat_map(|b| b.pictures).collect()
    };
    let (first, second) = (epoch(0), epoch(1));
    assert_eq!(first.len(), 18 * 1200);
    assert!(first.iter().all(|v| (-1.001..=1.001).contains(v)));
    assert_ne!(first, second);
}

#[test]
fn a_random_crop_of_everything_is_the_whole_picture_and_a_certain_flip_mirrors_it() {
    let picture = Arc::new(Picture::rgb(31, 31, noise(31 * 31 * 3)));
    let sample = Sample { source: Source::Memory { picture, number: 0 }, label: 0 };
    let resize = Resize::Exact { height: 20, width: 20 };
    let preprocessing =
        Preprocessing { resize, crop: None, ..Preprocessing::symmetric(20, (20, 20)) };
    let preprocessor = Preprocessor::new(preprocessing, (3, 20, 20)).unwrap();
    let crop = RandomCrop::Resized { area: (1.0, 1.0), aspect: (1.0, 1.0) };
    let augmentation = Some(Augmentation { crop, flip: 1.0, ..Augmentation::default() });
    let pipeline = Pipeline::new(vec![sample], preprocessor, augmentation, 0).unwrap();
    let mut plain = pipeline.evaluate(batching(1, 1)).next().unwrap().pictures;
    let augmented = pipeline.train(5, 6, 0, batching(1, 1)).next().unwrap().pictures;
    assert_ne!(augmented, plain);
    plain.chunks_exact_mut(20).for_each(<[f32]>::reverse);
    assert_eq!(augmented, plain);
}

#[test]
fn a_batch_that_lost_pictures_mixes_those_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = files(folder.path(), &["a/2.png", "b/0.png", "b/1.png"]);
    let pipeline = Pipeline::new(dataset.train, photographs(), Some(everything()), 0).unwrap();
    let mut loader = pipeline.train(3, 0, 0, batching(6, 2));
    for batch in loader.by_ref() {
        let blend = batch.blend.as_ref().unwrap();
        assert_eq!(batch.pictures.len(), batch.len() * 1200);
        assert_eq!((blend.labels.len(), blend.shares.len()), (batch.len(), batch.len()));
    }
    assert_eq!(loader.skipped().len(), 3);
}

#[test]
fn erasing_leaves_a_rectangle_of_the_mean_or_of_noise() {
    let erase = |fill| {
        let (area, aspect) = ((0.25, 0.25), (1.0, 1.0));
        let erase = Some(Erase { probability: 1.0, area, aspect, fill });
        let white = Arc::new(Picture::grey(8, 8, vec![255; 64]));
        let sample = Sample { source: Source::Memory { picture: white, number: 0 }, label: 0 };
        let augmentation = Some(Augmentation { erase, ..Augmentation::default() });
        let pipeline = Pipeline::new(vec![sample], grey(8, 8), augmentation, 0).unwrap();
        pipeline.train(5, 6, 0, batching(1, 1)).next().unwrap().pictures
    };
    let changed = |v: &&f32| v.round() != 255.0;
    let mean = erase(Fill::Mean);
    assert!(mean.iter().filter(changed).all(|v| *v == 0.0));
    assert_eq!(mean.iter().filter(changed).count(), 16);
    let noise = erase(Fill::Noise);
    assert!(noise.iter().all(|v| (0.0..255.1).contains(v)));
    assert_eq!(noise.iter().filter(changed).count(), 16);
    let places = |values: &[f32]| values.iter().map(|v| v.round() != 255.0).collect::<Vec<_>>();
    assert_eq!(places(&noise), places(&mean));
}

#[test]
fn a_tensor_is_shown_as_the_picture_it_was_made_of() {
    let picture = Picture::rgb(20, 20, noise(1200));
    let mut preprocessing = Preprocessing::symmetric(20, (20, 20));
    for order in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
        preprocessing.order = order;
        let preprocessor = Preprocessor::new(preprocessing.clone(), (3, 20, 20)).unwrap();
        let mut tensor = vec![0.0; 1200];
        preprocessor.apply(&picture, &mut tensor).unwrap();
        assert_eq!(preprocessor.picture(&tensor), picture);
    }
    let grey_picture = Picture::grey(3, 2, vec![0, 7, 99, 128, 254, 255]);
    let mut tensor = vec![0.0; 6];
    grey(2, 3).apply(&grey_picture, &mut tensor).unwrap();
    assert_eq!(grey(2, 3).picture(&tensor), grey_picture);
}

#[test]
fn impossible_augmentation_is_an_error() {
    let augmentation = Augmentation { flip: -1.0, ..Augmentation::default() };
    let result = Pipeline::new(samples(3), grey(2, 3), Some(augmentation), 0);
    assert!(matches!(result, Err(DataError::Augmentation(_))));
}

#[test]
fn augmentation_is_plain_data() {
    for augmentation in [
        Augmentation::photographs(),
        Augmentation::small_pictures(),
        Augmentation::default(),
        everything(),
    ] {
        let json = serde_json::to_string(&augmentation).unwrap();
        assert_eq!(serde_json::from_str::<Augmentation>(&json).unwrap(), augmentation);
    }
    let json = serde_json::to_string(&Augmentation::small_pictures()).unwrap();
    assert_eq!(json, r#"{"crop":{"shift":{"by":2}},"flip":0.5}"#);
    assert_eq!(serde_json::from_str::<Augmentation>("{}").unwrap(), Augmentation::default());
    let json = r#"{"colour":"slim-fast","erase":{"probability":0.5},"mix":{"mixup":0.2}}"#;
    let read: Augmentation = serde_json::from_str(json).unwrap();
    assert_eq!(read.colour, Some(Colour::SlimFast));
    assert_eq!(read.erase.unwrap().area, (0.02, 0.33));
    assert_eq!(read.mix, Some(Mix { mixup: Some(0.2), cutmix: None }));
    assert!(serde_json::from_str::<Augmentation>(r#"{"crop":"central","flop":1}"#).is_err());
}

#[test]
fn fashion_mnist_goes_through_whole() {
    let dataset = fashion_mnist();
    let augmentation = Some(Augmentation::small_pictures());
    let pipeline = Pipeline::new(dataset.train, grey(28, 28), augmentation, 0).unwrap();
    let mut seen = vec![false; 10_000];
    for batch in pipeline.train(1, 0, 0, batching(64, 2)) {
        assert_eq!(batch.pictures.len(), batch.len() * 784);
        batch.indices.iter().for_each(|i| seen[*i] = true);
    }
    assert!(seen.iter().all(|s| *s));
}
