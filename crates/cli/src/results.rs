//! What came of a run: the report's page, and on the terminal curves, figures, files and what to
//! do next.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use inception_engine::Cpu;
use inception_image::Dataset;
use inception_image::dataset::Source;
use inception_model::Model;
use inception_train::{CHECKPOINT_FILE, EpochReport, MODEL_FILE, Predictor, Run};

use crate::effects::Effects;
use crate::events::EVENTS_FILE;
use crate::output::{self, invocation, quoted};
use crate::plot::{Curve, plot};
use crate::report::{Epoch, Report};
use crate::run_folder::{self, EXAMPLE_FILE, LOG_FILE, RECIPE_FILE, REPORT_FILE};
use crate::showcase::{Showcase, rgb};
use crate::text::{Align, Table, count, duration, grouped, percent};
use crate::{data, method};

/// A finished run and what its model does on the test pictures.
pub struct Results<'a> {
    run: &'a Run,
    folder: &'a Path,
    data: &'a Dataset,
    path: Option<&'a Path>,
    threads: usize,
    isa: String,
    parameters: usize,
    showcase: Option<Showcase>,
    effects: Effects,
}

impl<'a> Results<'a> {
    /// Reads the model back from the run's folder and evaluates it. `path` is where the data is
    /// from; the built-in pictures without one.
    pub fn new(
        run: &'a Run,
        data: &'a Dataset,
        folder: &'a Path,
        path: Option<&'a Path>,
        cpu: &Arc<Cpu>,
    ) -> Result<Self> {
        let model = Model::load(&folder.join(MODEL_FILE))?;
        let mut predictor = Predictor::new(&model.net, &model.weights, Arc::clone(cpu))?;
        let showcase = match data.test.is_empty() {
            true => None,
            false => Some(Showcase::new(&mut predictor, &data.test, cpu.threads(), |_| ())?),
        };
        let effects = Effects::new(run, data, folder, &mut predictor, showcase.as_ref(), cpu)?;
        Ok(Self {
            run,
            folder,
            data,
            path,
            threads: cpu.threads(),
            isa: cpu.isa().to_string(),
            parameters: model.net.graph()?.summary().parameters,
            showcase,
            effects,
        })
    }

    /// Writes the page and prints the rest.
    pub fn show(&self) -> Result<()> {
        run_folder::write(self.folder, REPORT_FILE, &self.report().page())?;
        let example = self.example()?;
        let text = format!("\n{}{}\n{}", self.curves(), self.figures(), self.files(&example));
        output::print(&text)
    }

    fn seconds(&self) -> f64 {
        self.run.history.iter().map(|epoch| epoch.seconds).sum()
    }

    /// Accuracy and loss; empty for a single epoch, which has no curve.
    fn curves(&self) -> String {
        let history = &self.run.history;
        if history.len() < 2 {
            return String::new();
        }
        let values = |of: fn(&EpochReport) -> f64| history.iter().map(of).collect::<Vec<_>>();
        let pair = |train, test| {
            [
                Curve { name: "training", mark: '·', values: values(train) },
                Curve { name: "test", mark: '●', values: values(test) },
            ]
        };
        let top1 = pair(|e| e.train_top1, |e| e.test_top1.unwrap_or(f64::NAN));
        let loss = pair(|e| e.train_loss, |e| e.test_loss.unwrap_or(f64::NAN));
        let width = output::columns().saturating_sub(12).min(72);
        format!(
            "{}\n{}\n",
            plot("accuracy", &top1, 1, width, |v| format!("{:.1} %", 100.0 * v)),
            plot("loss", &loss, 1, width, |v| format!("{v:.3}")),
        )
    }

    fn figures(&self) -> String {
        let mut table = Table::new(&[("", Align::Left), ("", Align::Right)]);
        for (name, value) in self.headlines().into_iter().chain(self.effects.figures()) {
            table.row(vec![name.to_owned(), value]);
        }
        table.text()
    }

