//! A decoded picture: grey or RGB, a byte a value.

/// A decoded picture, upright, without alpha: rows from the top, pixels from the left, one byte
/// (grey) or three (red, green, blue) a pixel.
///
/// Grey pictures stay grey until somebody wants colour, which costs a third of the memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    values: Vec<u8>,
}

impl Picture {
    /// A grey picture of `width * height` values.
    ///
    /// # Panics
    /// If a side is 0 or the number of values is another.
    pub fn grey(width: usize, height: usize, values: Vec<u8>) -> Self {
        Self::new(width, height, 1, values)
    }

    /// A colour picture of `width * height` times red, green, blue.
    ///
    /// # Panics
    /// If a side is 0 or the number of values is another.
    pub fn rgb(width: usize, height: usize, values: Vec<u8>) -> Self {
        Self::new(width, height, 3, values)
    }

    fn new(width: usize, height: usize, channels: usize, values: Vec<u8>) -> Self {
        assert!(width > 0 && height > 0, "a picture has pixels");
        assert_eq!(values.len(), width * height * channels, "values of {width}×{height} pixels");
        Self { width, height, channels, values }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// 1 (grey) or 3 (red, green, blue).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The values, `[row][column][channel]`.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// Memory of the values, in bytes.
    pub fn bytes(&self) -> usize {
        self.values.len()
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let colour = if self.channels == 1 { "grey" } else { "RGB" };
        write!(f, "Picture({}×{} {colour})", self.width, self.height)
    }
}

/// Luma of a colour by ITU-R BT.601, `0.299 R + 0.587 G + 0.114 B`, rounded; the same integers as
/// PIL's `convert("L")`.
pub(crate) fn luma([r, g, b]: [u8; 3]) -> u8 {
    let sum = 19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b);
    ((sum + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_of_extremes_and_of_grey() {
        for v in 0..=255 {
            assert_eq!(luma([v; 3]), v);
        }
        // PIL: Image.new("RGB", (1, 1), colour).convert("L")
        assert_eq!(luma([255, 0, 0]), 76);
        assert_eq!(luma([0, 255, 0]), 150);
        assert_eq!(luma([0, 0, 255]), 29);
        assert_eq!(luma([12, 200, 97]), 132);
    }
}
