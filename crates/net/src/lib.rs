//! What a network computes, as data: layers, the papers' modules, the zoo, shapes and cost.
//!
//! A [`Net`] is what a person writes, in code or in TOML; its [`Graph`] is the same unrolled, and
//! all others read that. This crate knows no weights, does no arithmetic on pictures and touches
//! no files.
//!
//! ```
//! use inception_net::{Net, zoo};
//!
//! let v3 = zoo::build("inception-v3", &zoo::Options::default())?;
//! assert_eq!(v3.graph()?.summary().parameters, 27_161_264);
//! assert_eq!(v3.smallest_input()?, 75);
//!
//! let mine = Net::from_toml(
//!     r#"
//!     name = "mine"
//!     classes = 3
//!     input = { channels = 1, height = 28, width = 28 }
//!     preprocessing = { resize = "none", order = "grey", mean = [0.5], std = [0.5] }
//!     defaults = { init = "he", batch_norm = { epsilon = 0.001, decay = 0.9, scale = true } }
//!
//!     [[layer]]
//!     type = "conv"
//!     name = "stem"
//!     kernel = 3
//!     stride = 2
//!     channels = 16
//!
//!     [[layer]]
//!     type = "branches"
//!     name = "mixed"
//!     branches = [
//!         [{ type = "conv", name = "1x1", kernel = 1, channels = 16 }],
//!         [
//!             { type = "conv", name = "1x7", kernel = [1, 7], channels = 8 },
//!             { type = "conv", name = "7x1", kernel = [7, 1], channels = 16 },
//!         ],
//!         [{ type = "max-pool", name = "pool", kernel = 3 }],
//!     ]
//!
//!     [[layer]]
//!     type = "global-avg-pool"
//!     name = "pool"
//!
//!     [[layer]]
//!     type = "classifier"
//!     name = "fc"
//!     "#,
//! )?;
//! let graph = mine.graph()?;
//! let mixed = graph.layers.iter().find(|layer| layer.name == "mixed").unwrap();
//! assert_eq!(mixed.shape.channels, 16 + 16 + 16);
//! # Ok::<(), inception_net::NetError>(())
//! ```

pub mod advise;
mod build;
pub mod compare;
mod cost;
mod drawing;
mod error;
pub mod graph;
pub mod layers;
pub mod modules;
mod net;
mod notation;
mod parameters;
pub mod preprocessing;
mod step;
pub mod summary;
mod text;
mod windows;
pub mod zoo;

pub use cost::Field;
pub use error::NetError;
pub use graph::Graph;
pub use net::{Defaults, Input, Net};
pub use notation::{Pad, Size};
pub use preprocessing::Preprocessing;
pub use step::{Series, Step};
