//! From a file's bytes to a [`Picture`], or to an error that says what is wrong with them.

use std::error::Error;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::jpeg;
use crate::picture::Picture;

/// Most pixels that a picture may have: 134 million, more than any camera's at the time of
/// writing. A small file can claim far more (a decompression bomb).
pub const MAX_PIXELS: usize = 1 << 27;

/// Largest file read as a picture, in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// Memory a decoder may take for itself: the pixels at 16 bits and four channels.
const MAX_DECODER_MEMORY: u64 = 8 * MAX_PIXELS as u64;

/// Formats read, by content.
const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Tiff,
];

/// Extensions of the files that are taken for pictures; whether they are is decided by content.
const EXTENSIONS: [&str; 11] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "gif", "tif", "tiff"];

/// A picture that could not be read: which, and why.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct PictureError {
    /// The file, or whatever its bytes were called.
    pub name: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a picture.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file could not be read.
    #[error("cannot be read ({0}); check that the file exists and that you may read it")]
    Read(io::Error),
    /// The file holds nothing.
    #[error("the file is empty; copy or download it again")]
    Empty,
    /// The content is of no format that is read.
    #[error(
        "not a picture that can be read (by its content it is {0}; JPEG, PNG, WebP, BMP, GIF and \
         TIFF are read, whatever the file's extension); convert it or remove it"
    )]
    NotAPicture(String),
    /// A kind of picture within a known format that is not read.
    #[error("a kind of picture that is not read ({0}); save it as an ordinary JPEG or PNG")]
    Unsupported(String),
    /// The file ends early.
    #[error("the file is cut off: it ends before the picture does; copy or download it again")]
    Truncated,
    /// The content contradicts itself.
    #[error("the file is damaged ({0}); copy or download it again")]
    Corrupt(String),
    /// More pixels or bytes than are read.
    #[error(
        "too large ({0}; at most {pixels} million pixels are read); shrink the picture first",
        pixels = MAX_PIXELS / 1_000_000
    )]
    TooLarge(String),
    /// The picture's size does not give the network's input size.
    #[error(
        "comes out as {got_height}×{got_width} pixels where the network takes \
         {height}×{width}; preprocess with a resize or a crop to that size"
    )]
    WrongSize {
        /// Rows after preprocessing.
        got_height: usize,
        /// Columns after preprocessing.
        got_width: usize,
        /// Rows wanted.
        height: usize,
        /// Columns wanted.
        width: usize,
    },
}

/// Reads a picture's file. See [`decode`].
pub fn open(path: &Path) -> Result<Picture, PictureError> {
    let name = path.display().to_string();
    match read(path) {
        Ok(bytes) => decode(&bytes, &name),
        Err(problem) => Err(PictureError { name, problem }),
    }
}

/// Decodes a picture; `name` is what an error calls it.
///
/// JPEG (grey, colour, CMYK and YCCK, baseline and progressive), PNG, WebP, BMP, GIF and TIFF,
/// recognised by content. Of an animation the first frame. The orientation in EXIF or TIFF tags is
/// applied. Transparency is laid on white, what such pictures are mostly drawn for. 16 bits are
/// rounded to 8. Colour profiles are ignored, as PIL and torchvision do.
///
/// A file that ends early is an error, not a picture with grey at the bottom.
pub fn decode(bytes: &[u8], name: &str) -> Result<Picture, PictureError> {
    // The decoders are other people's code: one hostile file must not end a training run.
    catch_unwind(AssertUnwindSafe(|| decode_unguarded(bytes)))
        .unwrap_or_else(|_| Err(Problem::Corrupt("the decoder gave up".into())))
        .map_err(|problem| PictureError { name: name.into(), problem })
}

/// Whether a file is taken for a picture when a folder is searched: by its extension or, failing
/// that, by its first bytes.
pub(crate) fn looks_like_picture(path: &Path) -> bool {
    match path.extension().map(|e| e.to_string_lossy().to_lowercase()) {
        Some(extension) if EXTENSIONS.contains(&extension.as_str()) => true,
        _ => sniff(path).is_ok(),
    }
}

/// Checks by a file's first bytes that it is in a format that is read.
pub(crate) fn sniff(path: &Path) -> Result<(), Problem> {
    let mut start = Vec::new();
    File::open(path).and_then(|f| f.take(64).read_to_end(&mut start)).map_err(Problem::Read)?;
    format(&start).map(|_| ())
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|f| f.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(Problem::Read)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Problem::TooLarge("more than a gigabyte".into()));
    }
    Ok(bytes)
}

fn format(bytes: &[u8]) -> Result<ImageFormat, Problem> {
    if bytes.is_empty() {
        return Err(Problem::Empty);
    }
    match image::guess_format(bytes) {
        Ok(format) if FORMATS.contains(&format) => Ok(format),
        Ok(format) => Err(Problem::NotAPicture(format!("{format:?}"))),
        Err(_) if bytes.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => {
            Err(Problem::NotAPicture("text".into()))
        }
        Err(_) => Err(Problem::NotAPicture("something else".into())),
    }
}

