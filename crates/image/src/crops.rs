//! Several views of one picture, whose answers are averaged.

use std::fmt;
use std::str::FromStr;

/// How many views of each picture a network is asked about, as the papers count them.
///
/// - 10 (Krizhevsky et al. 2012): of the central square of the resized picture the four corners
///   and the centre, each also mirrored.
/// - 12: these and the whole square resized to the input. The papers on v3 and v4 report 12 crops
///   without saying which; this is one scale and one square of the 144.
/// - 144 (Szegedy et al. 2014): four scales, whose shorter side is 8/7, 9/7, 10/7 and 11/7 of the
///   input's (256, 288, 320 and 352 for 224); of each the left, central and right square (upper and
///   lower of upright pictures); of each the six views above, each also mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crops {
    /// What the preprocessing says.
    #[default]
    One,
    /// Corners and centre, mirrored.
    Ten,
    /// The same and the whole square.
    Twelve,
    /// Four scales of three squares.
    OneHundredFortyFour,
}

/// Where in the resized picture a square lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Square {
    First,
    Central,
    Last,
}

/// What of the square is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// As many pixels as the input has: `(down, right)` is 0 at the upper left corner, 1 in the
    /// centre, 2 at the lower right corner.
    Crop(usize, usize),
    /// All, resized.
    Whole,
}

/// One view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The resized picture's shorter side.
    pub side: usize,
    pub square: Square,
    pub part: Part,
    pub mirrored: bool,
}

impl Crops {
    /// All of them.
    pub const ALL: [Crops; 4] = [Crops::One, Crops::Ten, Crops::Twelve, Crops::OneHundredFortyFour];

    /// Number of views.
    pub fn count(self) -> usize {
        match self {
            Crops::One => 1,
            Crops::Ten => 10,
            Crops::Twelve => 12,
            Crops::OneHundredFortyFour => 144,
        }
    }

    /// The views for an input of `size` × `size` pixels; `side` is the resized picture's shorter
    /// side where there is one scale. None for [`Crops::One`], which is the preprocessing's own.
    pub(crate) fn views(self, size: usize, side: usize) -> Vec<View> {
        const ALL: [Square; 3] = [Square::First, Square::Central, Square::Last];
        let (sides, squares): (Vec<usize>, &[Square]) = match self {
            Crops::One => return Vec::new(),
            Crops::Ten | Crops::Twelve => (vec![side], &ALL[1..2]),
            Crops::OneHundredFortyFour => ((8..=11).map(|n| (size * n + 3) / 7).collect(), &ALL),
        };
        let mut parts =
            [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)].map(|(y, x)| Part::Crop(y, x)).to_vec();
        if self != Crops::Ten {
            parts.push(Part::Whole);
        }
        let mut views = Vec::with_capacity(self.count());
        for side in sides {
            for &square in squares {
                for &part in &parts {
                    views.extend([false, true].map(|mirrored| View {
                        side,
                        square,
                        part,
                        mirrored,
                    }));
                }
            }
        }
        views
    }
}

impl fmt::Display for Crops {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.count().fmt(f)
    }
}

impl FromStr for Crops {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Crops::ALL.into_iter().find(|crops| crops.to_string() == text);
        found.ok_or_else(|| "expected 1, 10, 12 or 144 crops".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_views_as_the_name_says_all_different() {
        for crops in Crops::ALL {
            let views = crops.views(224, 256);
            assert_eq!(views.len(), if crops == Crops::One { 0 } else { crops.count() });
            for (i, view) in views.iter().enumerate() {
                assert!(!views[..i].contains(view), "{view:?} twice");
            }
            assert_eq!(crops.to_string().parse(), Ok(crops));
        }
        assert!("11".parse::<Crops>().is_err());
    }

    #[test]
    fn scales_of_the_paper() {
        let sides = |size: usize| {
            let mut sides: Vec<usize> =
                Crops::OneHundredFortyFour.views(size, 0).iter().map(|view| view.side).collect();
            sides.dedup();
            sides
        };
        assert_eq!(sides(224), [256, 288, 320, 352]);
        assert_eq!(sides(299), [342, 384, 427, 470]);
    }
}
