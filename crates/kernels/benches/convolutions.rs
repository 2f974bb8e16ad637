//! How close convolutions come to the machine's peak.
//!
//! `cargo bench -p inception-kernels --bench convolutions [-- [--json] [--quick] [WORD…]]`
//!
//! Prints a table of the convolutions that dominate Inception v3 at 299²: forward by every
//! algorithm there is, gradient of the data and gradient of the filters, at batch 1 and 8, with one
//! thread and with all. Speeds count the multiplications of the direct algorithm, whatever is
//! computed, so minimal filtering may pass 100 %. Words choose the rows whose name contains all of
//! them. The peak is that of fused multiply–adds in registers,
//! measured in turns with each row, as machines are noisy; the best of the turns counts for both.
//! `INCEPTION_ISA` selects an instruction set.

use inception_kernels::conv::{self, Algorithm, Epilogue, Filters, Geometry, Scratch};
use inception_kernels::{Buffer, Channels, Cpu, Layout, View, ViewMut};
use std::time::{Duration, Instant};

/// Inputs, outputs, kernel, stride, padding, height and width of the input.
type Layer = (usize, usize, (usize, usize), usize, (usize, usize), usize);

const LAYERS: &[Layer] = &[
    (3, 32, (3, 3), 2, (0, 0), 299),
    // GoogLeNet's first.
    (3, 64, (7, 7), 2, (3, 3), 224),
    (32, 32, (3, 3), 1, (0, 0), 149),
    (32, 64, (3, 3), 1, (1, 1), 147),
    (64, 80, (1, 1), 1, (0, 0), 73),
    (80, 192, (3, 3), 1, (0, 0), 73),
    (48, 64, (5, 5), 1, (2, 2), 35),
    (64, 96, (3, 3), 1, (1, 1), 35),
    (96, 96, (3, 3), 1, (1, 1), 35),
    (288, 64, (1, 1), 1, (0, 0), 35),
    (288, 384, (3, 3), 2, (0, 0), 35),
    (96, 96, (3, 3), 2, (0, 0), 35),
    (768, 192, (1, 1), 1, (0, 0), 17),
    (128, 128, (1, 7), 1, (0, 3), 17),
    (160, 160, (7, 1), 1, (3, 0), 17),
    (192, 192, (1, 7), 1, (0, 3), 17),
    (192, 320, (3, 3), 2, (0, 0), 17),
    (1280, 448, (1, 1), 1, (0, 0), 8),
    (2048, 320, (1, 1), 1, (0, 0), 8),
    (384, 384, (1, 3), 1, (0, 1), 8),
    (448, 384, (3, 3), 1, (1, 1), 8),
    // A small network's last grids.
    (64, 64, (3, 3), 1, (1, 1), 7),
    (128, 128, (3, 3), 1, (1, 1), 3),
    (2048, 1000, (1, 1), 1, (0, 0), 1),
];

