//! A network as a drawing: its modules as the papers draw them.
//!
//! Each module stands on its base, the layer before it, and its branches rise side by side to
//! the concatenation. Modules follow each other like words in a text; auxiliary heads stand at
//! the side of the module they tap.

mod canvas;
mod layout;
mod page;

use std::collections::HashMap;

use crate::error::NetError;
use crate::graph::{Graph, Layer, Op, Shape};
use crate::net::Net;
use crate::step::{Series, Step};
use canvas::Paint;
use layout::Part;
use page::{Panel, Role};

impl Net {
    /// The network as an SVG file that needs nothing else.
    ///
    /// # Errors
    ///
    /// What [`Net::graph`] says.
    pub fn to_svg(&self) -> Result<String, NetError> {
        let graph = self.graph()?;
        let panels = Drawing::new(&graph).panels(&self.layers);
        Ok(page::draw(&self.name, &subtitle(self, &graph), &panels))
    }
}

/// The line below the name.
fn subtitle(net: &Net, graph: &Graph) -> String {
    let summary = graph.summary();
    let auxiliary = if summary.parameters == summary.parameters_without_auxiliary {
        String::new()
    } else {
        let all = crate::summary::grouped(summary.parameters);
        format!(" ({all} with auxiliary heads)")
    };
    format!(
        "{} → {} classes   ·   {} parameters{auxiliary}   ·   {} multiply–adds",
        dimensions(graph.layers[0].shape),
        net.classes,
        crate::summary::grouped(summary.parameters_without_auxiliary),
        crate::summary::in_words(summary.multiply_adds),
    )
}

/// Turns steps into parts to lay out, with what the graph knows of each layer.
struct Drawing<'a> {
    layers: HashMap<&'a str, &'a Layer>,
    input: Shape,
}

impl<'a> Drawing<'a> {
    fn new(graph: &'a Graph) -> Self {
        let layers = graph.layers.iter().map(|layer| (layer.name.as_str(), layer)).collect();
        Self { layers, input: graph.layers[0].shape }
    }

    /// Panels of the main path: one per module, one per run of single layers, one per head.
    fn panels(&self, steps: &[Step]) -> Vec<Panel> {
        let mut panels = Vec::new();
        let mut run = vec![Part::node("input", &dimensions(self.input), Paint::Plain)];
        let mut shape = self.input;
        for step in steps {
            if let Some(branches) = step.branches() {
                push_run(&mut panels, &mut run);
                panels.push(self.module(step, &branches, shape));
            } else if let Some((loss_weight, series)) = step.auxiliary() {
                push_run(&mut panels, &mut run);
                panels.push(self.auxiliary(step, loss_weight, &series));
            } else {
                run.extend(self.wide_layer(step, ""));
            }
            if let Some(layer) = self.layers.get(step.name()) {
                shape = layer.shape;
            }
        }
        run.push(Part::node("softmax", "", Paint::Softmax));
        push_run(&mut panels, &mut run);
        panels
    }

    fn module(&self, step: &Step, branches: &[Series], base: Shape) -> Panel {
        let parts = vec![
            Part::node("Base", &dimensions(base), Paint::Plain).stretched(),
            self.split(branches, &step.inner_prefix("")),
            self.concat(step.name()),
        ];
        Panel {
            title: step.name().to_owned(),
            note: module_name(step).to_owned(),
            part: Part::Series(parts),
            role: Role::Main,
        }
    }

    fn auxiliary(&self, step: &Step, loss_weight: f32, series: &[Step]) -> Panel {
        let prefix = step.inner_prefix("");
        let mut parts: Vec<Part> =
            series.iter().flat_map(|step| self.any_wide(step, &prefix)).collect();
        parts.push(Part::node("softmax", &format!("loss × {loss_weight}"), Paint::Softmax));
        Panel {
            title: step.name().to_owned(),
            note: "auxiliary head".to_owned(),
            part: Part::Series(parts),
            role: Role::Auxiliary,
        }
    }

    /// Branches side by side, without what joins them.
    fn split(&self, branches: &[Series], prefix: &str) -> Part {
        Part::Split(branches.iter().map(|branch| self.branch(branch, prefix)).collect())
    }

