//! What goes against a principle, and from which number on.

use super::places::{Place, Shapes, convolutions};
use super::{Change, Finding, Kind, Rewrite};
use crate::graph::Shape;
use crate::net::Net;
use crate::notation::Size;
use crate::step::Step;
use crate::summary::in_words;

/// From this factor on a representation shrinks too fast: a pool of stride 2 alone quarters it, the
/// two reductions of 1512.00567's table 1 shrink it 1.6 and 2.7 times.
pub(super) const MOST_DROP: f64 = 3.0;

/// From this factor on a step widens: with less a reduction in its place would shrink the
/// representation more than [`MOST_DROP`] times.
const WIDENS: f64 = 4.0 / MOST_DROP;

/// From this width on a reduction is worth its layer; the narrowest that the papers reduce is 192.
const WIDE: usize = 64;

/// A grid's share of the multiply–adds from which on the network is out of balance: none of the
/// paper's does so much on one grid.
const MOST_SHARE: f64 = 0.5;

/// Grids on which asymmetric kernels did very well (1512.00567 §3.2).
pub(super) fn is_medium((height, width): (usize, usize)) -> bool {
    (12..=20).contains(&height) && (12..=20).contains(&width)
}

/// All findings, their changes not yet counted.
pub(super) fn findings(net: &Net, shapes: &Shapes) -> Vec<Finding> {
    let mut findings = representation(net, shapes);
    for place in convolutions(net) {
        let Some((read, made)) = shapes.read(&place.name).zip(shapes.output(&place.name)) else {
            continue;
        };
        findings.extend(large_kernel(&place, read, made));
        findings.extend(wide_aggregation(&place, read, made));
        asymmetric_kernel(&place, made, &mut findings);
    }
    findings.extend(narrowing(net, shapes));
    let position = |finding: &Finding| shapes.position(&finding.layers[0]);
    findings.sort_by_key(position);
    findings.extend(imbalance(shapes));
    findings
}

/// Drops a factorisation that saves nothing; only that of a kernel that reads the picture is worth
/// its cost (table 3: the factorised 7×7 adds 26 % and takes off 1.2 points of error).
pub(super) fn spare_what_costs(shapes: &Shapes, finding: &mut Finding) {
    let costs = finding.change.as_ref().is_some_and(|change| change.multiply_adds >= 0);
    if finding.kind == Kind::LargeKernel && costs && !shapes.reads_picture(&finding.layers[0]) {
        finding.change = None;
        finding.advice = "none: from so few channels factors would cost more".into();
    }
}

fn finding(kind: Kind, layers: Vec<String>, number: String, advice: String) -> Finding {
    Finding { kind, layers, principle: kind.principle(), number, advice, change: None }
}

impl Finding {
    fn with(self, rewrite: Rewrite) -> Self {
        // The figures are counted when all findings are there.
        Self { change: Some(Change { multiply_adds: 0, parameters: 0, rewrite }), ..self }
    }
}

/// Where the main series' representation shrinks too fast, up to where the classifier's part
/// begins.
fn representation(net: &Net, shapes: &Shapes) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut reads = shapes.input();
    let mut picture = true;
    let mut widening: Option<(&Step, Shape)> = None;
    for (i, step) in net.layers.iter().enumerate() {
        let Some(made) = shapes.output(step.name()) else {
            // An auxiliary head needs what stands before it.
            widening = None;
            continue;
        };
        if (made.height, made.width) == (1, 1) || ends_the_grid(step) {
            break;
        }
        let drop = reads.len() as f64 / made.len() as f64;
        if drop > MOST_DROP {
            let next = net.layers.get(i + 1);
            findings.push(shrinking(shapes, step, (reads, made), widening, next));
        }
        let widens = made.channels as f64 >= WIDENS * reads.channels as f64;
        let stays = 2 * made.height > reads.height + 1 && 2 * made.width > reads.width + 1;
        // Whatever reads the picture has to widen it.
        let widens = widens && stays && can_widen(step) && !picture;
        widening = widens.then_some((step, reads));
        picture = false;
        reads = made;
    }
    findings
}

