//! Minimal filtering and Strassen's product against the plain reference, on random geometry.

mod common;

use common::{Place, Placed, channels, check, check_batch, cpus, place, sum, to_lanes};
use inception_kernels::conv::{self, Algorithm, Epilogue, Filters, Geometry};
use inception_kernels::reference::{self, Tensor};
use inception_kernels::{Border, Channels, Cpu};
use proptest::prelude::*;

/// Largest error, as a share of the largest result, of an algorithm that amplifies rounding errors
/// by 1: the transforms cancel terms far larger than the result.
const TOLERANCE: f64 = 2e-6;

#[derive(Clone, Debug)]
struct Case {
    geometry: Geometry,
    algorithm: Algorithm,
    pictures: usize,
    inputs: Channels,
    outputs: usize,
    output: (usize, usize),
    x: Place,
    y: Place,
}

impl Case {
    fn input(&self) -> (usize, usize) {
        let Geometry { kernel, stride, padding } = self.geometry;
        let size = |output: usize, kernel: usize, stride: usize, padding: usize| {
            ((output - 1) * stride + kernel).saturating_sub(2 * padding).max(1)
        };
        (
            size(self.output.0, kernel.0, stride.0, padding.0),
            size(self.output.1, kernel.1, stride.1, padding.1),
        )
    }

    fn y_shape(&self) -> [usize; 4] {
        [self.pictures, self.outputs, self.output.0, self.output.1]
    }

    fn x_shape(&self) -> [usize; 4] {
        [self.pictures, self.inputs.count(), self.input().0, self.input().1]
    }

    fn w_shape(&self) -> [usize; 4] {
        [self.outputs, self.inputs.count(), self.geometry.kernel.0, self.geometry.kernel.1]
    }

    fn x_place(&self) -> Place {
        let border = self.geometry.input_border(self.input(), self.output);
        Place { border: self.x.border.union(border), ..self.x }
    }

    fn tolerance(&self) -> f64 {
        TOLERANCE * self.algorithm.amplification(&self.geometry).expect("a candidate applies")
    }

    fn filters(&self) -> Filters {
        let Case { outputs, inputs, geometry, algorithm, .. } = self;
        Filters::with_algorithm(&[Channels::new(*outputs)], inputs, geometry, *algorithm)
            .expect("a candidate applies")
    }
}

/// Taps, outputs of a tile, padding, outputs.
fn axis() -> impl Strategy<Value = (usize, usize, usize, usize)> {
    (1..=7usize, 2..=8usize, 0..=3usize, 1..=19usize).prop_map(|(taps, tile, padding, output)| {
        let tile = if taps == 1 { 1 } else { tile };
        let padding = padding.min(taps / 2);
        (taps, tile, padding, output.max(2 * padding + 2 - taps.min(2 * padding + 1)))
    })
}

fn case() -> impl Strategy<Value = Case> {
    let geometry = (axis(), axis()).prop_map(|(rows, columns)| {
        let geometry =
            Geometry { kernel: (rows.0, columns.0), stride: (1, 1), padding: (rows.2, columns.2) };
        let algorithm = Algorithm::Minimal { rows: rows.1, columns: columns.1 };
        (geometry, algorithm, (rows.3, columns.3))
    });
    let exists = |&(geometry, algorithm, _): &(Geometry, Algorithm, _)| {
        Filters::with_algorithm(&[Channels::new(1)], &Channels::new(1), &geometry, algorithm)
            .is_some()
    };
    let geometry = geometry.prop_filter("an algorithm that exists", exists);
    (geometry, 1..=3usize, channels(), 1..=70usize, place(), place()).prop_map(
        |((geometry, algorithm, output), pictures, inputs, outputs, x, y)| Case {
            geometry,
            algorithm,
            pictures,
            inputs,
            outputs,
            output,
            x,
            y,
        },
    )
}

