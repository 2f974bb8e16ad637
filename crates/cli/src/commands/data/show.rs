//! `inception data show`.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use image::{ImageFormat, RgbImage};
use inception_image::dataset::OpenOptions;
use inception_image::{Batch, Batching, Dataset, Picture, Pipeline, Preprocessor, Sample};
use inception_train::Recipe;

use crate::job::{self, RecipeOptions};
use crate::options::NetworkOptions;
use crate::sheet::Sheet;
use crate::showcase::rgb;
use crate::text::{Align, Table};
use crate::{data, output};

/// Decoded pictures kept in memory, in bytes.
const CACHE: usize = 1 << 30;

/// Draws a contact sheet of what the network sees in training
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The pictures, as for `inception train` [default: the built-in Fashion-MNIST pictures]
    data: Option<PathBuf>,
    /// The network they are for: a built-in one, a TOML file, or a model file [default: the one
    /// that `inception train` takes]
    #[arg(short, long, value_name = "NAME|FILE")]
    model: Option<String>,
    /// A recipe by name or a TOML file; its augmentation is what is shown [default: the recipe
    /// that suits the pictures]
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// The file to draw into, a PNG
    #[arg(short, long, value_name = "FILE", default_value = "sheet.png")]
    out: PathBuf,
    /// Writes over that file if it is there
    #[arg(long)]
    force: bool,
    /// Pictures, a row for each: one of each class, then another of each
    #[arg(long, value_name = "N", default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pictures: u16,
    /// Epochs, a column for each
    #[arg(long, value_name = "N", default_value_t = 6,
        value_parser = clap::value_parser!(u16).range(1..=100))]
    epochs: u16,
    /// The run's seed: the sheet shows what that run sees [default: the recipe's]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    #[command(flatten)]
    network: NetworkOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception data show                                   the built-in pictures
  inception data show photos/ -o photos.png
  inception data show photos/ --recipe mine.toml --size 224 --epochs 10

The first column shows each picture as in evaluation, the others as training with this seed shows
it in its first epochs: the very tensors, made pictures again. Where pictures are mixed, the lines
below say of what, and how much of the target each class is.";

/// Draws the sheet and lists its rows.
pub fn run(args: &Args) -> Result<ExitCode> {
    let source = args.recipe.clone().unwrap_or_default();
    output::check_target(&args.out, Path::new(&source), args.force)?;
    let look = Look::new(args)?;
    let rows = chosen(&look.data, args.pictures.into());
    anyhow::ensure!(!rows.is_empty(), "none of the pictures looked at can be read");
    let sheet = look.sheet(&rows, args.epochs.into())?;
    let mut png = Cursor::new(Vec::new());
    sheet.image().write_to(&mut png, ImageFormat::Png)?;
    std::fs::write(&args.out, png.into_inner())
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    output::note(&format!(
        "{}: {} as {} sees it with seed {}",
        args.out.display(),
        data::name(args.data.as_deref()),
        look.network,
        look.recipe.seed
    ));
    if look.recipe.augmentation.is_none() {
        output::note("the recipe has no [augmentation]: every epoch shows the same");
    }
    output::print(&listed(&look.data, &rows).text())?;
    Ok(ExitCode::SUCCESS)
}

/// What a run would be made of.
struct Look {
    data: Dataset,
    network: String,
    recipe: Recipe,
    preprocessor: Preprocessor,
    pipeline: Arc<Pipeline>,
}

/// A row's picture: its place among the training samples, and itself.
type Row = (usize, Arc<Picture>);

/// A picture of the sheet and what is written under it.
struct Cell(Option<RgbImage>, Vec<String>);

impl Look {
    /// As `inception train` begins a run.
    fn new(args: &Args) -> Result<Self> {
        let options = RecipeOptions {
            seed: args.seed,
            recipe: args.recipe.clone(),
            ..RecipeOptions::default()
        };
        let named = options.named()?;
        let seed = args.seed.or(named.as_ref().map(|recipe| recipe.seed)).unwrap_or(0);
        let opening = OpenOptions { seed: seed.into(), ..OpenOptions::default() };
        let data = data::open(args.data.as_deref(), &opening)?;
        let look = data::look(&data.train).context("none of the pictures looked at can be read")?;
        let net = job::network(args.model.as_deref(), &args.network, data.classes.len(), look)?;
        let input = net.input;
        let (spec, size) = (args.model.as_deref(), (input.height, input.width));
        let usual = job::usual_recipe(spec, args.data.as_deref(), size);
        let recipe = options.recipe(named, usual)?;
        let shape = (input.channels, input.height, input.width);
        let preprocessor = Preprocessor::new(net.preprocessing, shape)?;
        let samples = data.train.clone();
        let pipeline = Pipeline::new(samples, preprocessor.clone(), recipe.augmentation, CACHE)?;
        Ok(Self { data, network: net.name, recipe, preprocessor, pipeline })
    }

