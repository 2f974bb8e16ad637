//! Our engine as `peers/bench` times it: reads commands, one a line, and answers each with the
//! seconds that one computation took and with a number that every engine must come to.
//!
//! - `train N`: loss and all gradients for N pictures in training mode; the loss.

mod case;

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use case::Case;
use inception_engine::{Cpu, NormMode, Training};

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: bench_server FOLDER THREADS";
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or(usage)?;
    let threads = arguments.next().ok_or(usage)?.parse()?;
    let case = Case::read(Path::new(&folder))?;
    let cpu = Arc::new(Cpu::new(threads)?);
    let mut training = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (command, count) = line.split_once(' ').ok_or(usage)?;
        let pictures =
            &case.pictures[..case.pictures.len() / case.labels.len() * count.parse::<usize>()?];
        let start;
        let number = match command {
            "train" => {
                let training = match &mut training {
                    Some(training) => training,
                    none => none.insert(Training::new(
                        &case.graph,
                        case.weights.clone(),
                        cpu.clone(),
                        NormMode::Batch,
                    )?),
                };
                start = Instant::now();
                let logits = training.forward(pictures, 0)?;
                let (loss, gradients) = case.loss(&logits);
                training.backward(&gradients)?;
                loss
            }
            other => return Err(format!("unknown command `{other}`").into()),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} {number}", start.elapsed().as_secs_f64())?;
        out.flush()?;
    }
    Ok(())
}