    /// The figures worth a headline.
    fn headlines(&self) -> Vec<(&'static str, String)> {
        let mut headlines = Vec::new();
        if let Some(evaluation) = self.showcase.as_ref().map(|s| &s.evaluation) {
            headlines.push(("test accuracy", percent(evaluation.top1())));
            headlines.extend(evaluation.top5().map(|top5| ("test top-5", percent(top5))));
            headlines.push(("test loss", format!("{:.4}", evaluation.loss())));
        }
        let seconds = self.seconds();
        headlines.push(("time", duration(seconds)));
        let speeds = self.run.history.iter().map(|epoch| epoch.pictures_per_second);
        let mean = speeds.sum::<f64>() / self.run.history.len() as f64;
        headlines.push(("pictures per second", grouped(mean.round() as u64)));
        headlines.push(("parameters", grouped(self.parameters as u64)));
        headlines
    }

    /// The files and the next commands.
    fn files(&self, example: &str) -> String {
        let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
        let files = [
            (MODEL_FILE, "network, weights, labels, preprocessing: all in one"),
            (REPORT_FILE, "curves, confusion matrix, worst mistakes; open it"),
            (LOG_FILE, "a line of JSON for each epoch"),
            (EVENTS_FILE, "for `tensorboard --logdir`: steps, epochs, weights, gradients"),
            (RECIPE_FILE, "how it was trained, to edit and pass to --recipe"),
            (CHECKPOINT_FILE, "for --resume; may be deleted"),
        ];
        for (name, what) in files {
            table.row(vec![format!("  {name}"), what.to_owned()]);
        }
        let (program, model) = (invocation(), self.folder.join(MODEL_FILE));
        format!(
            "written to {}\n{}\nnext\n  {program} predict {} {example}\n",
            self.folder.display(),
            table.text(),
            quoted(&model),
        )
    }

    /// A picture to predict, as a shell takes it: a test picture's file, written to the run's folder if it has none.
    fn example(&self) -> Result<String> {
        let sample = self.data.test.first().or(self.data.train.first());
        match sample.map(|sample| &sample.source) {
            Some(Source::File(path)) => Ok(quoted(path)),
            Some(Source::Memory { picture, .. }) => {
                let path = self.folder.join(EXAMPLE_FILE);
                let (width, height) = (picture.width() as u32, picture.height() as u32);
                let rgb = image::RgbImage::from_raw(width, height, rgb(picture));
                rgb.context("a picture has as many values as pixels")?
                    .save(&path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Ok(quoted(&path))
            }
            None => Ok("picture.png".to_owned()),
        }
    }

    fn report(&self) -> Report<'_> {
        let Run { net, labels, history, .. } = self.run;
        let nan = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let history: Vec<Epoch> = history
            .iter()
            .map(|e| Epoch {
                train_loss: e.train_loss,
                train_top1: e.train_top1,
                test_loss: nan(e.test_loss),
                test_top1: nan(e.test_top1),
                learning_rate: e.learning_rate,
                pictures_per_second: e.pictures_per_second,
                gradient_norm: e.gradient_norm,
                clipped: e.clipped,
            })
            .collect();
        Report {
            title: format!("{} on {}", net.name, data::title(self.path)),
            subtitle: format!(
                "{} over {} in {} classes, tested on {}",
                count(history.len() as u64, "epoch"),
                count(self.data.train.len() as u64, "picture"),
                labels.len(),
                grouped(self.data.test.len() as u64),
            ),
            headlines: self.headlines(),
            facts: self.facts(),
            history,
            labels: labels.clone(),
            showcase: self.showcase.as_ref(),
            recipe: &self.run.recipe,
            steps: self.run.steps,
            effects: &self.effects,
        }
    }

    fn facts(&self) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
        let Run { net, recipe, steps, .. } = self.run;
        let input = net.input;
        let network = vec![
            ("name", net.name.clone()),
            ("input", format!("{} × {} × {}", input.channels, input.height, input.width)),
            ("classes", net.classes.to_string()),
            ("parameters", grouped(self.parameters as u64)),
        ];
        let method = method::facts(recipe);
        let run = vec![
            ("pictures", data::name(self.path)),
            ("steps", grouped(*steps)),
            ("time", duration(self.seconds())),
            ("seed", recipe.seed.to_string()),
            ("threads", self.threads.to_string()),
            ("instructions", self.isa.clone()),
            ("version", format!("inception {}", env!("CARGO_PKG_VERSION"))),
        ];
        vec![("Network", network), ("Recipe", method), ("Run", run)]
    }
}
