//! MXNet's `.params`: a list of arrays, then their names.
//!
//! `src/ndarray/ndarray.cc` (`NDArray::Save`, `NDArray::Load`): three generations of the arrays'
//! head, told apart by its first number.

use crate::number::Number;
use crate::{Array, Fault};

/// What the list starts with; a reserved word follows.
const LIST: u64 = 0x112;
/// Heads of arrays; anything else there is the number of axes of the first generation.
const V1: u32 = 0xf993_fac8;
const V2: u32 = 0xf993_fac9;
const V3: u32 = 0xf993_faca;

/// Reads all arrays. Names are as in the file, `arg:` and `aux:` included.
///
/// # Errors
///
/// If the file is damaged or holds sparse arrays.
pub fn read(bytes: &[u8]) -> Result<Vec<Array>, Fault> {
    let mut rest = Rest(bytes);
    if rest.u64()? != LIST {
        return Err(Fault::new("it does not start as MXNet's lists of arrays do"));
    }
    rest.u64()?;
    // No count is trusted: each array and name read is proof of its own bytes.
    let count = rest.u64()?;
    let mut arrays = Vec::new();
    for place in 0..count {
        let fault = |fault| Fault::new(format!("array {place} of {count}: {fault}"));
        let (shape, values) = rest.array().map_err(fault)?;
        arrays.push(Array { name: String::new(), shape, values });
    }
    let names = rest.u64()?;
    if names != count {
        return Err(Fault::new(format!("{names} names for {count} arrays")));
    }
    for array in &mut arrays {
        let len = usize::try_from(rest.u64()?).unwrap_or(usize::MAX);
        let name = std::str::from_utf8(rest.take(len)?);
        array.name = name.map_err(|_| Fault::new("a name is no UTF-8"))?.to_owned();
    }
    Ok(arrays)
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| Fault::new("the file ends too early; it may be truncated"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut number = [0; N];
        number.copy_from_slice(self.take(N)?);
        Ok(number)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.number().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.number().map(u32::from_le_bytes)
    }

    fn array(&mut self) -> Result<(Vec<usize>, Vec<f32>), Fault> {
        let first = self.u32()?;
        // From the second generation on the kind of storage comes first; 0 is dense.
        if matches!(first, V2 | V3) && self.u32()? != 0 {
            return Err(Fault::new("it is sparse, which is not read"));
        }
        let axes = if matches!(first, V1 | V2 | V3) { self.u32()? } else { first };
        if axes > 32 {
            return Err(Fault::new(format!("it claims {axes} axes")));
        }
        let mut shape = Vec::new();
        for _ in 0..axes {
            let axis = if axes == first { self.u32()?.into() } else { self.u64()? };
            let axis = usize::try_from(axis).ok().filter(|&axis| axis <= self.0.len().max(1));
            shape.push(axis.ok_or_else(|| Fault::new("its shape is larger than the file"))?);
        }
        // Without axes an array is empty and ends here; the third generation has true scalars.
        if shape.is_empty() && first != V3 {
            return Ok((vec![0], Vec::new()));
        }
        // The device it lay on.
        self.u64()?;
        let number = match self.u32()? {
            0 => Number::F32,
            1 => Number::F64,
            2 => Number::F16,
            3 | 7 => Number::U8,
            4 => Number::I32,
            5 => Number::I8,
            6 => Number::I64,
            12 => Number::Bf16,
            other => {
                return Err(Fault::new(format!("its type has number {other}, which is not read")));
            }
        };
        let len = shape.iter().try_fold(number.size(), |len, &axis| len.checked_mul(axis));
        let values = number.widen(self.take(len.unwrap_or(usize::MAX))?);
        Ok((shape, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One array `[2, 1]` of 1.5 and -2 called `arg:x`, in the given generation.
    fn file(generation: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [LIST, 0, 1] {
            bytes.extend(word.to_le_bytes());
        }
        match generation {
            0 => [2_u32, 2, 1].iter().for_each(|n| bytes.extend(n.to_le_bytes())),
            _ => {
                bytes.extend((V1 + generation - 1).to_le_bytes());
                if generation > 1 {
                    bytes.extend(0_u32.to_le_bytes());
                }
                bytes.extend(2_u32.to_le_bytes());
                [2_u64, 1].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
            }
        }
        for word in [1_u32, 0, 0] {
            bytes.extend(word.to_le_bytes());
        }
        [1.5_f32, -2.0].iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(5_u64.to_le_bytes());
        bytes.extend(b"arg:x");
        bytes
    }

    #[test]
    fn all_generations_are_read() {
        let wanted = Array { name: "arg:x".into(), shape: vec![2, 1], values: vec![1.5, -2.0] };
        for generation in 0..=3 {
            assert_eq!(
                read(&file(generation)).unwrap(),
                std::slice::from_ref(&wanted),
                "{generation}"
            );
        }
    }

    #[test]
    fn every_truncation_is_a_fault() {
        for generation in 0..=3 {
            let bytes = file(generation);
            for len in 0..bytes.len() {
                assert!(read(&bytes[..len]).is_err(), "{generation}: {len}");
            }
        }
    }

    #[test]
    fn large_claims_are_faults() {
        let mut bytes = file(2);
        bytes[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read(&bytes).is_err());
        let mut bytes = file(2);
        bytes[36..44].copy_from_slice(&(1_u64 << 62).to_le_bytes());
        assert!(read(&bytes).unwrap_err().to_string().contains("larger than the file"));
        let mut bytes = file(2);
        bytes[28..32].copy_from_slice(&1_u32.to_le_bytes());
        assert!(read(&bytes).unwrap_err().to_string().contains("sparse"));
    }
}
