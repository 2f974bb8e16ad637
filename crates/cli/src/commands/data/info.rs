//! `inception data info`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;
use inception_image::dataset::OpenOptions;
use inception_image::{PictureError, Sample};

use crate::options::MachineOptions;
use crate::text::{Align, Table, count, grouped};
use crate::{data, output};

/// Counts a data set's pictures by class and tells their sizes and which cannot be read
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The pictures, as for `inception train` [default: the built-in Fashion-MNIST pictures]
    data: Option<PathBuf>,
    /// Decides which pictures are set aside for testing, where the folder has no split
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    #[command(flatten)]
    machine: MachineOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception data info
  inception data info photos/

Every picture is decoded. Sizes are width × height; smallest, median and largest go by the number
of pixels. The exit code is 1 if a picture cannot be read.";

/// What decoding a picture shows.
struct Seen {
    width: usize,
    height: usize,
    grey: bool,
}

/// Prints the table.
pub fn run(args: &Args) -> Result<ExitCode> {
    let options = OpenOptions { seed: args.seed.into(), ..OpenOptions::default() };
    let data = data::open(args.data.as_deref(), &options)?;
    let samples: Vec<&Sample> = data.train.iter().chain(&data.test).collect();
    let seen = look(&samples, args.machine.threads());
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("training", Align::Right),
        ("test", Align::Right),
        ("unreadable", Align::Right),
    ]);
    for (label, class) in data.classes.iter().enumerate() {
        let of = |samples: &[Sample]| samples.iter().filter(|s| s.label == label).count();
        let pairs = samples.iter().zip(&seen);
        let broken = pairs.filter(|(s, seen)| s.label == label && seen.is_err()).count()
            + data.skipped.iter().filter(|skipped| skipped.label == label).count();
        let counts = [of(&data.train), of(&data.test), broken].map(|n| grouped(n as u64));
        table.row([vec![class.clone()], counts.to_vec()].concat());
    }
    let skipped = data.skipped.iter().map(|skipped| &*skipped.error);
    let broken: Vec<&PictureError> =
        skipped.chain(seen.iter().filter_map(|seen| seen.as_ref().err())).collect();
    let totals = [data.train.len(), data.test.len(), broken.len()].map(|n| grouped(n as u64));
    table.row([vec![String::new()], totals.to_vec()].concat());
    let readable: Vec<&Seen> = seen.iter().filter_map(|seen| seen.as_ref().ok()).collect();
    output::print(&format!("{}\n{}", table.text(), sizes(readable)))?;
    broken.iter().for_each(|error| output::note(&error.to_string()));
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Decodes every picture, on so many threads.
fn look(samples: &[&Sample], threads: usize) -> Vec<Result<Seen, PictureError>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let claim = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < samples.len());
        let seen = |i: usize| {
            let picture = samples[i].picture()?;
            let grey = picture.channels() == 1;
            Ok(Seen { width: picture.width(), height: picture.height(), grey })
        };
        std::iter::from_fn(claim).map(|i| (i, seen(i))).collect::<Vec<_>>()
    };
    let mut seen: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().expect("a panic is passed on")).collect()
    });
    seen.sort_unstable_by_key(|(i, _)| *i);
    seen.into_iter().map(|(_, seen)| seen).collect()
}

fn sizes(mut pictures: Vec<&Seen>) -> String {
    pictures.sort_by_key(|seen| (seen.width * seen.height, seen.width));
    let at = |place: usize| format!("{}×{}", pictures[place].width, pictures[place].height);
    let Some(last) = pictures.len().checked_sub(1) else {
        return "no picture can be read\n".to_owned();
    };
    let grey = pictures.iter().filter(|seen| seen.grey).count();
    let colours = match (grey, pictures.len() - grey) {
        (_, 0) => "all grey".to_owned(),
        (0, _) => "all in colour".to_owned(),
        (grey, colour) => {
            format!("{} in grey, {} in colour", count(grey as u64, "picture"), colour)
        }
    };
    match (at(0), at(last)) {
        (smallest, largest) if smallest == largest => {
            format!("all of {smallest} pixels, {colours}\n")
        }
        (smallest, largest) => format!(
            "smallest {smallest}, median {}, largest {largest} pixels; {colours}\n",
            at(last / 2)
        ),
    }
}
