//! Data sets from folders and IDX files.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;

use common::{colours, encode};
use image::ImageFormat;
use inception_image::dataset::{OpenOptions, fashion_mnist};
use inception_image::{DataError, Dataset, Sample};
use tempfile::TempDir;

/// A folder with these files: pictures, or for other extensions a line of text.
fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let png = encode(colours(4, 3), ImageFormat::Png);
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let picture = [".png", ".jpg", "noextension"].iter().any(|end| file.ends_with(end));
        fs::write(path, if picture { &png[..] } else { b"some text" }).unwrap();
    }
    folder
}

fn open(path: &Path) -> Result<Dataset, DataError> {
    Dataset::open(path, &OpenOptions::default())
}

/// Labels and paths below the folder.
fn listing(samples: &[Sample], folder: &Path) -> Vec<(usize, String)> {
    let below = |s: &Sample| s.name().strip_prefix(&*folder.to_string_lossy()).unwrap()[1..].into();
    samples.iter().map(|s| (s.label, below(s))).collect()
}

fn message(path: &Path) -> String {
    open(path).unwrap_err().to_string()
}

#[test]
fn a_folder_per_class_nested_and_sorted() {
    let folder = folder(&[
        "dog/b.png",
        "dog/a.jpg",
        "cat/z/1.png",
        "cat/a/2.png",
        "cat/noextension",
        "LICENSE.txt",
        "cat/notes.txt",
        ".git/x.png",
        "cat/.hidden.png",
        "__MACOSX/cat/x.png",
        "cat/Thumbs.db",
    ]);
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.classes, ["cat", "dog"]);
    let mut all = listing(&dataset.train, folder.path());
    all.extend(listing(&dataset.test, folder.path()));
    all.sort();
    let expected = [
        (0, "cat/a/2.png"),
        (0, "cat/noextension"),
        (0, "cat/z/1.png"),
        (1, "dog/a.jpg"),
        (1, "dog/b.png"),
    ];
    assert_eq!(all, expected.map(|(label, name)| (label, name.to_string())));
    assert!(dataset.skipped.is_empty());
}

#[test]
fn a_split_by_seed_takes_a_share_of_each_class() {
    let files: Vec<String> = (0..10)
        .map(|i| format!("cat/{i}.png"))
        .chain((0..3).map(|i| format!("dog/{i}.png")))
        .chain(["emu/only.png".into()])
        .collect();
    let folder = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let split = |seed, test_share| {
        let options = OpenOptions { seed, test_share, strict: false };
        let dataset = Dataset::open(folder.path(), &options).unwrap();
        (listing(&dataset.train, folder.path()), listing(&dataset.test, folder.path()))
    };
    let (train, test) = split(1, 0.2);
    let count = |part: &[(usize, String)], label| part.iter().filter(|s| s.0 == label).count();
    assert_eq!([0, 1, 2].map(|label| count(&train, label)), [8, 2, 1]);
    assert_eq!([0, 1, 2].map(|label| count(&test, label)), [2, 1, 0]);
    assert!(train.is_sorted() && test.is_sorted());
    assert!(test.iter().all(|sample| !train.contains(sample)));
    assert_eq!(split(1, 0.2), (train.clone(), test));
    assert!((2..6).any(|seed| split(seed, 0.2).0 != train));
    // Something is left on both sides whatever the share.
    assert_eq!(split(1, 0.0).1.len(), 2);
    assert_eq!(split(1, 1.0).0.len(), 3);
}

#[test]
fn an_explicit_split_under_each_of_its_names() {
    for name in ["val", "valid", "validation", "test"] {
        let test = [format!("{name}/cat/3.png"), format!("{name}/dog/4.png")];
        let folder = folder(&[
            "train/cat/1.png",
            "train/dog/2.png",
            "train/dog/5.png",
            &test[0],
            &test[1],
            "annotations/boxes.txt",
        ]);
        let dataset = open(folder.path()).unwrap();
        assert_eq!(dataset.classes, ["cat", "dog"]);
        assert_eq!(listing(&dataset.train, folder.path()).len(), 3);
        let expected = [(0, test[0].clone()), (1, test[1].clone())];
        assert_eq!(listing(&dataset.test, folder.path()), expected);
    }
}

