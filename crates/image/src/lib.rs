//! Pictures as tensors: decoding, resizing, augmentation, data sets.
//!
//! Reads files and bytes, and makes of them the `f32` tensors that a network takes, the same to
//! the bit for the same seed whatever the number of threads. It knows no weights and computes no
//! layer; it never writes a file and never prints.

mod augment;
mod crops;
pub mod dataset;
mod decode;
mod error;
mod folders;
mod idx;
mod interpolate;
mod jpeg;
mod loader;
mod picture;
mod preprocess;
mod random;
mod threads;

pub use augment::{Augmentation, Blend, Colour, Erase, Fill, Mix, RandAugment, RandomCrop};
pub use crops::Crops;
pub use dataset::{Dataset, Sample};
pub use decode::{MAX_FILE, MAX_PIXELS, PictureError, Problem, decode, open};
pub use error::DataError;
pub use folders::pictures;
pub use loader::{Batch, Batching, Loader, Pipeline};
pub use picture::Picture;
pub use preprocess::Preprocessor;
