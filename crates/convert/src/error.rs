//! What can be wrong with an import.

use inception_formats::Format;
use inception_model::ModelError;
use inception_net::NetError;

use crate::from_graph::GraphError;

/// Why a file's content does not become a model.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Its names are nobody's.
    #[error(
        "the names of its arrays ({names}) are of no library known here ({known}); \
         if they are of one of these, say which with --from, and which network with --network"
    )]
    Names {
        /// A few of them.
        names: String,
        /// All libraries.
        known: String,
    },
    /// Its names are not those of the library it is said to come from.
    #[error(
        "its arrays ({names}) are not an Inception network under the names of {library}; \
         leave --from out to have them recognised"
    )]
    NotFrom {
        /// The library.
        library: String,
        /// A few of the names.
        names: String,
    },
    /// It is of another format than it is said to be.
    #[error(
        "it is {}, not {}; leave --from out to have it recognised",
        found.described(), wanted.described()
    )]
    Format {
        /// The format recognised.
        found: Format,
        /// What was asked for.
        wanted: Format,
    },
    /// It is this program's own.
    #[error(
        "it is a model file of this program already; use it as it is. To take its weights alone \
         over into another network, without its labels and preprocessing, give --from inception \
         and --network"
    )]
    OwnModel,
    /// It holds weights alone, and what was asked for is for graphs.
    #[error(
        "{option} has no effect here: the file holds weights alone, of {network} as it is \
         published; for another one give --network, a built-in network with its options or a TOML \
         file of your own"
    )]
    NoEffect {
        /// The option.
        option: &'static str,
        /// The network.
        network: String,
    },
    /// It holds weights alone, with a classifier of their own.
    #[error(
        "--classes {asked} has no effect here: the file holds weights alone, and the classifier of \
         {network} has {found} classes"
    )]
    Classes {
        /// The network.
        network: String,
        /// How many were asked for.
        asked: usize,
        /// How many it has.
        found: usize,
    },
    /// No format and no library has this name.
    #[error("`{name}` is neither a format nor a library known here; there are {known}")]
    UnknownFrom {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// The library has no such network.
    #[error(
        "{library} has no names for the network `{network}`; it may be another network, see --network"
    )]
    NoNames {
        /// The library.
        library: String,
        /// The network.
        network: String,
    },
    /// The network cannot be built.
    #[error("{0}")]
    Net(#[from] NetError),
    /// Arrays are missing, left over, or of another shape.
    #[error("its arrays are not those of {network} as {library} names them: {faults}")]
    Arrays {
        /// The network.
        network: String,
        /// The library.
        library: String,
        /// All that is wrong, by name.
        faults: String,
    },
    /// The list of labels has another length.
    #[error(
        "{found} labels for {classes} classes; give one line for each class, in the network's order, or for the graph of 2015 its imagenet_2012_challenge_label_map_proto.pbtxt"
    )]
    Labels {
        /// Labels given.
        found: usize,
        /// Classes of the network.
        classes: usize,
    },
    /// Its graph is no network that can be expressed here.
    #[error("its graph cannot be taken over: {0}")]
    Graph(#[from] GraphError),
    /// The values do not fit the network.
    #[error("{0}")]
    Weights(#[from] ModelError),
}