fn ends_the_grid(step: &Step) -> bool {
    matches!(
        step,
        Step::Linear(_) | Step::Classifier(_) | Step::GlobalAvgPool(_) | Step::AdaptiveAvgPool(_)
    )
}

fn can_widen(step: &Step) -> bool {
    matches!(step, Step::Conv(_)) || step.branches().is_some()
}

/// The finding about one step that shrinks the representation from `reads` to `made`.
fn shrinking(
    shapes: &Shapes,
    step: &Step,
    (reads, made): (Shape, Shape),
    widening: Option<(&Step, Shape)>,
    next: Option<&Step>,
) -> Finding {
    let name = step.name().to_owned();
    let shrinks = format!(
        "{} → {}, ÷ {:.1}, after {:.0} % of the work",
        extent(reads),
        extent(made),
        reads.len() as f64 / made.len() as f64,
        100.0 * shapes.work_before(&name)
    );
    let is_pool = matches!(step, Step::MaxPool(_) | Step::AvgPool(_));
    let with_pool =
        |wide: &Step| Rewrite::Reduction { wide: wide.name().into(), pool: name.clone() };
    if let (true, Some((wide, before))) = (is_pool, widening) {
        let number = format!("widens {} to {} first; {shrinks}", before.channels, reads.channels);
        let layers = vec![wide.name().to_owned(), name.clone()];
        let advice = "convolutions of stride 2 beside the pool".into();
        return finding(Kind::CostlyReduction, layers, number, advice).with(with_pool(wide));
    }
    let widened = next.filter(|next| {
        let width = shapes.output(next.name()).map_or(0, |shape| shape.channels);
        can_widen(next) && width as f64 >= WIDENS * made.channels as f64
    });
    match widened {
        Some(next) if is_pool => {
            let layers = vec![name.clone(), next.name().to_owned()];
            let advice = "convolutions of stride 2 beside the pool".into();
            finding(Kind::Bottleneck, layers, shrinks, advice).with(with_pool(next))
        }
        _ => {
            let gentle = reads.len() as f64 / MOST_DROP / (made.height * made.width) as f64;
            let advice = format!("{} channels or more here", gentle.ceil());
            finding(Kind::Bottleneck, vec![name], shrinks, advice)
        }
    }
}

fn large_kernel(place: &Place, read: Shape, made: Shape) -> Option<Finding> {
    let Size { height, width } = place.conv.kernel;
    let fully_connected = (made.height, made.width) == (1, 1);
    if height.min(width) <= 3 || place.conv.shrink || fully_connected {
        return None;
    }
    let work = made.len() * read.channels * height * width;
    let number = format!(
        "{height}×{width}, {} → {} on {}×{}, {} multiply-adds",
        read.channels,
        made.channels,
        made.height,
        made.width,
        in_words(work)
    );
    let layer = place.name.clone();
    let layers = vec![layer.clone()];
    let in_threes = height == width && height % 2 == 1;
    let medium = is_medium((made.height, made.width));
    Some(if in_threes && (height == 5 || !medium) {
        let advice = match height {
            5 => "two 3×3 in series".to_owned(),
            7 => "three 3×3 in series".to_owned(),
            _ => format!("{} times 3×3 in series", (height - 1) / 2),
        };
        finding(Kind::LargeKernel, layers, number, advice).with(Rewrite::Threes { layer })
    } else if medium {
        let advice = format!("1×{width}, then {height}×1");
        finding(Kind::LargeKernel, layers, number, advice).with(Rewrite::Asymmetric { layer })
    } else {
        let advice = "an odd square kernel, to be made 3×3 in series".into();
        finding(Kind::LargeKernel, layers, number, advice)
    })
}

