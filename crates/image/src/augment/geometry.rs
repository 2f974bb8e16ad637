//! Which part of a picture is shown, and which way round.

use crate::preprocess::Bounds;
use crate::random::Random;

/// A rectangle of random area and proportion; after ten that stick out, the largest central one
/// whose proportion is allowed (torchvision's `RandomResizedCrop.get_params`).
pub(crate) fn random_bounds(
    (height, width): (usize, usize),
    area: (f64, f64),
    aspect: (f64, f64),
    random: &mut Random,
) -> Bounds {
    for _ in 0..10 {
        let pixels = (height * width) as f64 * random.uniform(area.0, area.1);
        let proportion = random.uniform(aspect.0.ln(), aspect.1.ln()).exp();
        let w = (pixels * proportion).sqrt().round() as usize;
        let h = (pixels / proportion).sqrt().round() as usize;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let top = random.below(height - h + 1);
            let left = random.below(width - w + 1);
            return Bounds { top, left, height: h, width: w };
        }
    }
    let proportion = width as f64 / height as f64;
    let (h, w) = if proportion < aspect.0 {
        (((width as f64 / aspect.0).round() as usize).clamp(1, height), width)
    } else if proportion > aspect.1 {
        (height, ((height as f64 * aspect.1).round() as usize).clamp(1, width))
    } else {
        (height, width)
    };
    Bounds { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
}

/// Moves a plane of `width` columns down and to the right by signed numbers of pixels; zeros, which
/// are black, come in.
pub(crate) fn shift(plane: &mut [f32], width: usize, down: isize, right: isize) {
    let before = plane.to_vec();
    let height = plane.len() / width;
    for (y, row) in plane.chunks_exact_mut(width).enumerate() {
        let from = y.checked_add_signed(-down).filter(|from| *from < height);
        for (x, v) in row.iter_mut().enumerate() {
            let column = x.checked_add_signed(-right).filter(|column| *column < width);
            *v = match (from, column) {
                (Some(from), Some(column)) => before[from * width + column],
                _ => 0.0,
            };
        }
    }
}

/// Mirrors a plane of `width` columns left and right.
pub(crate) fn mirror(plane: &mut [f32], width: usize) {
    plane.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn random_crops_keep_within_picture_area_and_proportion() {
        let (area, aspect) = ((0.08, 1.0), (0.75, 4.0 / 3.0));
        let mut areas = Vec::new();
        for picture in 0..2000 {
            let mut random = Random::new(Purpose::Augment, [1, 2, picture]);
            let b = random_bounds((300, 400), area, aspect, &mut random);
            assert!(b.top + b.height <= 300 && b.left + b.width <= 400, "{b:?}");
            let proportion = b.width as f64 / b.height as f64;
            assert!((0.74..1.35).contains(&proportion), "{b:?}");
            areas.push((b.width * b.height) as f64 / 120_000.0);
        }
        areas.sort_by(f64::total_cmp);
        assert!(areas[0] > 0.079 && areas[0] < 0.09, "{}", areas[0]);
        assert!(areas[1999] > 0.9, "{}", areas[1999]);
        // Evenly drawn, but the largest rarely fit: the median lies below the middle.
        assert!((0.4..0.54).contains(&areas[1000]), "{}", areas[1000]);
    }

    #[test]
    fn pictures_too_thin_for_the_proportions_are_cropped_centrally() {
        let (area, aspect) = ((0.9, 1.0), (0.75, 4.0 / 3.0));
        let mut random = Random::new(Purpose::Augment, [1, 2, 3]);
        let b = random_bounds((10, 1000), area, aspect, &mut random);
        assert_eq!(b, Bounds { top: 0, left: 493, height: 10, width: 13 });
        let b = random_bounds((1000, 9), area, aspect, &mut random);
        assert_eq!(b, Bounds { top: 494, left: 0, height: 12, width: 9 });
        let b = random_bounds((1, 1), area, aspect, &mut random);
        assert_eq!(b, Bounds { top: 0, left: 0, height: 1, width: 1 });
    }

    #[test]
    fn shifting_and_mirroring() {
        let plane = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let shifted = |down, right| {
            let mut p = plane;
            shift(&mut p, 3, down, right);
            p
        };
        assert_eq!(shifted(0, 0), plane);
        assert_eq!(shifted(1, 0), [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
        assert_eq!(shifted(0, -2), [3.0, 0.0, 0.0, 6.0, 0.0, 0.0]);
        assert_eq!(shifted(-1, 1), [0.0, 4.0, 5.0, 0.0, 0.0, 0.0]);
        assert_eq!(shifted(7, 0), [0.0; 6]);
        let mut mirrored = plane;
        mirror(&mut mirrored, 3);
        assert_eq!(mirrored, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
    }
}