    fn sheet(&self, rows: &[Row], epochs: usize) -> Result<Sheet> {
        let headings: Vec<String> = (0..=epochs)
            .map(|n| if n == 0 { "evaluation".to_owned() } else { format!("epoch {n}") })
            .collect();
        let mut columns = vec![self.evaluated(rows)?];
        columns.extend(thread::scope(|scope| {
            let begin = |epoch| scope.spawn(move || self.epoch(rows, epoch));
            let threads: Vec<_> = (0..epochs as u64).map(begin).collect();
            let ended = threads.into_iter().map(|thread| thread.join().expect("passed on"));
            ended.collect::<Vec<_>>()
        }));
        let size = columns[0].iter().find_map(|cell| cell.0.as_ref()).map(RgbImage::dimensions);
        let lines = columns.iter().flatten().map(|cell| cell.1.len()).max().unwrap_or(1);
        let size = size.expect("a row is a picture");
        let mut sheet = Sheet::new(&headings, rows.len(), size, lines as u32);
        for (column, cells) in columns.iter().enumerate() {
            for (row, Cell(picture, lines)) in cells.iter().enumerate() {
                sheet.put(row, column, picture.as_ref(), lines);
            }
        }
        Ok(sheet)
    }

    fn evaluated(&self, rows: &[Row]) -> Result<Vec<Cell>> {
        let mut tensor = vec![0.0; self.preprocessor.len()];
        let mut cell = |(index, picture): &Row| {
            let sample = &self.data.train[*index];
            let written = self.preprocessor.apply(picture, &mut tensor);
            written.map_err(|problem| anyhow::anyhow!("{}: {problem}", sample.name()))?;
            let class = self.data.classes[sample.label].clone();
            Ok(Cell(Some(self.shown(&tensor)), vec![class]))
        };
        rows.iter().map(&mut cell).collect()
    }

    fn epoch(&self, rows: &[Row], epoch: u64) -> Vec<Cell> {
        let mixes = self.recipe.augmentation.is_some_and(|augmentation| augmentation.mix.is_some());
        // What is not mixed is the same in any batch.
        let batch = if mixes { self.recipe.batch } else { 1 };
        let batching = Batching { batch, drop_ragged: true, workers: 1 };
        let cell = |&(index, _): &Row| {
            let seed = self.recipe.seed.into();
            let batch = self.pipeline.batch_with(index, seed, epoch, batching);
            batch.and_then(|batch| self.cell(&batch, index)).unwrap_or_else(|| {
                // A last batch with fewer pictures is not trained on.
                Cell(None, vec!["left out".to_owned()])
            })
        };
        rows.iter().map(cell).collect()
    }

    fn cell(&self, batch: &Batch, index: usize) -> Option<Cell> {
        let place = batch.indices.iter().position(|&i| i == index)?;
        let tensor = batch.pictures.chunks_exact(self.preprocessor.len()).nth(place)?;
        let lines = batch.blend.as_ref().map_or(Vec::new(), |blend| {
            let share = blend.shares[place];
            let line = |label: usize, share: f32| {
                format!("{:.0}% {}", 100.0 * share, self.data.classes[label])
            };
            vec![line(batch.labels[place], share), line(blend.labels[place], 1.0 - share)]
        });
        Some(Cell(Some(self.shown(tensor)), lines))
    }

    fn shown(&self, tensor: &[f32]) -> RgbImage {
        let picture = self.preprocessor.picture(tensor);
        let (width, height) = (picture.width() as u32, picture.height() as u32);
        RgbImage::from_raw(width, height, rgb(&picture)).expect("three values a pixel")
    }
}

/// The first pictures of each class that can be read, class after class, until there are enough;
/// of more classes than pictures, evenly spaced ones.
fn chosen(data: &Dataset, wanted: usize) -> Vec<Row> {
    let classes = data.classes.len();
    let shown = wanted.min(classes);
    let of = |class: usize| {
        let samples = data.train.iter().enumerate().filter(move |(_, s)| s.label == class);
        samples.filter_map(|(i, sample): (usize, &Sample)| Some((i, sample.picture().ok()?)))
    };
    let mut readable: Vec<_> = (0..shown).map(|i| of(i * classes / shown)).collect();
    let mut rows = Vec::new();
    while rows.len() < wanted {
        let before = rows.len();
        let room = wanted - before;
        rows.extend(readable.iter_mut().filter_map(Iterator::next).take(room));
        if rows.len() == before {
            break;
        }
    }
    rows
}

fn listed(data: &Dataset, rows: &[Row]) -> Table {
    let mut table =
        Table::new(&[("row", Align::Right), ("class", Align::Left), ("picture", Align::Left)]);
    for (n, (index, _)) in rows.iter().enumerate() {
        let sample = &data.train[*index];
        let class = data.classes[sample.label].clone();
        table.row(vec![(n + 1).to_string(), class, sample.name().into_owned()]);
    }
    table
}
