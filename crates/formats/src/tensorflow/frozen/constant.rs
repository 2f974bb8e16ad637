//! Constants, and the little arithmetic between them that spelled-out batch norm takes.

use std::rc::Rc;

use super::super::messages::TensorProto;
use super::super::tensor::{Type, shape};
use crate::Fault;

/// Values that do not depend on the picture.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub shape: Vec<usize>,
    pub values: Rc<[f32]>,
}

/// How many values a graph may still make out of its bytes. A message may say a value once for a
/// whole tensor, and any number of operations may read one constant; neither is to fill the memory.
pub(super) struct Budget(usize);

impl Budget {
    pub fn for_file(bytes: usize) -> Self {
        Self(2 * bytes + (1 << 20))
    }

    pub fn take(&mut self, values: usize) -> Result<(), Fault> {
        self.0 = self.0.checked_sub(values).ok_or_else(|| {
            Fault::new("the graph makes far more values than its bytes can stand for")
        })?;
        Ok(())
    }
}

impl Constant {
    /// `None` for strings and other types that are no numbers.
    pub fn read(proto: &TensorProto, budget: &mut Budget) -> Result<Option<Self>, Fault> {
        let Some(number) = Type::of(proto.dtype) else { return Ok(None) };
        let (shape, count) = shape(proto.tensor_shape.as_ref())?;
        budget.take(count)?;
        let mut values = if proto.tensor_content.is_empty() {
            number.listed(proto)
        } else {
            number.values(&proto.tensor_content)
        };
        let whole = proto.tensor_content.is_empty()
            || count.checked_mul(number.width()) == Some(proto.tensor_content.len());
        if !whole || values.len() > count {
            return Err(Fault::new(format!("its values do not make its shape {shape:?}")));
        }
        // The last value of a list stands for all that follow.
        values.resize(count, values.last().copied().unwrap_or(0.0));
        Ok(Some(Self { shape, values: values.into() }))
    }

    /// The same values in another shape.
    pub fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self { shape, values: self.values.clone() }
    }

    /// Whole numbers: axes, sizes.
    pub fn integers(&self) -> Option<Vec<i64>> {
        let whole = |value: &f32| (value.fract() == 0.0).then_some(*value as i64);
        self.values.iter().map(whole).collect()
    }

    /// Its only value.
    pub fn number(&self) -> Option<f32> {
        (self.values.len() == 1).then(|| self.values[0])
    }

    /// A value for each of `channels`, or one for all, where broadcasting makes it that.
    pub fn per_channel(&self, channels: Option<usize>) -> Option<&[f32]> {
        let axes = self.shape.iter().filter(|&&axis| axis != 1).count();
        let fits = channels.is_none_or(|channels| channels == self.values.len());
        (self.values.len() == 1 || axes == 1 && fits).then_some(&self.values)
    }

    /// An operation on one constant.
    pub fn unary(&self, op: &str, budget: &mut Budget) -> Result<Option<Self>, Fault> {
        let function = match op {
            "Rsqrt" => |value: f64| 1.0 / value.sqrt(),
            "Sqrt" => f64::sqrt,
            "Neg" => |value: f64| -value,
            "Square" => |value: f64| value * value,
            _ => return Ok(None),
        };
        budget.take(self.values.len())?;
        let values = self.values.iter().map(|&value| function(value.into()) as f32).collect();
        Ok(Some(Self { shape: self.shape.clone(), values }))
    }

    /// An operation on two constants of one size, or a constant and a number; `None` for others.
    pub fn binary(
        &self,
        op: &str,
        other: &Self,
        budget: &mut Budget,
    ) -> Result<Option<Self>, Fault> {
        let function = match op {
            "Add" | "AddV2" => |a: f64, b: f64| a + b,
            "Sub" => |a: f64, b: f64| a - b,
            "Mul" => |a: f64, b: f64| a * b,
            "Div" | "RealDiv" => |a: f64, b: f64| a / b,
            _ => return Ok(None),
        };
        let (a, b) = (&self.values, &other.values);
        let larger = if a.len() >= b.len() { self } else { other };
        if a.len() != b.len() && a.len().min(b.len()) != 1 {
            return Ok(None);
        }
        budget.take(larger.values.len())?;
        let at =
            |values: &[f32], i: usize| f64::from(values[if values.len() == 1 { 0 } else { i }]);
        let values =
            (0..larger.values.len()).map(|i| function(at(a, i), at(b, i)) as f32).collect();
        Ok(Some(Self { shape: larger.shape.clone(), values }))
    }
}
