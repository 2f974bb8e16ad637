//! What a network is written in: layers, the papers' modules, heads.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::layers::{
    AdaptiveAvgPool, Auxiliary, AvgPool, Branches, Classifier, Conv, Dropout, GlobalAvgPool,
    Linear, LocalResponseNorm, MaxPool, SeparableConv,
};
use crate::modules::{self, A, AuxiliaryV1, AuxiliaryV3, B, Bn, BnReduction, C, D, E, V1, V1Naive};

/// Steps in series.
pub type Series = Vec<Step>;

/// Defines [`Step`] from one list: each kind of step with its `type` in files.
macro_rules! steps {
    ($($(#[$doc:meta])* $kind:ident = $tag:literal,)*) => {
        /// One layer, module or head. It reads the tensor that the step before it made.
        ///
        /// In a file a step is a table whose `type` says what it is; its other fields are those
        /// of the struct. Names are unique in a network. Inside a module they are relative to
        /// it: the layer `1x1` of the module `inception_3a` is `inception_3a.1x1`. A `branches`
        /// step inside a branch belongs to the module around it and adds no prefix of its own.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "type")]
        pub enum Step {
            $($(#[$doc])* #[serde(rename = $tag)] $kind($kind),)*
        }

        impl Step {
            /// The step's own name, without its module's.
            pub fn name(&self) -> &str {
                match self {
                    $(Step::$kind(step) => &step.name,)*
                }
            }

            /// Gives the step another name.
            pub fn rename(&mut self, name: String) {
                match self {
                    $(Step::$kind(step) => step.name = name,)*
                }
            }
        }

        $(impl From<$kind> for Step {
            fn from(step: $kind) -> Self {
                Step::$kind(step)
            }
        })*

        #[derive(Deserialize)]
        enum Kind {
            $(#[serde(rename = $tag)] $kind,)*
        }

        impl Kind {
            fn read<'de, M: MapAccess<'de>>(self, fields: M) -> Result<Step, M::Error> {
                let fields = de::value::MapAccessDeserializer::new(fields);
                match self {
                    $(Kind::$kind => $kind::deserialize(fields).map(Step::$kind),)*
                }
            }
        }
    };
}

steps! {
    /// Convolution, with batch norm or bias and ReLU.
    Conv = "conv",
    /// Depthwise convolution, then a 1×1 convolution with batch norm or bias and ReLU.
    SeparableConv = "separable-conv",
    /// Maximum over windows.
    MaxPool = "max-pool",
    /// Mean over windows.
    AvgPool = "avg-pool",
    /// Mean over the whole grid.
    GlobalAvgPool = "global-avg-pool",
    /// Mean over as many windows as the output is to have.
    AdaptiveAvgPool = "adaptive-avg-pool",
    /// Local response normalisation across channels.
    LocalResponseNorm = "local-response-norm",
    /// Dropout.
    Dropout = "dropout",
    /// Fully connected layer.
    Linear = "linear",
    /// A module of one's own: branches whose outputs are concatenated.
    Branches = "branches",
    /// Naive v1 module (1409.4842, figure 2a).
    V1Naive = "v1-naive",
    /// v1 module with dimension reduction (1409.4842, figure 2b).
    V1 = "v1",
    /// Module of BN-Inception (1502.03167, figure 5).
    Bn = "bn",
    /// Its form with stride 2.
    BnReduction = "bn-reduction",
    /// Module A of v3 (1512.00567, figure 5).
    A = "A",
    /// Module B of v3 (1512.00567, figure 6).
    B = "B",
    /// Module C of v3 (1512.00567, figure 7).
    C = "C",
    /// Grid-size reduction after the modules A (1512.00567, figure 10).
    D = "D",
    /// Grid-size reduction after the modules B (1512.00567, figure 10).
    E = "E",
    /// Auxiliary head of v1 (1409.4842, §5).
    AuxiliaryV1 = "auxiliary-v1",
    /// Auxiliary head of v3 (1512.00567, figure 8).
    AuxiliaryV3 = "auxiliary-v3",
    /// An auxiliary head of one's own.
    Auxiliary = "auxiliary",
    /// The linear layer that ends a head: as many outputs as there are classes.
    Classifier = "classifier",
}

impl Step {
    /// A module's branches, in the order of their concatenation; `None` for what is no module.
    pub fn branches(&self) -> Option<Vec<Series>> {
        Some(match self {
            Step::Branches(m) => m.branches.clone(),
            Step::V1Naive(m) => modules::v1_naive(m),
            Step::V1(m) => modules::v1(m),
            Step::Bn(m) => modules::bn(m),
            Step::BnReduction(m) => modules::bn_reduction(m),
            Step::A(m) => modules::a(m),
            Step::B(m) => modules::b(m),
            Step::C(m) => modules::c(m),
            Step::D(m) => modules::d(m),
            Step::E(m) => modules::e(m),
            _ => return None,
        })
    }

    /// An auxiliary head's loss weight and steps; `None` for what is none.
    pub fn auxiliary(&self) -> Option<(f32, Series)> {
        Some(match self {
            Step::AuxiliaryV1(head) => (head.loss_weight, modules::auxiliary_v1(head)),
            Step::AuxiliaryV3(head) => (head.loss_weight, modules::auxiliary_v3(head)),
            Step::Auxiliary(head) => (head.loss_weight, head.layers.clone()),
            _ => return None,
        })
    }

    /// The step's name with the prefix of the module around it.
    pub(crate) fn full_name(&self, prefix: &str) -> String {
        if prefix.is_empty() { self.name().to_owned() } else { format!("{prefix}.{}", self.name()) }
    }

    /// The prefix of the names inside the step, where `prefix` is that around it: its own name,
    /// but for `branches` inside a module.
    pub(crate) fn inner_prefix(&self, prefix: &str) -> String {
        if matches!(self, Step::Branches(_)) && !prefix.is_empty() {
            prefix.to_owned()
        } else {
            self.full_name(prefix)
        }
    }
}

impl<'de> Deserialize<'de> for Step {
    /// serde's own way with tagged enums reads the table into memory first and so forgets on
    /// which line a field stood; this one reads on as soon as it knows the `type`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = Step;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a layer, { type = …, name = … }")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut rest: M) -> Result<Step, M::Error> {
        let mut before = Vec::new();
        while let Some(key) = rest.next_key::<String>()? {
            if key == "type" {
                let kind: Kind = rest.next_value()?;
                return kind.read(Fields { before: before.into_iter(), value: None, rest });
            }
            before.push((key, rest.next_value()?));
        }
        Err(de::Error::missing_field("type"))
    }
}

/// A step's fields: those before its `type`, then the others.
struct Fields<M> {
    before: std::vec::IntoIter<(String, toml::Value)>,
    value: Option<toml::Value>,
    rest: M,
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for Fields<M> {
    type Error = M::Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, M::Error> {
        match self.before.next() {
            Some((key, value)) => {
                self.value = Some(value);
                seed.deserialize(de::IntoDeserializer::into_deserializer(key)).map(Some)
            }
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, M::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(de::Error::custom),
            None => self.rest.next_value_seed(seed),
        }
    }
}
