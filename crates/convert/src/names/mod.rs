//! What libraries call the parameters of the zoo's networks: one table a library.

mod caffe;
pub(crate) mod keras;
mod mxnet;
mod own;
mod slim;
mod timm;
mod torchvision;

use std::collections::{BTreeMap, HashMap};

use inception_formats::Array;
use inception_net::graph::Graph;
use inception_net::zoo::Dialect;
use inception_net::{Net, Preprocessing};

use crate::layout::Layout;

/// A library that publishes weights under names of its own.
pub struct Library {
    /// Its name on the command line.
    pub name: &'static str,
    /// Which network of the zoo the arrays are of; `None` where they are not this library's.
    pub recognise: fn(&Arrays) -> Option<Found>,
    /// Where each of [`Graph::parameters`] stands in a file of this library, in the same order.
    /// `None` where the library has no such network.
    pub sources: fn(network: &str, graph: &Graph) -> Option<Vec<Source>>,
    /// Whether an array is no part of the network: counters, moments of an optimiser.
    pub ignores: fn(&str) -> bool,
    /// Makes the library's own network of the zoo's, where they differ.
    pub adapt: fn(&mut Net),
}

/// All libraries, in the order in which they are tried.
pub const LIBRARIES: [&Library; 7] = [
    &torchvision::TORCHVISION,
    &slim::SLIM,
    &caffe::CAFFE,
    &mxnet::MXNET,
    &keras::KERAS,
    &timm::TIMM,
    &own::OWN,
];

/// The library of this name.
pub fn library(name: &str) -> Option<&'static Library> {
    LIBRARIES.into_iter().find(|library| library.name == name)
}

/// What a library recognised.
#[derive(Clone, Debug)]
pub struct Found {
    /// The network's name in the zoo.
    pub network: &'static str,
    /// Whose arithmetic.
    pub dialect: Dialect,
    /// Outputs of the main classifier.
    pub classes: usize,
    /// Whether the file has the auxiliary heads too.
    pub auxiliary: bool,
    /// How this library prepares pictures, where that differs from the dialect's way.
    pub preprocessing: Option<Preprocessing>,
}

/// Where a parameter's values come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// An array of the file.
    Array {
        /// Its name.
        name: String,
        /// The order of its axes.
        layout: Layout,
    },
    /// One array less another: a running mean, less the bias before it that ours does not have.
    Difference {
        /// Its name.
        name: String,
        /// What is taken from it.
        minus: String,
    },
    /// The file has no such array: all values are this.
    Constant(f32),
}

/// The arrays of a file, by name.
pub struct Arrays<'a> {
    by_name: HashMap<&'a str, &'a Array>,
    notes: &'a BTreeMap<String, String>,
}

impl<'a> Arrays<'a> {
    /// Looks at these.
    pub fn new(arrays: &'a [Array], notes: &'a BTreeMap<String, String>) -> Self {
        Self { by_name: arrays.iter().map(|a| (a.name.as_str(), a)).collect(), notes }
    }

    /// The array of this name.
    pub fn get(&self, name: &str) -> Option<&'a Array> {
        self.by_name.get(name).copied()
    }

    /// Whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether any name starts so.
    pub fn any_under(&self, prefix: &str) -> bool {
        self.by_name.keys().any(|name| name.starts_with(prefix))
    }

    /// The length of an axis of an array; `None` where there is no such array or axis.
    pub fn axis(&self, name: &str, axis: usize) -> Option<usize> {
        self.get(name)?.shape.get(axis).copied()
    }

    /// Text that the file says about itself.
    pub fn note(&self, key: &str) -> Option<&'a str> {
        self.notes.get(key).map(String::as_str)
    }
}

/// Takes the auxiliary heads out of a network.
pub fn without_auxiliary(net: &mut Net) {
    net.layers.retain(|step| step.auxiliary().is_none());
}

/// The array of this name with its axes as they are.
fn same(name: String) -> Source {
    Source::Array { name, layout: Layout::Same }
}
