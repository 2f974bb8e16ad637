//! What can be wrong with a network.

/// Why a description is no network. Every message names the layer and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// A layer's windows do not fit the grid they get.
    #[error(
        "layer `{layer}`: a {}×{} window does not fit the {}×{} grid it gets; \
         use a larger input, a smaller kernel or stride before it, or padding = \"same\"",
        kernel.0, kernel.1, grid.0, grid.1
    )]
    Grid {
        /// The layer.
        layer: String,
        /// Its kernel, height and width.
        kernel: (usize, usize),
        /// The grid, height and width.
        grid: (usize, usize),
    },
    /// As [`NetError::Grid`], where a larger picture is all that is needed.
    #[error("{cause}; the smallest picture this network takes is {smallest}×{smallest}")]
    TooSmall {
        /// The side of the smallest square picture.
        smallest: usize,
        /// Where the grid became too small.
        cause: Box<NetError>,
    },
    /// Branches end on different grids, so that their channels cannot be put together.
    #[error(
        "module `{layer}`: its branches end on different grids ({grids}); \
         give all branches the same strides and paddings"
    )]
    Branches {
        /// The module.
        layer: String,
        /// Each branch's height×width.
        grids: String,
    },
    /// Two layers, or two of their parameters, would have the same name.
    #[error("the name `{name}` is used twice; give each layer a name of its own")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A number is out of its range, or two settings contradict each other.
    #[error("`{layer}`: {problem}")]
    Layer {
        /// The layer, or the section of the network's own settings.
        layer: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A head does not end with its classifier, or a classifier stands elsewhere.
    #[error("`{place}`: {problem}")]
    Classifier {
        /// The network, auxiliary head or layer.
        place: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// No input size gives a network.
    #[error("no input up to {limit}×{limit} is large enough; the last one failed with: {last}")]
    NoInput {
        /// The largest side tried.
        limit: usize,
        /// What was wrong with that one.
        last: Box<NetError>,
    },
    /// A file is not a network written in TOML.
    #[error("line {line}: {message}")]
    Toml {
        /// Line in the file, from 1.
        line: usize,
        /// What was found and what was expected.
        message: String,
    },
    /// No network of this name.
    #[error("no network is called `{name}`; there are {known}")]
    UnknownNetwork {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// The network does not exist in this dialect.
    #[error("`{network}` has no dialect `{dialect}`; it has {known}")]
    UnknownDialect {
        /// The network.
        network: String,
        /// The dialect.
        dialect: String,
        /// Its dialects, the default first.
        known: String,
    },
    /// An option of [`crate::zoo::build`] is out of range.
    #[error("{0}")]
    Option(String),
}
