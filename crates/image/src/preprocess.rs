//! From a picture to a network's input tensor.

use inception_net::preprocessing::{ChannelOrder, Preprocessing, Resize, Rounding};

use crate::augment::{Augmentation, Erase, Fill, RandomCrop, mirror, random_bounds, shift};
use crate::crops::{Crops, Part, Square, View};
use crate::decode::Problem;
use crate::error::DataError;
use crate::interpolate::Interpolation;
use crate::picture::{Picture, luma};
use crate::random::Random;

/// A [`Preprocessing`] for a network's input size, known to fit it.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessor {
    preprocessing: Preprocessing,
    height: usize,
    width: usize,
    crops: Crops,
}

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// What part of a picture becomes what part of the tensor.
struct Window {
    /// Pixels that exist for the filter.
    bounds: Bounds,
    /// Height and width that they are resized to.
    size: (usize, usize),
    /// The first row and column shown of that.
    from: (usize, usize),
    /// Where in the tensor it is shown, and how much of it; the rest is black.
    target: Bounds,
}

impl Window {
    /// The pixels shown, where none is resized.
    fn as_it_is(&self) -> Option<Bounds> {
        let Self { bounds, size, from, target } = self;
        (*size == (bounds.height, bounds.width)).then_some(Bounds {
            top: bounds.top + from.0,
            left: bounds.left + from.1,
            ..*target
        })
    }
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
        if !p.central.is_none_or(|share| 0.0 < share && share <= 1.0) {
            return error(format!("the central share {:?} is not between 0 and 1", p.central));
        }
        if !p.protocol.has(p.filter) {
            return error(format!("{} has no {:?} resizing", p.protocol, p.filter));
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
            _ => Ok(Self { preprocessing, height, width, crops: Crops::One }),
        }
    }

    /// The same with several views of each picture; they take the preprocessing's filter, protocol
    /// and numbers, but the papers' sizes and crops.
    ///
    /// Fails if the input is not square, which the papers' crops are.
    pub fn with_crops(self, crops: Crops) -> Result<Self, DataError> {
        if crops != Crops::One && self.height != self.width {
            let (height, width) = (self.height, self.width);
            return Err(DataError::Preprocessing(format!(
                "{crops} crops are defined for square inputs, the network takes {height}×{width}"
            )));
        }
        Ok(Self { crops, ..self })
    }

    /// Tensors made of each picture in evaluation.
    pub fn views(&self) -> usize {
        self.crops.count()
    }

    /// Values of one view's tensor: channels × height × width.
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

    /// Writes the picture's tensors, `[view][channel][row][column]`, as evaluation sees it.
    ///
    /// Resizing, central cropping (offsets as `rounding` says) and padding with black are
    /// torchvision's on float tensors; grey from colour is PIL's. A size that the network does
    /// not take is an error.
    ///
    /// # Panics
    /// If `out` does not have [`Preprocessor::len`] values for each of [`Preprocessor::views`].
    pub fn apply(&self, picture: &Picture, out: &mut [f32]) -> Result<(), Problem> {
        assert_eq!(out.len(), self.len() * self.views(), "values of the tensors");
        if self.crops == Crops::One {
            return self.apply_once(picture, out);
        }
        let side = match self.preprocessing.resize {
            Resize::Shorter(side) if side >= self.height => side,
            _ => (self.height * 8 + 3) / 7,
        };
        let views = self.crops.views(self.height, side);
        for (view, out) in views.iter().zip(out.chunks_exact_mut(self.len())) {
            self.show(picture, view, out);
            self.normalise(out);
        }
        Ok(())
    }

    /// The one view that the preprocessing describes.
    pub(crate) fn apply_once(&self, picture: &Picture, out: &mut [f32]) -> Result<(), Problem> {
        let window = self.central(picture)?;
        self.render(picture, &window, out);
        self.normalise(out);
        Ok(())
    }

    /// The picture that a tensor shows, its values rounded; what is beyond black or white is
    /// clipped.
    ///
    /// # Panics
    /// If the tensor does not have [`Preprocessor::len`] values.
    pub fn picture(&self, tensor: &[f32]) -> Picture {
        assert_eq!(tensor.len(), self.len(), "values of the tensor");
        let plane = self.height * self.width;
        let byte = |c: usize, pixel: usize| {
            let (mean, std) = (self.preprocessing.mean[c], self.preprocessing.std[c]);
            ((tensor[c * plane + pixel] * std + mean) * 255.0).round() as u8
        };
        let colours: &[usize] = match self.preprocessing.order {
            ChannelOrder::Grey => &[0],
            ChannelOrder::Rgb => &[0, 1, 2],
            ChannelOrder::Bgr => &[2, 1, 0],
        };
        let values = (0..plane).flat_map(|pixel| colours.iter().map(move |&c| (c, pixel)));
        let values = values.map(|(c, pixel)| byte(c, pixel)).collect();
        match colours.len() {
            1 => Picture::grey(self.width, self.height, values),
            _ => Picture::rgb(self.width, self.height, values),
        }
    }

    /// What the view shows, in 0–255.
    fn show(&self, picture: &Picture, view: &View, out: &mut [f32]) {
        let bounds = self.kept(picture);
        let (side, input) = (view.side, self.height);
        let size = resized(Resize::Shorter(side), bounds.height, bounds.width);
        // A square of the resized picture, along its longer side.
        let start = |long: usize| match view.square {
            Square::First => 0,
            Square::Central => half(long - side, self.preprocessing.rounding),
            Square::Last => long - side,
        };
        let (top, left) = (start(size.0), start(size.1));
        match view.part {
            Part::Crop(down, right) => {
                let part = |place: usize| {
                    [0, half(side - input, self.preprocessing.rounding), side - input][place]
                };
                let target = Bounds { top: 0, left: 0, height: input, width: input };
                let from = (top + part(down), left + part(right));
                self.render(picture, &Window { bounds, size, from, target }, out);
            }
            Part::Whole => {
                let target = Bounds { top: 0, left: 0, height: side, width: side };
                let square = Window { bounds, size, from: (top, left), target };
                self.shrink(picture, &square, out);
            }
        }
        if view.mirrored {
            self.planes(out).for_each(|plane| mirror(plane, self.width));
        }
    }

    /// What the window shows, a picture of its own, resized to the input.
    fn shrink(&self, picture: &Picture, square: &Window, out: &mut [f32]) {
        let side = square.target.height;
        let preprocessing = &self.preprocessing;
        let interpolation = Interpolation::new(
            (preprocessing.protocol, preprocessing.filter),
            (side, side),
            (self.height, self.width),
            (0..self.height, 0..self.width),
        );
        let (rows, columns) = interpolation.source();
        for (c, plane) in self.planes(out).enumerate() {
            let values = self.resampled(picture, square, c);
            let read: Vec<u8> = values
                .chunks_exact(side)
                .skip(rows.start)
                .take(rows.len())
                .flat_map(|row| &row[columns.clone()])
                .map(|v| v.round() as u8)
                .collect();
            plane.copy_from_slice(&interpolation.run(&read));
        }
    }

    /// The same with random changes, for training; nothing is mixed in yet.
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
                Window { bounds, size: (self.height, self.width), from: (0, 0), target }
            }
            RandomCrop::Central | RandomCrop::Shift { .. } => self.central(picture)?,
        };
        self.render(picture, &window, out);
        if let RandomCrop::Shift { by } = augmentation.crop {
            let mut amount = || random.below(2 * by + 1) as isize - by as isize;
            let (down, right) = (amount(), amount());
            self.planes(out).for_each(|plane| shift(plane, self.width, down, right));
        }
        if random.uniform(0.0, 1.0) < augmentation.flip {
            self.planes(out).for_each(|plane| mirror(plane, self.width));
        }
        let order = self.preprocessing.order;
        if let Some(rand_augment) = augmentation.rand_augment {
            rand_augment.change(out, self.width, order, random);
        }
        if let Some(colour) = augmentation.colour {
            colour.distort(out, order, random);
        }
        self.normalise(out);
        if let Some(erase) = augmentation.erase {
            self.erase(&erase, random, out);
        }
        Ok(())
    }

    fn erase(&self, erase: &Erase, random: &mut Random, out: &mut [f32]) {
        let Some(bounds) = erase.draw((self.height, self.width), random) else { return };
        for (c, plane) in self.planes(out).enumerate() {
            let (black, white) = (self.normalised(c)(0.0), self.normalised(c)(255.0));
            let rows = plane.chunks_exact_mut(self.width).skip(bounds.top).take(bounds.height);
            for row in rows {
                let values = &mut row[bounds.left..][..bounds.width];
                match erase.fill {
                    Fill::Mean => values.fill(0.0),
                    Fill::Noise => values
                        .iter_mut()
                        .for_each(|v| *v = random.uniform(black.into(), white.into()) as f32),
                }
            }
        }
    }

    /// Height and width of the tensor.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    fn planes<'a>(&self, out: &'a mut [f32]) -> std::slice::ChunksExactMut<'a, f32> {
        out.chunks_exact_mut(self.height * self.width)
    }

    /// Makes of values 0–255 what the network takes.
    fn normalise(&self, out: &mut [f32]) {
        for (c, plane) in self.planes(out).enumerate() {
            let normalised = self.normalised(c);
            plane.iter_mut().for_each(|v| *v = normalised(*v));
        }
    }

    /// What becomes of a channel's values 0–255.
    fn normalised(&self, channel: usize) -> impl Fn(f32) -> f32 + use<> {
        let (mean, std) = (self.preprocessing.mean[channel], self.preprocessing.std[channel]);
        move |v| (v / 255.0 - mean) / std
    }

    /// The part that evaluation sees.
    fn central(&self, picture: &Picture) -> Result<Window, Problem> {
        let bounds = self.kept(picture);
        let size = resized(self.preprocessing.resize, bounds.height, bounds.width);
        let (height, width) = size;
        if self.preprocessing.crop.is_none() && size != (self.height, self.width) {
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
            Some(over) => (half(over, self.preprocessing.rounding), wanted, 0),
            None => (0, size, (wanted - size) / 2),
        };
        let (from_y, rows, top) = cut(height, self.height);
        let (from_x, columns, left) = cut(width, self.width);
        let target = Bounds { top, left, height: rows, width: columns };
        Ok(Window { bounds, size, from: (from_y, from_x), target })
    }

    /// The central part of the picture that anything is made of.
    fn kept(&self, picture: &Picture) -> Bounds {
        // tf.image.central_crop.
        let margin = |side: usize| match self.preprocessing.central {
            Some(share) => ((side as f64 - side as f64 * f64::from(share)) / 2.0) as usize,
            None => 0,
        };
        let (top, left) = (margin(picture.height()), margin(picture.width()));
        let (height, width) = (picture.height() - 2 * top, picture.width() - 2 * left);
        Bounds { top, left, height, width }
    }

    /// Writes what the window shows, in 0–255.
    fn render(&self, picture: &Picture, window: &Window, out: &mut [f32]) {
        assert_eq!(out.len(), self.len(), "values of the tensor");
        let target = window.target;
        let as_it_is = window.as_it_is();
        let mut resampled = Vec::new();
        for (c, plane) in self.planes(out).enumerate() {
            if (target.height, target.width) != (self.height, self.width) {
                plane.fill(0.0);
            }
            let rows = plane[target.top * self.width..].chunks_exact_mut(self.width);
            let rows = rows.take(target.height).map(|row| &mut row[target.left..][..target.width]);
            // A grey picture's channels are all the same.
            if c == 0 || picture.channels() > 1 {
                resampled = match as_it_is {
                    Some(source) => {
                        self.channel(picture, c, source).into_iter().map(f32::from).collect()
                    }
                    None => self.resampled(picture, window, c),
                };
            }
            rows.zip(resampled.chunks_exact(target.width))
                .for_each(|(row, values)| row.copy_from_slice(values));
        }
    }

    /// A channel of what the window shows, by the protocol.
    fn resampled(&self, picture: &Picture, window: &Window, c: usize) -> Vec<f32> {
        let Window { bounds, size, from, target } = *window;
        let (filter, protocol) = (self.preprocessing.filter, self.preprocessing.protocol);
        let shown = (from.0..from.0 + target.height, from.1..from.1 + target.width);
        let whole = (bounds.height, bounds.width);
        let interpolation = Interpolation::new((protocol, filter), whole, size, shown);
        let (rows, columns) = interpolation.source();
        let source = Bounds {
            top: bounds.top + rows.start,
            left: bounds.left + columns.start,
            height: rows.len(),
            width: columns.len(),
        };
        interpolation.run(&self.channel(picture, c, source))
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

/// Half of a margin.
fn half(length: usize, rounding: Rounding) -> usize {
    match rounding {
        Rounding::Even => (length as f64 / 2.0).round_ties_even() as usize,
        Rounding::Down => length / 2,
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