fn wide_aggregation(place: &Place, read: Shape, made: Shape) -> Option<Finding> {
    let conv = &place.conv;
    let one = Size::from(1);
    let in_module = place.name != conv.name;
    let after_reduction = match &place.before {
        Some(Step::Conv(before)) => in_module || before.kernel == one,
        Some(_) => in_module,
        None => false,
    };
    // Stride 2 takes three quarters off already.
    let aggregates = conv.kernel.height.min(conv.kernel.width) >= 3 && conv.stride == one;
    let wide = read.channels >= WIDE && read.channels >= made.channels;
    if !aggregates || !wide || after_reduction || conv.shrink {
        return None;
    }
    let number = format!(
        "{}×{} over {} channels, {} → {} on {}×{}",
        conv.kernel.height,
        conv.kernel.width,
        read.channels,
        read.channels,
        made.channels,
        made.height,
        made.width
    );
    let advice = format!("a 1×1 to {} channels before it", made.channels.div_ceil(2));
    let layer = place.name.clone();
    let found = finding(Kind::WideAggregation, vec![layer.clone()], number, advice);
    Some(found.with(Rewrite::Reduce { layer }))
}

/// Adds a layer to its module's finding, or as a finding of its own.
fn asymmetric_kernel(place: &Place, made: Shape, findings: &mut Vec<Finding>) {
    let Size { height, width } = place.conv.kernel;
    let length = height.max(width);
    if height.min(width) != 1 || length < 3 {
        return;
    }
    let grid = (made.height, made.width);
    let early = grid.0.min(grid.1) > 20;
    // 1×3 beside 3×1 is the paper's own module on its 8×8 grid (figure 7).
    let coarse = grid.0.max(grid.1) < 12 && length > 3;
    if !early && !coarse {
        return;
    }
    let module = |name: &str| name.rsplit_once('.').map(|(module, _)| module.to_owned());
    if let Some(last) = findings.iter_mut().rfind(|f| f.kind == Kind::AsymmetricKernel)
        && module(&place.name).is_some()
        && module(&last.layers[0]) == module(&place.name)
    {
        last.layers.push(place.name.clone());
        return;
    }
    let advice = match early {
        true => "3×3 in series here; 1×n and n×1 on grids of 12 to 20",
        false => "3×3, or 1×3 beside 3×1 as in figure 7; the paper says nothing of such grids",
    };
    let number = format!("{height}×{width} on {}×{}", grid.0, grid.1);
    let layers = vec![place.name.clone()];
    findings.push(finding(Kind::AsymmetricKernel, layers, number, advice.into()));
}

/// Where a coarser grid ends with fewer channels than the finer one before it.
fn narrowing(net: &Net, shapes: &Shapes) -> Vec<Finding> {
    let mut ends: Vec<(&str, Shape)> = Vec::new();
    for step in &net.layers {
        let Some(made) = shapes.output(step.name()) else { continue };
        if (made.height, made.width) == (1, 1) || ends_the_grid(step) {
            break;
        }
        match ends.last_mut() {
            Some(last) if (last.1.height, last.1.width) == (made.height, made.width) => {
                *last = (step.name(), made);
            }
            _ => ends.push((step.name(), made)),
        }
    }
    let pairs = ends.windows(2);
    pairs
        .filter(|pair| pair[1].1.channels < pair[0].1.channels)
        .map(|pair| {
            let ((before, fine), (name, coarse)) = (pair[0], pair[1]);
            let number = format!("{} after {}", extent(coarse), extent(fine));
            let advice = format!("{} channels or more", fine.channels);
            finding(Kind::Narrowing, vec![before.into(), name.into()], number, advice)
        })
        .collect()
}

fn imbalance(shapes: &Shapes) -> Option<Finding> {
    let stages = shapes.stages();
    let all: usize = stages.iter().map(|stage| stage.work).sum();
    let depth: usize = stages.iter().map(|stage| stage.depth()).sum();
    let most = stages.iter().max_by_key(|stage| stage.work)?;
    let share = most.work as f64 / all.max(1) as f64;
    if share <= MOST_SHARE || stages.len() < 2 {
        return None;
    }
    let number = format!(
        "{:.0} % of the multiply-adds on the {}×{} grid, in {} of {depth} layers of depth",
        100.0 * share,
        most.grid.0,
        most.grid.1,
        most.depth()
    );
    let advice = "narrower there, wider or deeper elsewhere".into();
    Some(finding(Kind::Imbalance, Vec::new(), number, advice))
}

/// `480×28×28`.
fn extent(shape: Shape) -> String {
    format!("{}×{}×{}", shape.channels, shape.height, shape.width)
}
