//! Trains on the embedded Fashion-MNIST pictures: `fashion [RECIPE.toml [NET.toml]]`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use inception_engine::Cpu;
use inception_image::dataset::fashion_mnist;
use inception_net::{Net, zoo};
use inception_train::{EpochReport, Observer, Recipe, RunOptions, Trainer, untrained};

struct Print;

impl Observer for Print {
    fn epoch(&mut self, r: &EpochReport) {
        println!(
            "{:3}  train {:.4} {:.4}  test {:.4} {:.4}  obj {:.4} |g| {:.2} lr {:.5}  {:.0}/s {:.1}s",
            r.epoch,
            r.train_loss,
            r.train_top1,
            r.test_loss.unwrap_or(f64::NAN),
            r.test_top1.unwrap_or(f64::NAN),
            r.objective,
            r.gradient_norm,
            r.learning_rate,
            r.pictures_per_second,
            r.seconds
        );
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let recipe = match args.next() {
        Some(path) => Recipe::from_toml(&std::fs::read_to_string(path)?)?,
        None => Recipe::small(),
    };
    let net = match args.next() {
        Some(path) => Net::from_toml(&std::fs::read_to_string(path)?)?,
        None => zoo::build("inception-v3-small", &zoo::Options::default())?,
    };
    let data = fashion_mnist();
    let start = Instant::now();
    let model = untrained(net, data.classes.clone(), recipe.seed)?;
    let trainer = Trainer::new(model, recipe, Arc::new(Cpu::new(Cpu::default_threads())?))?;
    let folder = std::env::temp_dir().join(format!("fashion-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let stop = AtomicBool::new(false);
    let options = RunOptions { folder: &folder, workers: 1, stop: &stop };
    trainer.train(&data, options, &mut Print)?;
    std::fs::remove_dir_all(&folder)?;
    println!("{:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
