//! `inception data`.

mod common;

use common::{Place, truncate};

/// The tiny network's 12×12 pixels, enlarged to 120; the heading and gaps around them.
const SHOWN: u32 = 120;
const GAP: u32 = 10;

fn sheet(place: &Place, name: &str) -> image::RgbImage {
    image::open(place.path(name)).unwrap().to_rgb8()
}

#[test]
fn a_sheet_has_a_row_for_each_picture_and_a_column_for_each_epoch() {
    let place = Place::new();
    place.photos();
    let show = ["data", "show", "photos", "--model", "tiny.toml", "--recipe", "recipe.toml"];
    let more = ["--pictures", "5", "--epochs", "3", "-o", "a.png"];
    let ran = place.run(&[&show[..], &more].concat()).succeeds();
    let rows: Vec<&str> = ran.out.lines().skip(2).collect();
    assert_eq!(rows.len(), 5, "{}", ran.out);
    for (row, class) in rows.iter().zip(["blue", "green", "red", "blue", "green"]) {
        assert!(row.contains(class), "{row}");
    }
    let a = sheet(&place, "a.png");
    assert_eq!(a.width(), GAP + 4 * (SHOWN + GAP));
    assert_eq!(a.height(), 2 * GAP + 16 + 5 * (SHOWN + 16 + GAP));
    // Blue, green, red in evaluation.
    for (row, channel) in [(0, 2), (1, 1), (2, 0)] {
        let y = 2 * GAP + 16 + row * (SHOWN + 16 + GAP) + SHOWN / 2;
        let pixel = a.get_pixel(GAP + SHOWN / 2, y).0;
        assert!(pixel.iter().all(|v| *v <= pixel[channel]), "{pixel:?}");
    }
    // The same again, and something else with another seed.
    place.run(&[&show[..], &more].concat()).misused().says(&["a.png", "--force"]);
    place.run(&[&show[..], &more[..4], &["-o", "b.png"]].concat()).succeeds();
    assert_eq!(place.read("a.png"), place.read("b.png"));
    place.run(&[&show[..], &more, &["--force", "--seed", "1"]].concat()).succeeds();
    assert_ne!(place.read("a.png"), place.read("b.png"));
}

#[test]
fn mixed_pictures_say_of_what() {
    let place = Place::new();
    place.photos();
    let recipe = common::RECIPE.replace("flip = 0.5", "flip = 0.5, mix = { mixup = 1.0 }");
    place.write("mixing.toml", &recipe);
    let show = ["data", "show", "photos", "--model", "tiny.toml", "--recipe", "mixing.toml"];
    place.run(&[&show[..], &["--pictures", "3", "--epochs", "2"]].concat()).succeeds();
    // Two lines under each picture.
    let height = 2 * GAP + 16 + 3 * (SHOWN + 2 * 16 + GAP);
    assert_eq!(sheet(&place, "sheet.png").height(), height);
    place.write("wrong.toml", recipe.replace("mixup = 1.0", "mixup = -1.0"));
    place
        .run(&["data", "show", "photos", "--recipe", "wrong.toml", "-o", "c.png"])
        .fails()
        .says(&["mixup", "-1"]);
}

#[test]
fn training_takes_every_kind_of_augmentation() {
    let place = Place::new();
    place.photos();
    let all = "flip = 0.5, rand_augment = { operations = 2, magnitude = 9 }, colour = 'slim', \
               erase = { probability = 0.25 }, mix = { mixup = 0.2, cutmix = 1.0 }";
    place.write("all.toml", common::RECIPE.replace("flip = 0.5", all));
    let train = ["train", "photos", "--model", "tiny.toml", "--recipe", "all.toml"];
    let run = |out: &str, threads: &str| {
        let more = ["--epochs", "2", "--out", out, "--threads", threads];
        place.run(&[&train[..], &more].concat()).succeeds();
        place.read(&format!("{out}/model.safetensors"))
    };
    assert_eq!(run("one", "1"), run("three", "3"));
}

#[test]
fn info_counts_by_class_and_names_what_cannot_be_read() {
    let place = Place::new();
    place.photos();
    let ran = place.run(&["data", "info", "photos"]).succeeds();
    let blue: Vec<&str> = ran.out.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(blue, ["blue", "8", "2", "0"]);
    truncate(&place.path("photos/red/3.png"), 0.5);
    let ran = place.run(&["data", "info", "photos"]);
    assert_eq!(ran.code, Some(1));
    ran.says(&["3.png"]);
}
