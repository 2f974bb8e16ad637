//! From a picture to a network's input tensor.

use inception_net::preprocessing::{ChannelOrder, Preprocessing, Resize};

use crate::augment::{Augmentation, RandomCrop, mirror, random_bounds, shift};
use crate::decode::Problem;
use crate::error::DataError;
use crate::picture::{Picture, luma};
use crate::random::Random;
use crate::resize::{Area, Bounds, resample};

/// A [`Preprocessing`] for a network's input size, known to fit it.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessor {
    preprocessing: Preprocessing,
    height: usize,
    width: usize,
}

/// What part of a picture becomes what part of the tensor.
struct Window {
    /// Pixels that exist for the filter.
    bounds: Bounds,
    /// What is shown.
    area: Area,
    /// What it becomes, and where in the tensor it lies; the rest is black.
    target: Bounds,
}

impl Preprocessor {
    /// For a network whose input is `shape`: channels, height, width.
    ///
    /// Fails if the preprocessing's channels or size contradict it, or a number in it makes no
    /// sense.
    pub fn new(
        preprocessing: Preprocessing,
        (channels, height, width): (usize, usize, usize),
    ) -> Result<Self, DataError> {
        let p = &preprocessing;
        let error = |what: String| Err(DataError::Preprocessing(what));
        if p.order.channels() != channels {
            return error(format!(
                "it gives {} channels ({:?}), the network takes {channels}",
                p.order.channels(),
                p.order
            ));
        }
        if p.mean.len() != channels || p.std.len() != channels {
            let (mean, std) = (p.mean.len(), p.std.len());
            return error(format!("mean has {mean} and std {std} values for {channels} channels"));
        }
        if !p.mean.iter().all(|m| m.is_finite()) || !p.std.iter().all(|s| s.is_normal()) {
            return error(format!("mean {:?} or std {:?} is no usable number", p.mean, p.std));
        }
        if matches!(p.resize, Resize::Shorter(0) | Resize::Exact { height: 0, .. })
            || matches!(p.resize, Resize::Exact { width: 0, .. })
        {
            return error("it resizes to nothing".into());
        }
        if height == 0 || width == 0 {
            return error(format!("the network takes {height}×{width} pixels"));
        }
        let fixed = match (p.crop, p.resize) {
            (Some(size), _) => Some(size),
            (None, Resize::Exact { height, width }) => Some((height, width)),
            (None, Resize::Shorter(_) | Resize::None) => None,
        };
        match fixed {
            Some((h, w)) if (h, w) != (height, width) => error(format!(
                "it gives {h}×{w} pixels, the network takes {height}×{width} (rows × columns)"
            )),
            _ => Ok(Self { preprocessing, height, width }),
        }
    }

    /// Values of one picture's tensor: channels × height × width.
    pub fn len(&self) -> usize {
        self.channels() * self.height * self.width
    }

    /// Whether the tensor holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels of the tensor.
    pub fn channels(&self) -> usize {
        self.preprocessing.order.channels()
    }

    /// Writes the picture's tensor, `[channel][row][column]`, as evaluation sees it.
    ///
    /// Resizing, central cropping (offsets rounded half to even) and padding with black are
    /// torchvision's on float tensors; grey from colour is PIL's. A size that the network does
    /// not take is an error.
    ///
    /// # Panics
    /// If `out` does not have [`Preprocessor::len`] values.
    pub fn apply(&self, picture: &Picture, out: &mut [f32]) -> Result<(), Problem> {
        let window = self.central(picture)?;
        self.render(picture, &window, out);
        Ok(())
    }

    /// The same with random changes, for training.
    pub(crate) fn apply_augmented(
        &self,
        picture: &Picture,
        augmentation: &Augmentation,
        random: &mut Random,
        out: &mut [f32],
    ) -> Result<(), Problem> {
        let window = match augmentation.crop {
            RandomCrop::Resized { area, aspect } => {
                let size = (picture.height(), picture.width());
                let bounds = random_bounds(size, area, aspect, random);
                let target = Bounds { top: 0, left: 0, height: self.height, width: self.width };
                Window { bounds, area: bounds.into(), target }
            }
            RandomCrop::Central | RandomCrop::Shift { .. } => self.central(picture)?,
        };
        self.render(picture, &window, out);
        if let RandomCrop::Shift { by } = augmentation.crop {
            let mut amount = || random.below(2 * by + 1) as isize - by as isize;
            let (down, right) = (amount(), amount());
            for (c, plane) in self.planes(out).enumerate() {
                shift(plane, self.width, down, right, self.normalise(c)(0.0));
            }
        }
        if random.uniform(0.0, 1.0) < augmentation.flip {
            self.planes(out).for_each(|plane| mirror(plane, self.width));
        }
        Ok(())
    }

