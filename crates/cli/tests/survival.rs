//! Runs that are killed at any moment, and disks that are full at any write: nothing is lost.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::Place;
use inception_train::{CHECKPOINT_FILE, Checkpoint};

const KILLS: usize = 500;

/// A checkpoint after every step, so that most kills meet one being written.
const TRAIN: [&str; 8] = [
    "train",
    "photos",
    "--model",
    "tiny.toml",
    "--recipe",
    "recipe.toml",
    "--checkpoint-every",
    "0",
];

fn start(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Steps done according to the folder's checkpoint, which has to be readable if there is one.
fn steps(folder: &Path) -> Option<u64> {
    let path = folder.join(CHECKPOINT_FILE);
    path.exists().then(|| Checkpoint::load(&path).unwrap().run.steps)
}

/// Runs killed after random times and resumed, with one and two threads in turn, until each has
/// ended with the very model of a run that nobody disturbed.
#[test]
fn five_hundred_kills_lose_nothing() {
    let place = Place::new();
    place.photos();
    place.run(&[&TRAIN[..], &["--out", "whole"]].concat()).succeeds();
    let whole = place.read("whole/model.safetensors");
    let mut state = 1_u64;
    let (mut kills, mut runs, mut within) = (0, 0, 0);
    while kills < KILLS {
        let name = format!("run{runs}");
        let folder = place.path(&name);
        let mut before = None;
        loop {
            let threads = ["1", "2"][kills % 2];
            let begin = [&TRAIN[..], &["--out", &name, "--threads", threads]].concat();
            let resume =
                ["train", "--resume", &name, "--checkpoint-every", "0", "--threads", threads];
            let mut child = start(&place, if before.is_none() { &begin } else { &resume });
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            sleep(Duration::from_micros((state >> 33) % 40_000));
            if child.try_wait().unwrap().is_some() {
                break;
            }
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            kills += 1;
            let after = steps(&folder);
            assert!(after >= before, "{before:?} steps before a kill, {after:?} after it");
            within += usize::from(after.is_some_and(|steps| steps % 3 != 0));
            before = after;
            if after.is_none() && folder.exists() {
                // Killed before there was anything to lose.
                fs::remove_dir_all(&folder).unwrap();
            }
        }
        assert!(whole == place.read(&format!("{name}/model.safetensors")), "{name}: other bytes");
        runs += 1;
    }
    eprintln!("{kills} kills over {runs} runs, {within} of them within an epoch");
    assert!(runs > 1 && within > 0);
}

/// Trains on a file system of `$1` kilobytes; if that is too little, goes on with more room.
/// Ends with 0 if there was room, 10 if there was not and nothing was lost.
const FULL_DISK: &str = r#"
mount -t tmpfs -o size="$1"k none disk || exit 99
inception=$2
shift 2
"$inception" "$@" --out disk/run > out.txt 2> err.txt
code=$?
mount -o remount,size=64m disk || exit 99
[ $code = 0 ] && { cmp disk/run/model.safetensors whole/model.safetensors || exit 90; exit 0; }
grep -q '^error: ' err.txt || exit 91
grep -q panicked err.txt && exit 92
if [ -e disk/run/checkpoint.safetensors ]; then
    "$inception" train --resume disk/run > out.txt 2>> err.txt || {
        # Only a file that nobody needs was missing.
        grep -q 'behind it already' err.txt || exit 93
    }
else
    rm -rf disk/run
    "$inception" "$@" --out disk/run > out.txt 2>> err.txt || exit 94
fi
cmp disk/run/model.safetensors whole/model.safetensors || exit 95
exit 10
"#;

#[test]
fn a_full_disk_at_every_write_loses_nothing() {
    let place = Place::new();
    place.photos();
    place.run(&[&TRAIN[..], &["--out", "whole"]].concat()).succeeds();
    fs::create_dir(place.path("disk")).unwrap();
    let mut full = 0;
    for pages in 1.. {
        let kilobytes = (4 * pages).to_string();
        let mut command = place.shell("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", FULL_DISK, "sh"]);
        command.args([&kilobytes, env!("CARGO_BIN_EXE_inception")]).args(TRAIN);
        let output = match command.output() {
            Ok(output) if output.status.code() != Some(99) && full + 1 == pages => output,
            _ if full == 0 => {
                eprintln!("skipped: no small file system can be made here (unshare, mount)");
                return;
            }
            other => panic!("{kilobytes} kB: {other:?}"),
        };
        match output.status.code() {
            Some(0) => break,
            Some(10) => full += 1,
            code => panic!("{kilobytes} kB: {code:?}\n{}", place.text("err.txt")),
        }
    }
    eprintln!("{full} disks that were full, none lost");
    assert!(full > 20);
}
