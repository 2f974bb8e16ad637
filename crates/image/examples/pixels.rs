//! Writes what a picture's file becomes, for `peers/pixels.py` to compare with other libraries:
//! `pixels FILE [PREPROCESSING HEIGHT WIDTH]` decodes the file and, with a network's preprocessing
//! as JSON, resizes it. Standard output gets little-endian `f32`s: channels, height, width, then
//! `[channel][row][column]`.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;

use inception_image::{Preprocessor, open};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let picture = open(Path::new(args.first().ok_or("which picture?")?))?;
    let channels = picture.channels();
    let (shape, values) = match &args[1..] {
        [json, height, width] => {
            let (height, width) = (height.parse()?, width.parse()?);
            let preprocessing: inception_net::Preprocessing = serde_json::from_str(json)?;
            let shape = (preprocessing.order.channels(), height, width);
            let preprocessor = Preprocessor::new(preprocessing, shape)?;
            let mut values = vec![0.0; preprocessor.len()];
            preprocessor.apply(&picture, &mut values)?;
            (shape, values)
        }
        _ => {
            let plane = |c| picture.values().iter().skip(c).step_by(channels).map(|&v| v.into());
            let values = (0..channels).flat_map(plane).collect();
            ((channels, picture.height(), picture.width()), values)
        }
    };
    let shape = [shape.0, shape.1, shape.2].map(|n| n as f32);
    let bytes: Vec<u8> = shape.iter().chain(&values).flat_map(|v: &f32| v.to_le_bytes()).collect();
    Ok(stdout().lock().write_all(&bytes)?)
}