/// At stride 2.
fn strided_case() -> impl Strategy<Value = Case> {
    let shape = (1..=3usize, channels(), 1..=70usize, (1..=15usize, 1..=15usize));
    let kernel = prop_oneof![Just(3usize), Just(5), Just(7)];
    (kernel, 0..=3usize, 1..=3usize, shape, place(), place()).prop_map(
        |(kernel, padding, tile, (pictures, inputs, outputs, output), x, y)| {
            let padding = padding.min(kernel / 2);
            let geometry =
                Geometry { kernel: (kernel, kernel), stride: (2, 2), padding: (padding, padding) };
            let algorithm = Algorithm::Minimal { rows: 2 * tile, columns: 2 * tile };
            let least = |output: usize| output.max(padding);
            let output = (least(output.0), least(output.1));
            Case { geometry, algorithm, pictures, inputs, outputs, output, x, y }
        },
    )
}

/// 1×1 filters, several targets' worth of outputs.
fn strassen_case() -> impl Strategy<Value = Case> {
    let shape = (1..=3usize, channels(), 1..=210usize, (1..=12usize, 1..=12usize));
    (1..=2u32, shape, place(), place()).prop_map(|(levels, shape, x, y)| {
        let (pictures, inputs, outputs, output) = shape;
        let geometry = Geometry { kernel: (1, 1), stride: (1, 1), padding: (0, 0) };
        let algorithm = Algorithm::Strassen { levels };
        Case { geometry, algorithm, pictures, inputs, outputs, output, x, y }
    })
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.data.iter().map(|&v| v as f32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forward(
        case in prop_oneof![case(), strided_case(), strassen_case()],
        bias in any::<bool>(),
        relu in any::<bool>(),
    ) {
        let x = Tensor::random(case.x_shape(), 1);
        let w = Tensor::random(case.w_shape(), 2);
        let b = Tensor::random([1, case.outputs, 1, 1], 3);
        let outputs = Channels::new(case.outputs);
        let mut y = reference::conv::forward(&x, &w, &case.geometry, case.output);
        if bias {
            for index in y.indices() {
                let sum = y[index] + b.data[index[1]];
                y[index] = if relu { sum.max(0.0) } else { sum };
            }
        }
        let input = Placed::new(&x, &case.inputs, case.x_place());
        let b = to_lanes(&b.data, &outputs);
        let floor = vec![if relu { inception_kernels::RELU } else { inception_kernels::LINEAR }; b.len()];
        let epilogue =
            if bias { Epilogue::Bias { bias: &b, floor: &floor } } else { Epilogue::Store };
        check(&y, case.tolerance(), &outputs, case.y, None, |cpu, y| {
            let mut filters = case.filters();
            filters.pack(cpu, &floats(&w));
            conv::forward(cpu, input.view(), &filters, &case.geometry, epilogue, std::slice::from_mut(y));
        });
    }

    #[test]
    fn backward_data(case in case(), wide in any::<bool>(), accumulate in any::<bool>()) {
        let Case { inputs, geometry, algorithm, .. } = &case;
        let filters = || {
            let filters = Filters::backward_with(case.outputs, inputs, geometry, *algorithm);
            filters.expect("padding below the kernel's size")
        };
        let dy = Tensor::random(case.y_shape(), 1);
        let w = Tensor::random(case.w_shape(), 2);
        let before = accumulate.then(|| Tensor::random(case.x_shape(), 3));
        let mut dx = reference::conv::backward_data(&dy, &w, &case.geometry, case.input());
        if let Some(before) = &before {
            dx = sum(&dx, before);
        }
        let outputs = Channels::new(case.outputs);
        let border = match wide {
            false => geometry.gradient_border(case.input(), case.output),
            true => filters().source_border(geometry, case.input(), case.output),
        };
        let place = Place { border: case.y.border.union(border), ..case.y };
        let gradient = Placed::new(&dy, &outputs, place);
        let tolerance = case.tolerance();
        check(&dx, tolerance, &case.inputs, case.x, before.as_ref(), |cpu, dx| {
            let mut filters = filters();
            filters.pack(cpu, &floats(&w));
            conv::backward_data(cpu, gradient.view(), &filters, geometry, accumulate, dx);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Windows that are copied first, for want of a border, have the same results to the bit.
    #[test]
    fn borders_do_not_matter(case in prop_oneof![case(), strided_case()]) {
        let x = Tensor::random(case.x_shape(), 1);
        let w = floats(&Tensor::random(case.w_shape(), 2));
        let outputs = Channels::new(case.outputs);
        let (narrow, mut filters) = (case.x_place(), case.filters());
        let border = filters.source_border(&case.geometry, case.input(), case.output);
        let wide = Place { border: narrow.border.union(border), ..narrow };
        for [_, cpu] in cpus() {
            filters.pack(&cpu, &w);
            let [a, b] = [narrow, wide].map(|place| {
                let x = Placed::new(&x, &case.inputs, place);
                let mut y = Placed::unwritten(case.y_shape(), &outputs, case.y);
                let y_view = &mut [y.view_mut()];
                conv::forward(&cpu, x.view(), &filters, &case.geometry, Epilogue::Store, y_view);
                y.checked()
            });
            prop_assert_eq!(a, b);
        }
    }
}

/// Each target's border and nothing else of its neighbours is zeroed, also where there is nothing to
/// compute.
#[test]
fn targets_have_borders_of_their_own() {
    let border = |top, right| Border { top, bottom: 1, left: 2, right };
    let places = [
        Place { before: 1, after: 0, border: Border::default() },
        Place { before: 0, after: 2, border: border(3, 0) },
        Place { before: 1, after: 1, border: border(0, 4) },
    ];
    let channels = [20, 5, 33].map(Channels::new);
    let algorithms = [
        Algorithm::Direct,
        Algorithm::Minimal { rows: 4, columns: 4 },
        Algorithm::Strassen { levels: 2 },
    ];
    let inputs = Channels::new(18);
    for (algorithm, (pictures, size)) in algorithms
        .into_iter()
        .flat_map(|algorithm| [(0, 5), (2, 0), (1, 1), (3, 9)].map(|sizes| (algorithm, sizes)))
    {
        let strassen = matches!(algorithm, Algorithm::Strassen { .. });
        let side = if strassen { 1 } else { 3 };
        let padding = (side / 2, side / 2);
        let geometry = Geometry { kernel: (side, side), stride: (1, 1), padding };
        let x = Tensor::random([pictures, 18, size, size], 1);
        let w = floats(&Tensor::random([58, 18, side, side], 2));
        let border = geometry.input_border((size, size), (size, size));
        let x = Placed::new(&x, &inputs, Place { border, ..common::PLAIN });
        for cpu in cpus().into_iter().flatten() {
            let mut filters =
                Filters::with_algorithm(&channels, &inputs, &geometry, algorithm).unwrap();
            filters.pack(&cpu, &w);
            let mut targets = [0, 1, 2].map(|i| {
                let shape = [pictures, channels[i].count(), size, size];
                Placed::unwritten(shape, &channels[i], places[i])
            });
            let mut views = targets.each_mut().map(Placed::view_mut);
            conv::forward(&cpu, x.view(), &filters, &geometry, Epilogue::Store, &mut views);
            targets.iter().for_each(|target| drop(target.checked()));
        }
    }
}

/// Enough tiles for several tasks, and for several threads.
#[test]
fn batches_do_not_matter() {
    type Row = ((usize, usize), usize, (usize, usize), usize);
    let rows: [Row; 8] = [
        ((7, 7), 2, (4, 4), 35),
        ((3, 3), 2, (0, 0), 35),
        ((1, 1), 1, (0, 2), 17),
        ((3, 3), 1, (6, 6), 35),
        ((3, 3), 2, (6, 6), 35),
        ((1, 7), 1, (1, 6), 17),
        ((7, 1), 1, (6, 1), 17),
        ((3, 3), 1, (2, 2), 8),
    ];
    for (kernel, stride, tile, size) in rows {
        let padding = (kernel.0 / 2, kernel.1 / 2);
        let geometry = Geometry { kernel, stride: (stride, stride), padding };
        let output = size.div_ceil(stride);
        let inputs = Channels::concat(&[Channels::new(20), Channels::new(40)]);
        let x = Tensor::random([5, 60, size, size], 1);
        let w = floats(&Tensor::random([100, 60, kernel.0, kernel.1], 2));
        let algorithm = match tile {
            (0, 0) => Algorithm::Product,
            (0, levels) => Algorithm::Strassen { levels: levels as u32 },
            (rows, columns) => Algorithm::Minimal { rows, columns },
        };
        let input = Place {
            border: geometry.input_border((size, size), (output, output)),
            ..common::PLAIN
        };
        check_batch(&x, &inputs, [5, 100, output, output], |cpu, view, y| {
            let mut filters =
                Filters::with_algorithm(&[Channels::new(100)], &inputs, &geometry, algorithm)
                    .unwrap();
            filters.pack(cpu, &w);
            let x = Placed::new(&Tensor::from_view(view, &inputs), &inputs, input);
            conv::forward(
                cpu,
                x.view(),
                &filters,
                &geometry,
                Epilogue::Store,
                std::slice::from_mut(y),
            );
        });
    }
}

#[test]
fn candidates() {
    let geometry = |kernel, stride| Geometry { kernel, stride: (stride, stride), padding: (0, 0) };
    let names = |geometry| {
        let candidates = Algorithm::candidates(&geometry);
        candidates.iter().map(Algorithm::to_string).collect::<Vec<_>>().join(" ")
    };
    let tiles = |most: usize| (2..=most).map(|n| format!(" F({n}×{n})")).collect::<String>();
    let direct_and = |most| format!("direct product{}", tiles(most));
    assert_eq!(names(geometry((3, 3), 1)), direct_and(7));
    let along_rows: String = (2..=9).map(|n| format!(" F(1×{n})")).collect();
    assert_eq!(names(geometry((1, 7), 1)), format!("direct product{along_rows}"));
    // Larger tiles would exceed the error budget.
    assert_eq!(names(geometry((5, 5), 1)), direct_and(6));
    assert_eq!(names(geometry((7, 7), 1)), direct_and(4));
    assert_eq!(names(geometry((3, 3), 2)), direct_and(8));
    assert_eq!(names(geometry((1, 1), 1)), "direct product Strassen Strassen²");
    assert_eq!(names(geometry((1, 1), 2)), "direct product");
    assert_eq!(names(geometry((5, 5), 2)), direct_and(7));
    assert_eq!(names(geometry((7, 7), 2)), direct_and(7));
}

#[test]
fn impossible_tiles_do_not_exist() {
    let geometry = Geometry { kernel: (3, 3), stride: (1, 1), padding: (0, 0) };
    for (rows, columns) in [(0, 4), (4, 1), (usize::MAX, 4), (4, usize::MAX - 1), (99, 99)] {
        let algorithm = Algorithm::Minimal { rows, columns };
        assert_eq!(algorithm.work(&geometry, (8, 8)), None, "{algorithm}");
        let one = Channels::new(1);
        let targets = std::slice::from_ref(&one);
        assert!(Filters::with_algorithm(targets, &one, &geometry, algorithm).is_none());
    }
}

/// A channel that overflows leaves NaN in the spare lanes beside it, which are nobody's.
#[test]
fn spare_lanes_are_not_mixed() {
    let geometry = Geometry { kernel: (1, 1), stride: (1, 1), padding: (0, 0) };
    let inputs = Channels::new(20);
    let x = Tensor::random([1, 20, 3, 3], 1);
    let w = Tensor::random([40, 20, 1, 1], 2);
    let y = reference::conv::forward(&x, &w, &geometry, (3, 3));
    let mut lanes = vec![f32::NAN; 2 * 9 * inception_kernels::LANES];
    for index in x.indices() {
        let [_, channel, row, column] = index;
        let at = (channel / 16 * 9 + row * 3 + column) * 16 + channel % 16;
        lanes[at] = x[index] as f32;
    }
    let layout = inception_kernels::Layout {
        pictures: 1,
        blocks: 2,
        height: 3,
        width: 3,
        border: Default::default(),
    };
    for algorithm in Algorithm::candidates(&geometry) {
        for [cpu, _] in cpus() {
            let targets = [Channels::new(40)];
            let filters = Filters::with_algorithm(&targets, &inputs, &geometry, algorithm);
            let mut filters = filters.expect("a candidate applies");
            filters.pack(&cpu, &floats(&w));
            let mut out = Placed::unwritten(y.shape, &targets[0], common::PLAIN);
            let view = inception_kernels::View::new(&lanes, layout);
            let views = &mut [out.view_mut()];
            conv::forward(&cpu, view, &filters, &geometry, Epilogue::Store, views);
            assert!(relative_error(&out.checked(), &y) < 1e-5);
        }
    }
}

#[test]
#[should_panic(expected = "no padding")]
fn strassens_product_has_no_padding() {
    let [cpu, _] = cpus().pop().unwrap();
    let plain = Geometry { kernel: (1, 1), stride: (1, 1), padding: (0, 0) };
    let (one, algorithm) = (Channels::new(1), Algorithm::Strassen { levels: 1 });
    let targets = std::slice::from_ref(&one);
    let filters = Filters::with_algorithm(targets, &one, &plain, algorithm);
    let mut filters = filters.expect("a candidate applies");
    filters.pack(&cpu, &[1.0]);
    let padded = Geometry { padding: (1, 1), ..plain };
    let x = Placed::new(
        &Tensor::random([1, 1, 4, 4], 1),
        &one,
        Place { border: padded.input_border((4, 4), (6, 6)), ..common::PLAIN },
    );
    let mut y = Placed::unwritten([1, 1, 6, 6], &one, common::PLAIN);
    let views = &mut [y.view_mut()];
    conv::forward(&cpu, x.view(), &filters, &padded, Epilogue::Store, views);
}

#[test]
fn algorithms_are_read_back() {
    let strassen = [1, 2].map(|levels| Algorithm::Strassen { levels });
    let others =
        [Algorithm::Direct, Algorithm::Minimal { rows: 1, columns: 6 }, Algorithm::Product];
    for algorithm in others.into_iter().chain(strassen) {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
    }
    assert_eq!("Strassen2".parse(), Ok(Algorithm::Strassen { levels: 2 }));
    assert_eq!("F(4x4)".parse(), Ok(Algorithm::Minimal { rows: 4, columns: 4 }));
    for text in ["", "F(4)", "F(4x)", "F(x4)", "winograd", "F(-1x2)", "Strassen3", "Strassen0"] {
        assert!(text.parse::<Algorithm>().is_err(), "{text}");
    }
}

/// What the error budget promises, on the family's kernels: the root of the mean squared error
/// stays below 3e-5 of that of the results, also where channels differ in size by 10⁶, where their
/// weights make up for that, where single pixels stand out by 10⁴, and where all is tiny or huge.
#[test]
fn the_error_budget_holds() {
    type Size = fn(usize, usize) -> f64;
    let scales: [(&str, Size); 5] = [
        ("even", |_, _| 1.0),
        ("channels", |channel, _| 10f64.powi((channel % 7) as i32 - 3)),
        ("spikes", |channel, pixel| if (channel + pixel).is_multiple_of(97) { 1e4 } else { 1.0 }),
        // The weights grow as the channels shrink, so that all have a say in the result.
        ("balanced", |channel, _| 10f64.powi((channel / 16 % 7) as i32 - 3)),
        ("tiny", |channel, _| if channel == 0 { 1e-20 } else { 1e-15 }),
    ];
    let rows: [((usize, usize), usize, usize, usize); 9] = [
        ((7, 7), 2, 3, 112),
        ((5, 5), 2, 32, 35),
        ((1, 1), 1, 768, 17),
        ((3, 3), 1, 96, 35),
        ((3, 3), 2, 288, 35),
        ((5, 5), 1, 48, 35),
        ((1, 7), 1, 192, 17),
        ((7, 1), 1, 128, 17),
        ((1, 3), 1, 384, 8),
    ];
    for (kernel, stride, channels, size) in rows {
        let padding = (kernel.0 / 2, kernel.1 / 2);
        let geometry = Geometry { kernel, stride: (stride, stride), padding };
        let output = (size.div_ceil(stride), size.div_ceil(stride));
        let inputs = Channels::new(channels);
        for (name, scale) in scales {
            let mut w = Tensor::random([64, channels, kernel.0, kernel.1], 2);
            if name == "balanced" {
                for index in w.indices() {
                    w[index] = f64::from((w[index] / scale(index[1], 0)) as f32);
                }
            }
            let mut x = Tensor::random([1, channels, size, size], 1);
            for index in x.indices() {
                x[index] = x[index].max(0.0) * scale(index[1], index[2] * size + index[3]);
            }
            let x = Tensor { data: floats(&x).into_iter().map(f64::from).collect(), ..x };
            let y = reference::conv::forward(&x, &w, &geometry, output);
            let border = geometry.input_border((size, size), output);
            let input = Placed::new(&x, &inputs, Place { border, ..common::PLAIN });
            for [cpu, _] in cpus() {
                for algorithm in Algorithm::candidates(&geometry) {
                    let found = computed(&cpu, &input, &w, &geometry, algorithm, y.shape);
                    let error = relative_error(&found, &y);
                    assert!(error < 3e-5, "{kernel:?} {algorithm}, {name}: {error:e}");
                }
            }
        }
    }
}

/// Every output keeps its digits, also one that reads small channels only, which stand beside large
/// ones that others read; at any size of all inputs. Zeros give zeros.
#[test]
fn outputs_of_small_channels_keep_their_digits() {
    let layers: [((usize, usize), usize); 4] = [((1, 1), 1), ((3, 3), 1), ((7, 1), 1), ((7, 7), 2)];
    let (inputs, small, size) = (Channels::new(72), 36, 14);
    for (kernel, stride) in layers {
        let padding = (kernel.0 / 2, kernel.1 / 2);
        let geometry = Geometry { kernel, stride: (stride, stride), padding };
        let output = (size / stride, size / stride);
        let mut w = Tensor::random([24, 72, kernel.0, kernel.1], 2);
        for index in w.indices() {
            if (index[0] < 8) != (index[1] >= small) {
                w[index] = 0.0;
            }
        }
        for scale in [1.0, 0.1, 8.0, 1e-18, 1e18, 0.0] {
            let mut x = Tensor::random([1, 72, size, size], 1);
            for index in x.indices() {
                let of_channel = if index[1] >= small { 1e-4 } else { 1.0 };
                x[index] = f64::from((x[index] * scale * of_channel) as f32);
            }
            let y = reference::conv::forward(&x, &w, &geometry, output);
            let border = geometry.input_border((size, size), output);
            let input = Placed::new(&x, &inputs, Place { border, ..common::PLAIN });
            for [cpu, _] in cpus() {
                for algorithm in Algorithm::candidates(&geometry) {
                    let found = computed(&cpu, &input, &w, &geometry, algorithm, y.shape);
                    for channel in [0, 7, 8, 23] {
                        let of_channel = |y: &Tensor| {
                            let pixels = output.0 * output.1;
                            let data = y.data[channel * pixels..][..pixels].to_vec();
                            Tensor { shape: [1, 1, output.0, output.1], data }
                        };
                        let (found, exact) = (of_channel(&found), of_channel(&y));
                        let what = format!("{cpu:?} {kernel:?} {algorithm}, ×{scale}, {channel}");
                        if scale == 0.0 {
                            assert!(found.data.iter().all(|&y| y == 0.0), "{what}");
                            continue;
                        }
                        // Channels that Strassen's product mixes lose digits to each other.
                        if matches!(algorithm, Algorithm::Strassen { .. }) {
                            continue;
                        }
                        let error = relative_error(&found, &exact);
                        let growth = algorithm.amplification(&geometry).unwrap();
                        assert!(error < 2e-6 * growth.max(2.0), "{what}: {error:e}");
                    }
                }
            }
        }
    }
}

/// The convolution of `x`, whose channels are in one run, by an algorithm that applies.
fn computed(
    cpu: &Cpu,
    x: &Placed,
    w: &Tensor,
    geometry: &Geometry,
    algorithm: Algorithm,
    shape: [usize; 4],
) -> Tensor {
    let (inputs, targets) = (Channels::new(w.shape[1]), [Channels::new(w.shape[0])]);
    let mut filters = Filters::with_algorithm(&targets, &inputs, geometry, algorithm).unwrap();
    filters.pack(cpu, &floats(w));
    let mut y = Placed::unwritten(shape, &targets[0], common::PLAIN);
    conv::forward(cpu, x.view(), &filters, geometry, Epilogue::Store, &mut [y.view_mut()]);
    y.checked()
}

/// ‖a − b‖ / ‖b‖.
fn relative_error(a: &Tensor, b: &Tensor) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = square(&mut a.data.iter().zip(&b.data).map(|(a, b)| a - b));
    (difference / square(&mut b.data.iter().copied())).sqrt()
}
