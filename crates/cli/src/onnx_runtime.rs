//! Runs an ONNX file in ONNX Runtime, where this machine's Python has it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use inception_engine::{Cpu, Inference};
use inception_model::Model;

/// Largest difference of two logits, by the largest logit.
const TOLERANCE: f32 = 1e-4;

/// What the script exits with where a package is missing.
const MISSING: i32 = 77;

/// Reads a picture's values, writes the logits. The working folder is no place to import from.
const SCRIPT: &str = r#"
import sys
sys.path = [path for path in sys.path if path]
try:
    import numpy, onnxruntime
except ImportError:
    sys.exit(77)
shape = [int(n) for n in sys.argv[2:]]
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
picture = numpy.frombuffer(sys.stdin.buffer.read(), "<f4").reshape(shape)
logits = session.run(["logits"], {"input": picture})[0]
sys.stdout.buffer.write(logits.astype("<f4").tobytes())
"#;

/// Compares the logits of an exported file with the model's own, of a made-up picture. Returns
/// what came of it in words.
pub fn check(model: &Model, file: &Path, threads: usize) -> Result<String> {
    let input = model.net.input;
    let picture = picture(input.channels * input.height * input.width);
    let bytes: Vec<u8> = picture.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape = [1, input.channels, input.height, input.width].map(|n| n.to_string());
    let file = std::path::absolute(file).context("cannot find the file just written")?;
    let python = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(&file)
        .args(shape)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let unchecked = "not checked: python3 has no onnxruntime here".to_owned();
    let Ok(mut python) = python else { return Ok(unchecked) };
    // A script that ends early does not read; its exit code says why.
    let _ = python.stdin.take().map(|mut stdin| stdin.write_all(&bytes));
    let output = python.wait_with_output().context("cannot wait for ONNX Runtime")?;
    if output.status.code() == Some(MISSING) {
        return Ok(unchecked);
    }
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        let reason = reason.trim().lines().next_back().unwrap_or("it says nothing").to_owned();
        bail!("{} is written, but ONNX Runtime does not run it: {reason}", file.display());
    }
    let theirs: Vec<f32> =
        output.stdout.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let cpu = Arc::new(Cpu::new(threads)?);
    let ours = Inference::new(&model.net.graph()?, &model.weights, cpu)?.run(&picture)?;
    let largest = ours.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let relative = apart / largest;
    // Written so that what is no number does not pass.
    let agree = ours.len() == theirs.len() && (relative <= TOLERANCE || apart == 0.0);
    if !agree {
        bail!(
            "{} is written, but ONNX Runtime's logits differ from this program's by {apart}, \
             {relative:.1e} of the largest",
            file.display()
        );
    }
    Ok(format!("checked: ONNX Runtime's logits agree to {relative:.0e}"))
}

/// Values from -1 to 1 in patches, the same at any time.
fn picture(len: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut value = 0.0;
    (0..len)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            if i % 37 == 0 {
                value = noise;
            }
            0.8 * value + 0.2 * noise
        })
        .collect()
}
