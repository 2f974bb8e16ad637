//! Damaged files: an error or a picture, never a panic, never a picture made up of grey.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};

use inception_image::{Problem, decode};

/// Panics inside the decoders, which `decode` turns into errors: it is meant as a last resort.
static PANICS: AtomicUsize = AtomicUsize::new(0);
static HOOK: Once = Once::new();
static FIRST: Mutex<String> = Mutex::new(String::new());

fn count_panics() {
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            if place.contains("tests/") {
                return default(info); // an assertion of a test
            }
            PANICS.fetch_add(1, Ordering::Relaxed);
            let mut first = FIRST.lock().unwrap();
            if first.is_empty() {
                *first = format!("{place}: {info}");
            }
        }));
    });
}

fn assert_no_panics(doing: &str) {
    let first = FIRST.lock().unwrap();
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "{doing}: a decoder panicked, {first}");
}

#[test]
fn cut_off_anywhere_a_file_is_an_error_or_still_whole() {
    count_panics();
    for (name, bytes) in common::samples() {
        let whole = decode(&bytes, &name).unwrap();
        for length in 0..bytes.len() {
            let Ok(picture) = decode(&bytes[..length], &name) else {
                continue;
            };
            // JPEG and PNG end with a mark of their own.
            assert!(!name.to_lowercase().contains("jp") && !name.to_lowercase().contains("png"));
            assert_eq!(picture, whole, "{name} cut to {length} of {} bytes", bytes.len());
        }
        assert_no_panics(&name);
    }
}

#[test]
fn a_cut_says_that_it_is_a_cut() {
    for name in ["halved.jpg", "progressive.jpg", "palette.png"] {
        let bytes = common::data(name);
        for length in [bytes.len() / 2, bytes.len() - 1] {
            let error = decode(&bytes[..length], name).unwrap_err();
            assert!(matches!(error.problem, Problem::Truncated), "{error}");
            assert!(error.to_string().contains("download it again"), "{error}");
        }
    }
}

#[test]
fn damage_within_jpeg_data_is_not_filled_with_grey() {
    for name in ["halved.jpg", "restart.jpg", "cmyk.jpg"] {
        let mut bytes = common::data(name);
        // Ones only: no Huffman code begins so.
        let (middle, end) = (bytes.len() - 80, bytes.len() - 2);
        let ones = [0xFF, 0].into_iter().cycle();
        bytes[middle..end].iter_mut().zip(ones).for_each(|(byte, one)| *byte = one);
        let error = decode(&bytes, name).unwrap_err();
        assert!(matches!(error.problem, Problem::Corrupt(_)), "{error}");
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}

#[test]
fn a_thousand_mutations_of_each_file_never_panic() {
    count_panics();
    // More of them by hand: INCEPTION_MUTATIONS=100000 cargo test --release --test hostile
    let rounds = std::env::var("INCEPTION_MUTATIONS").map_or(1000, |n| n.parse().unwrap());
    for (name, bytes) in common::samples() {
        let mut state = 1u64;
        let mut number = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        for round in 0..rounds {
            let mut mutated = bytes.clone();
            for _ in 0..1 + round % 4 {
                let at = number() % mutated.len();
                match number() % 5 {
                    0 => mutated[at] ^= 1 << (number() % 8),
                    1 => mutated[at] = [0, 0xFF, 0x7F, 0x80][number() % 4],
                    2 => mutated[at] = number() as u8,
                    3 => mutated.insert(at, number() as u8),
                    _ if mutated.len() > 1 => {
                        mutated.remove(at);
                    }
                    _ => {}
                }
            }
            let _ = decode(&mutated, &name);
        }
        assert_no_panics(&name);
    }
}
