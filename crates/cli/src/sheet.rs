//! A contact sheet: pictures in rows and columns, with a line or two under each.

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const WEIGHT: FontWeight = FontWeight::Regular;
const SIZE: RasterHeight = RasterHeight::Size16;

/// Pixels between pictures.
const GAP: u32 = 10;
/// Pictures narrower than this are enlarged, whole pixels to squares.
const NARROWEST: u32 = 112;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: [u8; 3] = [34, 34, 34];
/// Where there is no picture.
const EMPTY: Rgb<u8> = Rgb([225, 225, 225]);

/// The sheet as it is drawn, all pictures of one size.
pub struct Sheet {
    image: RgbImage,
    /// Each pixel of a picture becomes a square of this side.
    scale: u32,
    /// Width and height of a picture as shown.
    picture: (u32, u32),
    /// Lines under each.
    lines: u32,
}

impl Sheet {
    /// An empty sheet with a heading over each column, for so many rows of pictures of this width
    /// and height.
    pub fn new(headings: &[String], rows: usize, (width, height): (u32, u32), lines: u32) -> Self {
        let scale = NARROWEST.div_ceil(width);
        let picture = (width * scale, height * scale);
        let mut sheet = Self { image: RgbImage::new(0, 0), scale, picture, lines };
        let (x, y) = sheet.corner(rows as u32, headings.len() as u32);
        sheet.image = RgbImage::from_pixel(x, y, PAPER);
        for (column, heading) in headings.iter().enumerate() {
            let (x, _) = sheet.corner(0, column as u32);
            sheet.write(x, GAP, heading);
        }
        sheet
    }

    /// The upper left corner of a picture.
    fn corner(&self, row: u32, column: u32) -> (u32, u32) {
        let text = SIZE.val() as u32;
        let height = self.picture.1 + self.lines * text + GAP;
        (GAP + column * (self.picture.0 + GAP), 2 * GAP + text + row * height)
    }

    /// Puts a picture in its place, or none, with the lines under it.
    pub fn put(&mut self, row: usize, column: usize, picture: Option<&RgbImage>, lines: &[String]) {
        let (x, y) = self.corner(row as u32, column as u32);
        for down in 0..self.picture.1 {
            for right in 0..self.picture.0 {
                let colour = picture.map_or(EMPTY, |picture| {
                    *picture.get_pixel(right / self.scale, down / self.scale)
                });
                self.image.put_pixel(x + right, y + down, colour);
            }
        }
        for (n, line) in lines.iter().enumerate() {
            self.write(x, y + self.picture.1 + n as u32 * SIZE.val() as u32, line);
        }
    }

    /// Writes a line no wider than a picture. What the font lacks is a question mark.
    fn write(&mut self, x: u32, y: u32, line: &str) {
        let width = get_raster_width(WEIGHT, SIZE) as u32;
        let room = (self.picture.0 / width) as usize;
        let whole = line.chars().count() <= room;
        let kept = if whole { room } else { room - 2 };
        let cut = if whole { "" } else { ".." };
        for (n, c) in line.chars().take(kept).chain(cut.chars()).enumerate() {
            let glyph = get_raster(c, WEIGHT, SIZE).or_else(|| get_raster('?', WEIGHT, SIZE));
            let rows = glyph.into_iter().flat_map(|glyph| glyph.rows().enumerate());
            for (down, row) in rows {
                for (right, &ink) in row.iter().enumerate() {
                    let ink = u16::from(ink);
                    let shade = |v: u8| (255 - ink + ink * u16::from(v) / 255) as u8;
                    let (x, y) = (x + n as u32 * width + right as u32, y + down as u32);
                    self.image.put_pixel(x, y, Rgb(INK.map(shade)));
                }
            }
        }
    }

    /// The drawing.
    pub fn image(&self) -> &RgbImage {
        &self.image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_enlarged_and_lines_cut_to_their_width() {
        let headings = ["evaluation".to_owned(), "epoch 1".to_owned()];
        let mut sheet = Sheet::new(&headings, 2, (28, 14), 1);
        let red = RgbImage::from_pixel(28, 14, Rgb([255, 0, 0]));
        sheet.put(1, 1, Some(&red), &["ä name that is much wider than its picture, 猫".to_owned()]);
        sheet.put(0, 0, None, &["猫".to_owned()]);
        assert_eq!(sheet.image().dimensions(), (10 + 2 * 122, 20 + 16 + 2 * (56 + 16 + 10)));
        let all = |(x, y): (u32, u32), colour| {
            let mut places =
                (0..112).flat_map(|right| (0..56).map(move |down| (x + right, y + down)));
            places.all(|(x, y)| *sheet.image().get_pixel(x, y) == colour)
        };
        assert!(all((10, 36), EMPTY) && all((132, 118), Rgb([255, 0, 0])));
        // The right margin stays empty.
        let margin = sheet.image().width() - GAP;
        assert!((0..sheet.image().height()).all(|y| *sheet.image().get_pixel(margin, y) == PAPER));
    }
}
