//! The page a training run ends with: one file that needs nothing else.

mod chart;
mod confusion;
mod effects;
mod layers;
mod picture;

use inception_metrics::Evaluation;
use inception_train::Recipe;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::effects::Effects;
use crate::showcase::Showcase;
use crate::text::{percent, short};
use chart::{Chart, Line, Scale};
pub use confusion::confused;
pub use picture::data_uri;

/// What the page shows.
pub struct Report<'a> {
    /// Name of the network and of the data.
    pub title: String,
    /// A few words below it.
    pub subtitle: String,
    /// Headline figures: what, value.
    pub headlines: Vec<(&'static str, String)>,
    /// What was run, in groups: heading, then name and value.
    pub facts: Vec<(&'static str, Vec<(&'static str, String)>)>,
    /// One entry for each epoch.
    pub history: Vec<Epoch>,
    /// The classes.
    pub labels: Vec<String>,
    /// What the model does on the test pictures, if there are any.
    pub showcase: Option<&'a Showcase>,
    /// How it was trained.
    pub recipe: &'a Recipe,
    /// Steps of the run.
    pub steps: u64,
    /// What the recipe's parts did.
    pub effects: &'a Effects,
}

/// One epoch's figures.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Epoch {
    pub train_loss: f64,
    pub train_top1: f64,
    pub test_loss: f64,
    pub test_top1: f64,
    pub learning_rate: f64,
    pub pictures_per_second: f64,
    pub gradient_norm: f64,
    pub clipped: f64,
}

/// A picture and what the network says of it.
pub struct Shown {
    /// The picture as a `data:` address.
    pub image: String,
    /// Where it is from.
    pub name: String,
    /// Its true class.
    pub truth: usize,
    /// Classes with their probabilities, the most probable first.
    pub ranking: Vec<(usize, f64)>,
}

impl Report<'_> {
    /// The whole page.
    pub fn page(&self) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    style { (PreEscaped(include_str!("style.css"))) }
                }
                body {
                    header { h1 { (self.title) } p { (self.subtitle) } (self.headlines()) }
                    main {
                        section { h2 { "How it learned" } (self.curves()) }
                        @if let Some(showcase) = self.showcase { (self.showcase(showcase)) }
                        (self.parts_of_the_recipe())
                        (layers::section(&self.effects.layers, self.last_rate()))
                        section { h2 { "The run" } (self.facts()) }
                    }
                }
            }
        }
        .into_string()
    }

    fn headlines(&self) -> Markup {
        html! {
            div.tiles {
                @for (name, value) in &self.headlines {
                    div.tile { div.value { (value) } div.what { (name) } }
                }
            }
        }
    }

    fn last_rate(&self) -> f64 {
        self.history.last().map_or(0.0, |epoch| epoch.learning_rate)
    }

    fn curves(&self) -> Markup {
        let line = |name, class, of: fn(&Epoch) -> f64| {
            let values = self.history.iter().enumerate();
            Line { name, class, points: values.map(|(i, e)| ((i + 1) as f64, of(e))).collect() }
        };
        let loss =
            [line("training", "train", |e| e.train_loss), line("test", "test", |e| e.test_loss)];
        let top1 =
            [line("training", "train", |e| e.train_top1), line("test", "test", |e| e.test_top1)];
        let rate = [line("", "rate", |e| e.learning_rate)];
        let speed = [line("", "speed", |e| e.pictures_per_second)];
        let chart = |title, lines: &[Line], scale, value: &dyn Fn(f64) -> String| {
            Chart {
                title,
                lines,
                scale,
                value,
                place: &|x| format!("epoch {x}"),
                last_values: true,
            }
            .draw()
        };
        html! {
            div.charts {
                (chart("Accuracy", &top1, Scale::FromSmallest, &|v| format!("{} %", (v * 1e3).round() / 10.0)))
                (chart("Loss", &loss, Scale::FromSmallest, &|v| format!("{}", (v * 1e3).round() / 1e3)))
                (chart("Learning rate", &rate, Scale::FromZero, &short))
                (chart("Pictures per second", &speed, Scale::FromZero, &|v| format!("{v:.0}")))
            }
            p.note {
                "Training figures are taken along the way: on augmented pictures, with dropout, while "
                "the weights change. Test figures are taken after each epoch, with the weights that "
                "are saved. Losses are the main head's mean cross entropy."
            }
        }
    }

    fn showcase(&self, showcase: &Showcase) -> Markup {
        let Showcase { evaluation, examples, mistakes, .. } = showcase;
        html! {
            section {
                h2 { "What it takes for what" }
                div.classes {
                    div { (confusion::matrix(evaluation, &self.labels)) }
                    div {
                        h3 { "Per class" }
                        (self.per_class(evaluation))
                        h3 { "Most often confused" }
                        (confusion::worst_pairs(evaluation, &self.labels, 8))
                    }
                }
            }
            (self.gallery("Examples", examples, "Some of the test pictures, evenly spaced."))
            (self.gallery("The worst mistakes", mistakes,
                "The test pictures whose true class it gave the lowest probability."))
        }
    }

    fn per_class(&self, evaluation: &Evaluation) -> Markup {
        let cell =
            |share: Option<f64>| share.map_or("–".to_owned(), |s| format!("{:.1} %", 100.0 * s));
        html! {
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "class" } th.number { "pictures" }
                            th { "recognised" } th.number { "of its predictions right" }
                        }
                    }
                    tbody {
                        @for (label, score) in self.labels.iter().zip(evaluation.per_class()) {
                            tr {
                                td { (label) }
                                td.number { (score.pictures) }
                                td {
                                    (bar(score.recall().unwrap_or(0.0), true))
                                    span.share { (cell(score.recall())) }
                                }
                                td.number { (cell(score.precision())) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn gallery(&self, title: &str, pictures: &[Shown], note: &str) -> Markup {
        html! {
            @if !pictures.is_empty() {
                section {
                    h2 { (title) }
                    div.gallery { @for shown in pictures { (self.card(shown)) } }
                    p.note { (note) }
                }
            }
        }
    }

    fn card(&self, shown: &Shown) -> Markup {
        let right = shown.ranking.first().is_some_and(|&(class, _)| class == shown.truth);
        html! {
            div class={ "card " (if right { "good" } else { "bad" }) } {
                img src=(shown.image) alt=(shown.name) title=(shown.name);
                div.truth {
                    span.mark { (if right { "✓" } else { "✗" }) } " " (self.labels[shown.truth])
                }
                @for &(class, probability) in &shown.ranking {
                    div.guess title={ (self.labels[class]) ": " (percent(probability)) } {
                        span.label { (self.labels[class]) }
                        span.share { (format!("{:.0} %", 100.0 * probability)) }
                        (bar(probability, class == shown.truth))
                    }
                }
            }
        }
    }

    fn facts(&self) -> Markup {
        html! {
            div.facts {
                @for (heading, entries) in &self.facts {
                    div {
                        h3 { (heading) }
                        dl { @for (name, value) in entries { dt { (name) } dd { (value) } } }
                    }
                }
            }
        }
    }
}

fn bar(share: f64, right: bool) -> Markup {
    html! {
        span.bar {
            span class=(if right { "right" } else { "wrong" })
                style={ "width:" (format!("{:.1}", 100.0 * share.clamp(0.0, 1.0))) "%" } {}
        }
    }
}