    /// A branch. Branches at its end are left open: the concatenation above takes them in.
    fn branch(&self, series: &[Step], prefix: &str) -> Part {
        let mut parts = Vec::new();
        for (i, step) in series.iter().enumerate() {
            if let Some(branches) = step.branches() {
                parts.push(self.split(&branches, &step.inner_prefix(prefix)));
                if i + 1 < series.len() {
                    parts.push(self.concat(&step.full_name(prefix)));
                }
            } else {
                parts.extend(self.layer(step, prefix));
            }
        }
        Part::Series(parts)
    }

    fn concat(&self, name: &str) -> Part {
        let shape = self.layers.get(name).map_or(String::new(), |l| dimensions(l.shape));
        Part::node("Filter Concat", &shape, Paint::Concat).named(name).stretched()
    }

    /// A step on its own outside modules; one that has branches as those and their joint.
    fn any_wide(&self, step: &Step, prefix: &str) -> Vec<Part> {
        match step.branches() {
            Some(branches) => vec![
                self.split(&branches, &step.inner_prefix(prefix)),
                self.concat(&step.full_name(prefix)),
            ],
            None => self.wide_layer(step, prefix),
        }
    }

    /// A single layer outside modules: with the size of its output.
    fn wide_layer(&self, step: &Step, prefix: &str) -> Vec<Part> {
        let Some((title, _, paint)) = self.describe(step, prefix) else { return Vec::new() };
        let layer = self.layers[step.full_name(prefix).as_str()];
        vec![Part::node(&title, &dimensions(layer.shape), paint).named(&layer.name)]
    }

    /// A layer within a module, where the grid is known from the module.
    fn layer(&self, step: &Step, prefix: &str) -> Option<Part> {
        let (title, note, paint) = self.describe(step, prefix)?;
        Some(Part::node(&title, &note, paint).named(&step.full_name(prefix)))
    }

    /// Title, note and colour of a layer.
    fn describe(&self, step: &Step, prefix: &str) -> Option<(String, String, Paint)> {
        let layer = self.layers.get(step.full_name(prefix).as_str())?;
        let channels = format!("{} channels", layer.shape.channels);
        let kind = layer.kind().replace('/', " / ");
        Some(match (&layer.op, step) {
            (_, Step::SeparableConv(conv)) => {
                let depthwise = self.layers.get(format!("{}.depthwise", layer.name).as_str())?;
                let kind = depthwise.kind().replace("depthwise", "separable").replace('/', " / ");
                (kind, format!("×{}, {channels}", conv.multiplier), Paint::Conv)
            }
            (Op::Conv(conv), _) if conv.window.kernel == (1, 1) => (kind, channels, Paint::Conv1),
            (Op::Conv(_) | Op::Depthwise { .. }, _) => (kind, channels, Paint::Conv),
            (Op::MaxPool(_), _) => pool("max pool", &kind, Paint::MaxPool),
            (Op::AvgPool(_), _) => pool("avg pool", &kind, Paint::AvgPool),
            (Op::Linear(_), _) => (kind, channels.replace("channels", "outputs"), Paint::Linear),
            _ => (kind, String::new(), Paint::Plain),
        })
    }
}

/// A pool's window is its note.
fn pool(title: &str, kind: &str, paint: Paint) -> (String, String, Paint) {
    (title.to_owned(), kind.trim_start_matches(title).trim().to_owned(), paint)
}

fn push_run(panels: &mut Vec<Panel>, run: &mut Vec<Part>) {
    if !run.is_empty() {
        panels.push(Panel {
            title: String::new(),
            note: String::new(),
            part: Part::Series(std::mem::take(run)),
            role: Role::Main,
        });
    }
}

fn module_name(step: &Step) -> &'static str {
    match step {
        Step::V1Naive(_) => "naive module (v1, figure 2a)",
        Step::V1(_) => "module (v1, figure 2b)",
        Step::Bn(_) => "module (BN-Inception)",
        Step::BnReduction(_) => "module, stride 2 (BN-Inception)",
        Step::A(_) => "module A (v3, figure 5)",
        Step::B(_) => "module B (v3, figure 6)",
        Step::C(_) => "module C (v3, figure 7)",
        Step::D(_) => "grid reduction D (v3, figure 10)",
        Step::E(_) => "grid reduction E (v3, figure 10)",
        _ => "module",
    }
}

/// `35×35×288`: height, width, channels, in the order of the papers' tables.
fn dimensions(shape: Shape) -> String {
    if (shape.height, shape.width) == (1, 1) {
        return shape.channels.to_string();
    }
    format!("{}×{}×{}", shape.height, shape.width, shape.channels)
}
