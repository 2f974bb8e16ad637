//! JPEG: decoding without filling in what is missing.

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::decode::{Problem, check_size};
use crate::picture::Picture;

/// Decodes a JPEG file as grey or RGB; CMYK and YCCK are taken as Adobe writes them (inverted),
/// as PIL and browsers do.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Picture, Orientation), Problem> {
    check_end(bytes)?;
    // Oddities between the headers (stray bytes, wrong counts) are tolerated, as everybody does.
    // In the compressed data an error is an error: the tolerant mode would fill the rest with
    // grey and call that a picture.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(problem)?;
    let (Some((width, height)), Some(colours)) = (decoder.dimensions(), decoder.input_colorspace())
    else {
        return Err(Problem::Corrupt("no frame header".into()));
    };
    check_size(width, height)?;
    let wanted = if colours == ColorSpace::Luma { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.set_strict_mode(true).jpeg_set_out_colorspace(wanted));
    let values = decoder.decode().map_err(problem)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let picture = match wanted {
        ColorSpace::Luma => Picture::grey(width, height, values),
        _ => Picture::rgb(width, height, values),
    };
    Ok((picture, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Walks the markers to the end of the first picture in the file (thumbnails lie inside
/// segments). The decoder notices missing data only where a row of blocks begins, so that a file
/// cut off in its last rows would pass.
fn check_end(bytes: &[u8]) -> Result<(), Problem> {
    const STANDALONE: std::ops::RangeInclusive<u8> = 0xD0..=0xD8; // restarts and start of image
    const END_OF_IMAGE: u8 = 0xD9;
    let mut at = 0;
    loop {
        // Between segments, and in compressed data, where 0xFF is followed by 0, markers are
        // found by their 0xFF; further 0xFF are fill bytes.
        at += bytes.get(at..).and_then(|b| b.iter().position(|&b| b == 0xFF)).ok_or(CUT)?;
        at += bytes[at..].iter().position(|&b| b != 0xFF).ok_or(CUT)?;
        let marker = bytes[at];
        at += 1;
        if marker == END_OF_IMAGE {
            return Ok(());
        }
        if marker != 0 && !STANDALONE.contains(&marker) {
            let length = bytes.get(at..at + 2).ok_or(CUT)?;
            at += usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
    }
}

const CUT: Problem = Problem::Truncated;

fn problem(error: DecodeErrors) -> Problem {
    match error {
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => Problem::Truncated,
        DecodeErrors::Unsupported(scheme) => Problem::Unsupported(format!("{scheme:?}")),
        DecodeErrors::Format(what)
        | DecodeErrors::HuffmanDecode(what)
        | DecodeErrors::DqtError(what)
        | DecodeErrors::SosError(what)
        | DecodeErrors::SofError(what)
        | DecodeErrors::MCUError(what) => Problem::Corrupt(what.trim().into()),
        DecodeErrors::FormatStatic(what) => Problem::Corrupt(what.into()),
        DecodeErrors::ZeroError => Problem::Corrupt("a side of length 0".into()),
        other => Problem::Corrupt(format!("{other:?}")),
    }
}
