/// A named array of numbers, whatever type the file stored them in.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// As the file spells it.
    pub name: String,
    /// The last axis is the fastest; empty for a single number.
    pub shape: Vec<usize>,
    /// As many as the shape's product. Narrower types are widened, doubles rounded, quantised
    /// values restored as their format defines.
    pub values: Vec<f32>,
}