    fn planes<'a>(&self, out: &'a mut [f32]) -> std::slice::ChunksExactMut<'a, f32> {
        out.chunks_exact_mut(self.height * self.width)
    }

    /// What becomes of a channel's values 0–255.
    fn normalise(&self, channel: usize) -> impl Fn(f32) -> f32 + use<> {
        let (mean, std) = (self.preprocessing.mean[channel], self.preprocessing.std[channel]);
        move |v| (v / 255.0 - mean) / std
    }

    /// The part that evaluation sees.
    fn central(&self, picture: &Picture) -> Result<Window, Problem> {
        let bounds = Bounds { top: 0, left: 0, height: picture.height(), width: picture.width() };
        let (height, width) = resized(self.preprocessing.resize, bounds.height, bounds.width);
        if self.preprocessing.crop.is_none() && (height, width) != (self.height, self.width) {
            return Err(Problem::WrongSize {
                got_height: height,
                got_width: width,
                height: self.height,
                width: self.width,
            });
        }
        // Per side: where the crop begins in the resized picture, how much of it there is, and
        // where that lies in the tensor.
        let cut = |size: usize, wanted: usize| match size.checked_sub(wanted) {
            Some(over) => ((over as f64 / 2.0).round_ties_even(), wanted, 0),
            None => (0.0, size, (wanted - size) / 2),
        };
        let (from_y, rows, top) = cut(height, self.height);
        let (from_x, columns, left) = cut(width, self.width);
        let scale_y = bounds.height as f64 / height as f64;
        let scale_x = bounds.width as f64 / width as f64;
        let area = Area {
            top: from_y * scale_y,
            left: from_x * scale_x,
            height: rows as f64 * scale_y,
            width: columns as f64 * scale_x,
        };
        Ok(Window { bounds, area, target: Bounds { top, left, height: rows, width: columns } })
    }

    fn render(&self, picture: &Picture, window: &Window, out: &mut [f32]) {
        assert_eq!(out.len(), self.len(), "values of the tensor");
        let target = window.target;
        let bounds = window.area.reach(target.height, target.width, window.bounds);
        let as_it_is = window.area.exactly(target.height, target.width);
        let mut resampled = Vec::new();
        for (c, plane) in self.planes(out).enumerate() {
            let normalise = self.normalise(c);
            if (target.height, target.width) != (self.height, self.width) {
                plane.fill(normalise(0.0));
            }
            let rows = plane[target.top * self.width..].chunks_exact_mut(self.width);
            let rows = rows.take(target.height).map(|row| &mut row[target.left..][..target.width]);
            if let Some(source) = as_it_is {
                // No resampling: at most 256 different values.
                let table: Vec<f32> = (0..=255u8).map(|v| normalise(v.into())).collect();
                let values = self.channel(picture, c, source);
                for (row, values) in rows.zip(values.chunks_exact(target.width)) {
                    for (v, value) in row.iter_mut().zip(values) {
                        *v = table[usize::from(*value)];
                    }
                }
                continue;
            }
            // A grey picture's channels are all the same.
            if c == 0 || picture.channels() > 1 {
                let values = self.channel(picture, c, bounds);
                let size = (target.height, target.width);
                let filter = self.preprocessing.filter;
                resampled = resample(&values, bounds, window.area, size, filter);
            }
            for (row, values) in rows.zip(resampled.chunks_exact(target.width)) {
                for (v, value) in row.iter_mut().zip(values) {
                    *v = normalise(*value);
                }
            }
        }
    }

    /// The tensor's channel `c` of the picture's pixels in `bounds`, row by row.
    fn channel(&self, picture: &Picture, c: usize, bounds: Bounds) -> Vec<u8> {
        let channels = picture.channels();
        let mut values = Vec::with_capacity(bounds.height * bounds.width);
        let rows = picture.values().chunks_exact(picture.width() * channels);
        for row in rows.skip(bounds.top).take(bounds.height) {
            let row = &row[bounds.left * channels..][..bounds.width * channels];
            let (pixels, _) = row.as_chunks::<3>();
            match (channels, self.preprocessing.order) {
                (1, _) => values.extend_from_slice(row),
                (_, ChannelOrder::Rgb) => values.extend(pixels.iter().map(|p| p[c])),
                (_, ChannelOrder::Bgr) => values.extend(pixels.iter().map(|p| p[2 - c])),
                (_, ChannelOrder::Grey) => values.extend(pixels.iter().map(|p| luma(*p))),
            }
        }
        values
    }
}

impl From<Bounds> for Area {
    fn from(b: Bounds) -> Self {
        let [top, left, height, width] = [b.top, b.left, b.height, b.width].map(|v| v as f64);
        Area { top, left, height, width }
    }
}

impl Area {
    /// The whole pixels that this is, if it is `height` × `width` of them.
    fn exactly(&self, height: usize, width: usize) -> Option<Bounds> {
        let bounds = Bounds { top: self.top as usize, left: self.left as usize, height, width };
        (Area::from(bounds) == *self).then_some(bounds)
    }
}

/// Height and width after `resize`.
fn resized(resize: Resize, height: usize, width: usize) -> (usize, usize) {
    // Rounded down, as torchvision does.
    let proportional = |side: usize, long: usize, short: usize| {
        usize::try_from(side as u128 * long as u128 / short as u128).unwrap_or(usize::MAX)
    };
    match resize {
        Resize::None => (height, width),
        Resize::Exact { height, width } => (height, width),
        Resize::Shorter(side) if height <= width => (side, proportional(side, width, height)),
        Resize::Shorter(side) => (proportional(side, height, width), side),
    }
}