#[test]
fn a_split_with_different_classes_names_the_difference() {
    let folder = folder(&["train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/fox/4.png"]);
    let message = message(folder.path());
    assert!(
        message.contains("`dog` is only in the first, `fox` is only in the second"),
        "{message}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let empty = tempfile::tempdir().unwrap();
    assert!(message(&empty.path().join("nowhere")).contains("no such folder"));
    assert!(message(empty.path()).contains("is empty"));
    let flat = folder(&["1.png", "2.png"]);
    assert!(message(flat.path()).contains("no class folders"));
    assert!(message(&flat.path().join("1.png")).contains("a file, not a folder"));
    let one = folder(&["cat/1.png"]);
    let text = message(one.path());
    assert!(text.contains("only one class, `cat`") && !text.contains("sub-folders"), "{text}");
    let wrapped = folder(&["animals/cat/1.png", "animals/dog/1.png"]);
    assert!(message(wrapped.path()).contains("are its sub-folders the classes?"));
    let bare = folder(&["cat/1.png", "dog/readme.txt"]);
    let text = message(bare.path());
    assert!(text.contains("no pictures in class `dog`"), "{text}");
    assert!(text.contains("dog: "), "{text}");
}

/// A folder of two classes with a file that is no picture and one that is cut off.
fn damaged() -> TempDir {
    let folder = folder(&["cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png", "dog/2.png"]);
    fs::write(folder.path().join("cat/html.jpg"), "<html>not found</html>").unwrap();
    let png = encode(colours(9, 9), ImageFormat::Png);
    fs::write(folder.path().join("dog/cut.png"), &png[..png.len() / 2]).unwrap();
    folder
}

#[test]
fn unreadable_pictures_are_skipped_counted_and_named() {
    let folder = damaged();
    let mut dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.skipped.len(), 1);
    assert!(dataset.skipped[0].error.to_string().contains("html.jpg: not a picture"));
    assert_eq!(dataset.train.len() + dataset.test.len(), 6);
    dataset.check(false, 3).unwrap();
    assert_eq!(dataset.skipped.len(), 2);
    assert_eq!(dataset.skipped[1].label, 1);
    assert!(dataset.skipped[1].error.to_string().contains("cut.png: the file is cut off"));
    assert_eq!(dataset.train.len() + dataset.test.len(), 5);
}

#[test]
fn strictly_the_first_unreadable_picture_is_the_error() {
    let folder = damaged();
    let options = OpenOptions { strict: true, ..OpenOptions::default() };
    let error = Dataset::open(folder.path(), &options).unwrap_err();
    assert!(error.to_string().contains("html.jpg: not a picture"), "{error}");
    fs::remove_file(folder.path().join("cat/html.jpg")).unwrap();
    let error = Dataset::open(folder.path(), &options).unwrap().check(true, 2).unwrap_err();
    assert!(error.to_string().contains("cut.png: the file is cut off"), "{error}");
}

#[test]
fn a_class_whose_pictures_are_all_unreadable_is_an_error() {
    let folder = folder(&["cat/1.png", "dog/1.png"]);
    fs::write(folder.path().join("dog/1.png"), "no").unwrap();
    let text = message(folder.path());
    assert!(text.contains("class `dog`: none of its 1 pictures can be read"), "{text}");
    assert!(text.contains("1.png: not a picture"), "{text}");
    // Found by decoding only, and on the side of the test pictures.
    let png = encode(colours(9, 9), ImageFormat::Png);
    let folder =
        self::folder(&["train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "val/dog/1.png"]);
    for class in ["cat", "dog"] {
        fs::write(folder.path().join(format!("val/{class}/1.png")), &png[..50]).unwrap();
    }
    let mut dataset = open(folder.path()).unwrap();
    assert!(matches!(dataset.check(false, 1), Err(DataError::NoReadablePictures { .. })));
}

#[test]
#[cfg(unix)]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let folder = folder(&["cat/deep/1.png", "dog/1.png"]);
    let elsewhere = self::folder(&["2.png"]);
    symlink(folder.path(), folder.path().join("cat/deep/root")).unwrap();
    symlink("../deep", folder.path().join("cat/deep/again")).unwrap();
    symlink(elsewhere.path(), folder.path().join("dog/more")).unwrap();
    symlink(elsewhere.path().join("2.png"), folder.path().join("dog/linked.png")).unwrap();
    symlink("nowhere.png", folder.path().join("dog/broken.png")).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.skipped.len(), 1, "{:?}", dataset.skipped);
    assert!(dataset.skipped[0].error.to_string().contains("broken.png: cannot be read"));
    let dogs = dataset.train.iter().chain(&dataset.test).filter(|s| s.label == 1).count();
    assert_eq!(dogs, 3);
}

