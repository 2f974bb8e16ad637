//! A node's attributes by name.

use std::collections::HashMap;

use prost::Message;

use super::messages::{Attribute, Node};
use crate::Fault;

pub(super) struct Attributes(HashMap<String, Attribute>);

impl Attributes {
    pub fn of(node: &Node) -> Result<Self, Fault> {
        let decoded = node.attributes.iter().map(|bytes| {
            let attribute = Attribute::decode(bytes.clone())
                .map_err(|error| Fault::new(format!("a damaged attribute: {error}")))?;
            Ok((attribute.name.clone(), attribute))
        });
        decoded.collect::<Result<_, _>>().map(Self)
    }

    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.get(name)
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.i
    }

    pub fn flag(&self, name: &str) -> bool {
        self.int(name).is_some_and(|i| i != 0)
    }

    pub fn float(&self, name: &str) -> Option<f32> {
        self.get(name)?.f
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?.s.as_ref()?).ok()
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        let attribute = self.get(name)?;
        Some(attribute.ints.as_slice())
    }

    /// `N` sizes; `otherwise` where the attribute is absent.
    pub fn sizes<const N: usize>(
        &self,
        name: &str,
        otherwise: Option<[usize; N]>,
    ) -> Result<[usize; N], Fault> {
        let Some(ints) = self.ints(name) else {
            return otherwise.ok_or_else(|| Fault::new(format!("it has no `{name}`")));
        };
        let sizes: Option<Vec<usize>> =
            ints.iter().map(|&i| usize::try_from(i).ok().filter(|&n| n < 1 << 16)).collect();
        sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| {
            Fault::new(format!("its `{name}` is {ints:?}, where {N} sizes are wanted"))
        })
    }
}
