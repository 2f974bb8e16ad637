//! IDX, the format of MNIST and Fashion-MNIST (Y. LeCun's description of the MNIST files): a
//! magic number, the sizes, then bytes; numbers are big-endian.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use crate::dataset::{Dataset, Sample, Source};
use crate::error::DataError;
use crate::picture::Picture;

/// Most bytes of values in a file: all of MNIST's kin (EMNIST has 550 MB) and no bomb.
const MAX_VALUES: u64 = 1 << 30;

const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

macro_rules! embedded {
    ($file:literal) => {
        include_bytes!(concat!("../data/fashion-mnist/", $file)).as_slice()
    };
}

/// The embedded part of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747): its first
/// 10,000 training and first 2,000 test pictures, grey, 28×28, ten classes of clothing.
pub fn fashion_mnist() -> Dataset {
    let part = |images, labels| {
        samples((Path::new("embedded pictures"), images), (Path::new("embedded labels"), labels))
            .expect("the embedded files are whole: a test reads them")
    };
    Dataset {
        classes: FASHION.map(String::from).to_vec(),
        train: part(
            embedded!("train-images-idx3-ubyte.gz"),
            embedded!("train-labels-idx1-ubyte.gz"),
        ),
        test: part(embedded!("t10k-images-idx3-ubyte.gz"), embedded!("t10k-labels-idx1-ubyte.gz")),
        skipped: Vec::new(),
    }
}

/// The data set of a folder with IDX files; `None` if there are none. The classes are called
/// `0`, `1` and so on: the files don't name them.
pub(crate) fn open(folder: &Path) -> Result<Option<Dataset>, DataError> {
    let Some(train_images) = find(folder, "train-images", "idx3") else { return Ok(None) };
    let part = |images: &Path, prefix: &str| {
        let labels = find(folder, &format!("{prefix}-labels"), "idx1").ok_or_else(|| {
            let what = format!("{prefix}-labels-idx1-ubyte is missing beside it");
            DataError::Idx { path: images.into(), what }
        })?;
        samples((images, open_file(images)?), (&labels, open_file(&labels)?))
    };
    let train = part(&train_images, "train")?;
    let test_images = find(folder, "t10k-images", "idx3").ok_or_else(|| {
        let what = "t10k-images-idx3-ubyte is missing beside it".into();
        DataError::Idx { path: train_images.clone(), what }
    })?;
    let test = part(&test_images, "t10k")?;
    let classes = train.iter().chain(&test).map(|s| s.label + 1).max().unwrap_or(0);
    let classes = (0..classes).map(|class| class.to_string()).collect();
    Ok(Some(Dataset { classes, train, test, skipped: Vec::new() }))
}

/// The file called `{name}-{kind}-ubyte` or `{name}.{kind}-ubyte`, perhaps gzipped.
fn find(folder: &Path, name: &str, kind: &str) -> Option<PathBuf> {
    let names = ["-", "."]
        .iter()
        .flat_map(|dot| ["", ".gz"].iter().map(move |gz| format!("{name}{dot}{kind}-ubyte{gz}")));
    names.map(|name| folder.join(name)).find(|path| path.is_file())
}

fn open_file(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|error| DataError::Read { path: path.into(), error })
}

fn samples(
    (images_path, images): (&Path, impl Read),
    (labels_path, labels): (&Path, impl Read),
) -> Result<Vec<Sample>, DataError> {
    let ([count, height, width], pixels) = read(images_path, images)?;
    let ([label_count], labels) = read(labels_path, labels)?;
    let error = |path: &Path, what: String| DataError::Idx { path: path.into(), what };
    if count != label_count {
        let what = format!("{label_count} labels for {count} pictures");
        return Err(error(labels_path, what));
    }
    if count == 0 || height == 0 || width == 0 {
        return Err(error(images_path, "no pictures in it".into()));
    }
    let pictures = pixels.chunks_exact(height * width);
    Ok(pictures
        .zip(labels)
        .enumerate()
        .map(|(number, (values, label))| {
            let picture = Arc::new(Picture::grey(width, height, values.to_vec()));
            Sample { source: Source::Memory { picture, number }, label: label.into() }
        })
        .collect())
}

/// The sizes and the values of an IDX file of bytes with `D` dimensions, gzipped or not.
fn read<const D: usize>(
    path: &Path,
    mut file: impl Read,
) -> Result<([usize; D], Vec<u8>), DataError> {
    let error = |what: String| DataError::Idx { path: path.into(), what };
    let damaged = |e: std::io::Error| error(e.to_string());
    let mut start = [0; 2];
    file.read_exact(&mut start).map_err(damaged)?;
    let whole = start.chain(file);
    let mut file: Box<dyn Read> =
        if start == [0x1F, 0x8B] { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
    let mut number = || {
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes).map_err(damaged)?;
        Ok::<u32, DataError>(u32::from_be_bytes(bytes))
    };
    // Two zeros, the type (8: unsigned bytes), the number of dimensions.
    let magic = number()?;
    if magic != 0x0800 + D as u32 {
        return Err(error(format!("begins with {magic:#x} instead of {:#x}", 0x0800 + D)));
    }
    let mut sizes = [0; D];
    for size in &mut sizes {
        *size = number()? as usize;
    }
    let expected = sizes.iter().fold(1u64, |product, size| product.saturating_mul(*size as u64));
    if expected > MAX_VALUES {
        return Err(error(format!("claims {expected} bytes, more than {MAX_VALUES}")));
    }
    let mut values = Vec::new();
    file.take(expected + 1).read_to_end(&mut values).map_err(damaged)?;
    if values.len() as u64 != expected {
        let than = if (values.len() as u64) < expected { "fewer" } else { "more" };
        return Err(error(format!("{than} than the {expected} bytes it claims")));
    }
    Ok((sizes, values))
}
