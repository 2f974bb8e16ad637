//! Carries weights between this project's model files and other programs' files.
//!
//! Importing: a file's named arrays ([`inception_formats`]) meet the names that its library gives
//! a network's layers, or its graph is read as a network of its own. Exporting is the way back.
//! Reads no files itself and does no arithmetic but changes of layout.

mod error;
mod export;
pub mod from_graph;
mod import;
mod label_file;
mod labels;
mod layout;
pub mod names;
pub mod onnx;
mod packages;
mod picture;
mod range;

pub use error::ImportError;
pub use export::{StateDictError, state_dict};
pub use import::{Options, import, sources};
pub use label_file::labels;
pub use layout::Layout;
pub use range::Range;