fn main() {
    let mut json = false;
    let mut quick = false;
    let mut words = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => json = true,
            "--quick" => quick = true,
            // What cargo passes to every benchmark.
            "--bench" => {}
            _ => words.push(argument),
        }
    }
    let rounds = if quick { 8 } else { 30 };
    let mut teams = vec![1];
    teams.extend(Some(Cpu::default_threads()).filter(|&n| n > 1));
    let cpus: Vec<Cpu> =
        teams.iter().map(|&n| Cpu::new(n).expect("a supported instruction set")).collect();

    if !json {
        println!("{}: GFLOP/s (share of the peak measured beside it)\n", cpus[0].isa());
        print!("{:32}", "");
        for batch in [1, 8] {
            for cpu in &cpus {
                print!("{:>18}", format!("batch {batch}, {} thr.", cpu.threads()));
            }
        }
        println!();
    }
    for &layer in LAYERS {
        let forward = Algorithm::candidates(&geometry(layer)).into_iter().map(Pass::Forward);
        for pass in forward.chain([Pass::Data, Pass::Filters]) {
            let name = name(layer, pass);
            if !words.iter().all(|word| name.contains(word)) {
                continue;
            }
            if !json {
                print!("{name:32}");
            }
            for batch in [1, 8] {
                for cpu in &cpus {
                    let mut run = pass.prepare(layer, batch, cpu);
                    let (gflops, peak) = measure(cpu, rounds, &mut run);
                    let share = 100.0 * gflops / peak;
                    if json {
                        println!(
                            "{{\"layer\": \"{name}\", \"batch\": {batch}, \"threads\": {}, \
                             \"gflops\": {gflops:.1}, \"peak\": {peak:.1}}}",
                            cpu.threads()
                        );
                    } else {
                        print!("{:>18}", format!("{gflops:.1} ({share:.0} %)"));
                    }
                }
            }
            if !json {
                println!();
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Forward(Algorithm),
    Data,
    Filters,
}

fn geometry((_, _, kernel, stride, padding, _): Layer) -> Geometry {
    Geometry { kernel, stride: (stride, stride), padding }
}

fn name((inputs, outputs, kernel, stride, _, size): Layer, pass: Pass) -> String {
    let stride = if stride == 1 { String::new() } else { format!("/{stride}") };
    let pass = match pass {
        Pass::Forward(algorithm) => algorithm.to_string(),
        Pass::Data => "data".to_owned(),
        Pass::Filters => "filters".to_owned(),
    };
    format!("{}×{}{stride} {inputs}→{outputs} @{size} {pass}", kernel.0, kernel.1)
}

/// A convolution to run again and again, and its floating-point operations.
struct Run<'a> {
    once: Box<dyn FnMut() + 'a>,
    flop: f64,
}

impl Pass {
    fn prepare(self, layer: Layer, pictures: usize, cpu: &Cpu) -> Run<'_> {
        let (inputs, outputs, kernel, stride, padding, size) = layer;
        let geometry = geometry(layer);
        // A row vector's picture is a single pixel high and wide.
        let output = |kernel: usize, padding: usize| (size + 2 * padding - kernel) / stride + 1;
        let input = (size, size);
        let output = (output(kernel.0, padding.0), output(kernel.1, padding.1));
        let layout = |channels: usize, (height, width), border| Layout {
            pictures,
            blocks: Channels::new(channels).blocks(),
            height,
            width,
            border,
        };
        let mut x_layout = layout(inputs, input, geometry.input_border(input, output));
        let dy_layout = layout(outputs, output, geometry.gradient_border(input, output));
        let y_layout = layout(outputs, output, Default::default());
        let dx_layout = layout(inputs, input, Default::default());
        let taps = kernel.0 * kernel.1;
        let macs = pictures * output.0 * output.1 * inputs * outputs * taps;
        let weights = noise(inputs * outputs * taps);
        let channels = Channels::new(inputs);
        let once: Box<dyn FnMut()> = match self {
            Pass::Forward(algorithm) => {
                let mut y = noise(y_layout.len());
                let bias = noise(y_layout.blocks * inception_kernels::LANES);
                let mut filters = Filters::with_algorithm(
                    &[Channels::new(outputs)],
                    &channels,
                    &geometry,
                    algorithm,
                )
                .expect("a candidate applies");
                filters.pack(cpu, &weights);
                x_layout.border = filters.source_border(&geometry, input, output);
                let x = noise(x_layout.len());
                Box::new(move || {
                    let x = View::new(&x, x_layout);
                    let floor = vec![inception_kernels::RELU; bias.len()];
                    let epilogue = Epilogue::Bias { bias: &bias, floor: &floor };
                    let y = &mut ViewMut::new(&mut y, y_layout);
                    conv::forward(cpu, x, &filters, &geometry, epilogue, std::slice::from_mut(y));
                })
            }
            Pass::Data => {
                let dy = noise(dy_layout.len());
                let mut dx = noise(dx_layout.len());
                let mut filters = Filters::backward(outputs, &channels, &geometry);
                filters.pack(cpu, &weights);
                Box::new(move || {
                    let dy = View::new(&dy, dy_layout);
                    let dx = &mut ViewMut::new(&mut dx, dx_layout);
                    conv::backward_data(cpu, dy, &filters, &geometry, false, dx);
                })
            }
            Pass::Filters => {
                let x = noise(x_layout.len());
                let dy = noise(y_layout.len());
                let mut dw = weights;
                let mut room = Scratch::new();
                Box::new(move || {
                    let (x, dy) = (View::new(&x, x_layout), View::new(&dy, y_layout));
                    let (room, dw) = (&mut room, &mut dw);
                    conv::backward_filters(cpu, x, &channels, dy, outputs, &geometry, room, dw);
                })
            }
        };
        Run { once, flop: 2.0 * macs as f64 }
    }
}

/// Values that are neither equal nor denormal.
fn noise(len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    let mut state = 1u32;
    for value in buffer.iter_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
    }
    buffer
}

/// GFLOP/s of the best turn, and the peak measured in between.
fn measure(cpu: &Cpu, rounds: usize, run: &mut Run) -> (f64, f64) {
    (run.once)();
    let (mut best, mut peak) = (0.0, 0.0);
    for _ in 0..rounds {
        peak = f64::max(peak, cpu.measure_peak() / 1e9);
        // Short ones several times, so that the clock's resolution does not matter.
        let start = Instant::now();
        let mut times = 0;
        while times == 0 || start.elapsed() < Duration::from_micros(300) {
            (run.once)();
            times += 1;
        }
        best = f64::max(best, run.flop * f64::from(times) / start.elapsed().as_nanos() as f64);
    }
    (best, peak)
}