fn decode_unguarded(bytes: &[u8]) -> Result<Picture, Problem> {
    let format = format(bytes)?;
    let (picture, orientation) = match format {
        ImageFormat::Jpeg => jpeg::decode(bytes)?,
        format => decode_other(bytes, format)?,
    };
    Ok(upright(picture, orientation))
}

fn decode_other(bytes: &[u8], format: ImageFormat) -> Result<(Picture, Orientation), Problem> {
    if format == ImageFormat::Png {
        check_png_end(bytes)?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(problem)?;
    let (width, height) = decoder.dimensions();
    check_size(width as usize, height as usize)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(problem)?;
    Ok((flatten(image), orientation))
}

/// The decoder is content when it has the pixels; a file cut off after them is still cut off.
fn check_png_end(bytes: &[u8]) -> Result<(), Problem> {
    let mut at = 8; // after the signature
    loop {
        // Length of the data, type, data, checksum.
        let header = bytes.get(at..at + 8).ok_or(Problem::Truncated)?;
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        at += 12 + length;
        if at > bytes.len() {
            return Err(Problem::Truncated);
        }
        if &header[4..] == b"IEND" {
            return Ok(());
        }
    }
}

pub(crate) fn check_size(width: usize, height: usize) -> Result<(), Problem> {
    if width == 0 || height == 0 {
        return Err(Problem::Corrupt("a side of length 0".into()));
    }
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(Problem::TooLarge(format!("{width}×{height} pixels")));
    }
    Ok(())
}

/// Grey or RGB at 8 bits, on white.
fn flatten(image: DynamicImage) -> Picture {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let on_white = |v: u8, alpha: u8| {
        let (v, alpha) = (u32::from(v), u32::from(alpha));
        ((v * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    match image.color() {
        ColorType::L8 | ColorType::L16 => {
            Picture::grey(width, height, image.into_luma8().into_raw())
        }
        ColorType::La8 | ColorType::La16 => {
            let values = image.into_luma_alpha8().into_raw();
            let pixels = values.as_chunks::<2>().0;
            Picture::grey(width, height, pixels.iter().map(|&[v, a]| on_white(v, a)).collect())
        }
        colour if colour.has_alpha() => {
            let values = image.into_rgba8().into_raw();
            let pixels = values.as_chunks::<4>().0;
            let values =
                pixels.iter().flat_map(|&[r, g, b, a]| [r, g, b].map(|v| on_white(v, a))).collect();
            Picture::rgb(width, height, values)
        }
        _ => Picture::rgb(width, height, image.into_rgb8().into_raw()),
    }
}

/// Undoes the way the camera was held.
fn upright(picture: Picture, orientation: Orientation) -> Picture {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let (width, height) = (picture.width(), picture.height());
    // Rows of the result run along the picture's columns.
    let across = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let (new_width, new_height) = if across { (height, width) } else { (width, height) };
    let channels = picture.channels();
    let mut values = Vec::with_capacity(picture.bytes());
    for y in 0..new_height {
        for x in 0..new_width {
            let (from_x, from_y) = match orientation {
                Orientation::NoTransforms => (x, y),
                Orientation::FlipHorizontal => (width - 1 - x, y),
                Orientation::Rotate180 => (width - 1 - x, height - 1 - y),
                Orientation::FlipVertical => (x, height - 1 - y),
                Orientation::Rotate90FlipH => (y, x),
                Orientation::Rotate90 => (y, height - 1 - x),
                Orientation::Rotate270FlipH => (width - 1 - y, height - 1 - x),
                Orientation::Rotate270 => (width - 1 - y, x),
            };
            let at = (from_y * width + from_x) * channels;
            values.extend_from_slice(&picture.values()[at..at + channels]);
        }
    }
    match channels {
        1 => Picture::grey(new_width, new_height, values),
        _ => Picture::rgb(new_width, new_height, values),
    }
}

fn problem(error: ImageError) -> Problem {
    if ends_early(&error) {
        return Problem::Truncated;
    }
    match error {
        ImageError::Unsupported(what) => Problem::Unsupported(what.to_string()),
        ImageError::Limits(what) => Problem::TooLarge(what.to_string()),
        ImageError::IoError(what) => Problem::Corrupt(what.to_string()),
        ImageError::Decoding(what) => {
            Problem::Corrupt(what.source().map_or_else(|| what.to_string(), |s| s.to_string()))
        }
        other => Problem::Corrupt(other.to_string()),
    }
}

/// Whether an error, or one behind it, is that the bytes ran out.
fn ends_early(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof)
        {
            return true;
        }
        next = error.source();
    }
    false
}