#[test]
fn to_judge_a_model_its_own_classes_count() {
    let classes = ["ant", "cat", "dog"].map(String::from);
    let folder = folder(&["train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png"]);
    let dataset = Dataset::open_for_test(folder.path(), &classes, false).unwrap();
    assert!(dataset.train.is_empty());
    assert_eq!(dataset.classes, classes);
    let expected = [(1, "val/cat/3.png".to_string()), (2, "val/dog/4.png".to_string())];
    assert_eq!(listing(&dataset.test, folder.path()), expected);
    // A folder without a split is judged as a whole, and one class is enough.
    let cats = folder.path().join("train");
    assert_eq!(Dataset::open_for_test(&cats, &classes, false).unwrap().test.len(), 2);
    fs::create_dir(cats.join("yak")).unwrap();
    let error = Dataset::open_for_test(&cats, &classes, false).unwrap_err().to_string();
    assert!(error.contains("class `yak` is none of the model's (ant, cat, dog)"), "{error}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn idx_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("train-images-idx3-ubyte", &idx(&[3, 1, 2], &[1, 2, 3, 4, 5, 6]));
    write("train-labels-idx1-ubyte.gz", &gzip(&idx(&[3], &[2, 0, 1])));
    write("t10k-images.idx3-ubyte.gz", &gzip(&idx(&[1, 1, 2], &[7, 8])));
    write("t10k-labels.idx1-ubyte", &idx(&[1], &[2]));
    folder
}

#[test]
fn idx_files_gzipped_or_not() {
    let folder = idx_folder();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.classes, ["0", "1", "2"]);
    assert_eq!(dataset.train.iter().map(|s| s.label).collect::<Vec<_>>(), [2, 0, 1]);
    let last = dataset.train[2].picture().unwrap();
    assert_eq!((last.width(), last.height(), last.values()), (2, 1, &[5, 6][..]));
    assert_eq!(dataset.test[0].picture().unwrap().values(), [7, 8]);
    let names = ["ant", "bee", "cat"].map(String::from);
    let test = Dataset::open_for_test(folder.path(), &names, false).unwrap();
    assert_eq!((test.train.len(), test.test.len(), &test.classes[..]), (0, 1, &names[..]));
}

#[test]
fn damaged_idx_files_are_named() {
    let damage: [(&str, Vec<u8>, &str); 7] = [
        ("train-images-idx3-ubyte", idx(&[3, 1, 2], &[1, 2, 3]), "fewer than the 6 bytes"),
        ("train-images-idx3-ubyte", idx(&[1, 1, 2], &[1, 2, 3]), "more than the 2 bytes"),
        ("train-images-idx3-ubyte", idx(&[3, 2], &[1; 6]), "0x802 instead of 0x803"),
        ("train-images-idx3-ubyte", idx(&[u32::MAX; 3], &[]), "claims"),
        ("train-images-idx3-ubyte", vec![0], "fill whole buffer"),
        ("t10k-labels.idx1-ubyte", idx(&[2], &[0, 0]), "2 labels for 1 pictures"),
        ("train-labels-idx1-ubyte.gz", gzip(&[0; 30])[..20].to_vec(), "labels-idx1-ubyte.gz"),
    ];
    for (name, bytes, expected) in damage {
        let folder = idx_folder();
        fs::write(folder.path().join(name), bytes).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(matches!(error, DataError::Idx { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let folder = idx_folder();
    fs::remove_file(folder.path().join("t10k-labels.idx1-ubyte")).unwrap();
    assert!(message(folder.path()).contains("t10k-labels-idx1-ubyte is missing"));
}

#[test]
fn the_embedded_fashion_mnist() {
    let dataset = fashion_mnist();
    assert_eq!(
        (dataset.train.len(), dataset.test.len(), dataset.classes.len()),
        (10_000, 2_000, 10)
    );
    assert_eq!(dataset.classes[0], "T-shirt/top");
    // The first labels of the data set's files: an ankle boot, a T-shirt.
    let labels: Vec<usize> = dataset.train[..10].iter().map(|s| s.label).collect();
    assert_eq!(labels, [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]);
    let labels: Vec<usize> = dataset.test[..10].iter().map(|s| s.label).collect();
    assert_eq!(labels, [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
    for class in 0..10 {
        let count = dataset.train.iter().filter(|s| s.label == class).count();
        assert!((900..1100).contains(&count), "class {class}: {count}");
    }
    // Mean over the whole data set's training pictures is 0.2860, deviation 0.3530.
    let mean: f64 = dataset
        .train
        .iter()
        .map(|s| {
            let picture = s.picture().unwrap();
            assert_eq!((picture.width(), picture.height(), picture.channels()), (28, 28, 1));
            picture.values().iter().map(|v| f64::from(*v)).sum::<f64>() / 784.0 / 255.0
        })
        .sum::<f64>()
        / 10_000.0;
    assert!((mean - 0.286).abs() < 0.005, "{mean}");
}

#[test]
fn a_folder_of_real_photographs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/flowers5");
    if !path.is_dir() {
        eprintln!("skipped: no photographs in {}", path.display());
        return;
    }
    let mut dataset = open(&path).unwrap();
    assert_eq!(dataset.classes.len(), 5);
    assert_eq!((dataset.train.len(), dataset.test.len()), (800, 200));
    dataset.check(true, 2).unwrap();
}

#[cfg(unix)]
#[test]
fn pipes_are_passed_over() {
    let folder = folder(&["cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png"]);
    for name in ["cat/pipe.jpg", "cat/pipe"] {
        let made = std::process::Command::new("mkfifo").arg(folder.path().join(name)).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no mkfifo here");
            return;
        }
    }
    std::os::unix::fs::symlink("pipe.jpg", folder.path().join("cat/link.jpg")).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.train.len() + dataset.test.len(), 4);
    assert!(dataset.skipped.is_empty());
}
