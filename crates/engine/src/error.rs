/// What can be wrong with a request to the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The weights belong to another network.
    #[error("the weights do not belong to this network: {0}")]
    Weights(String),
    /// The weights cannot be read from their file.
    #[error(transparent)]
    Read(#[from] inception_model::ModelError),
    /// A batch whose length is not a whole number of pictures, or that is empty.
    #[error(
        "a batch of {values} values is not one or more pictures of {channels}×{height}×{width}; \
         preprocess the pictures to the network's input size"
    )]
    Pictures {
        /// Values given.
        values: usize,
        /// Channels the network takes.
        channels: usize,
        /// Rows the network takes.
        height: usize,
        /// Columns the network takes.
        width: usize,
    },
    /// Gradients of the logits that do not match the batch of the last forward pass.
    #[error(
        "backward wants the gradient of each head's logits for the {0} pictures of the last forward pass"
    )]
    LogitGradients(usize),
    /// An algorithm that was asked for does not apply to the layer.
    #[error(
        "{layer} ({kind}) cannot be computed by {algorithm}; leave that line of the plan out, the choice is the program's then"
    )]
    Algorithm {
        /// The layer.
        layer: String,
        /// Its kind, as plans name it.
        kind: String,
        /// What was asked for.
        algorithm: String,
    },
    /// More memory than the system gives.
    #[error(
        "no memory for {pictures} pictures at a time, which take {mebibytes} MiB; take a smaller \
         batch or smaller pictures"
    )]
    Memory {
        /// Pictures in the batch.
        pictures: usize,
        /// What they take.
        mebibytes: usize,
    },
}
