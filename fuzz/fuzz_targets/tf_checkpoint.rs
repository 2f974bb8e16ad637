//! TensorFlow's checkpoints: the table, then, as often as its index says, the data file.
#![no_main]

use inception_formats::tensorflow::checkpoint::{self, Checkpoint};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The last two bytes say how long the file of values before them is.
    let Some((rest, length)) = bytes.split_last_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (table, values) = rest.split_at(rest.len() - length);
    if let Ok(Checkpoint::Index(index)) = checkpoint::read(table)
        && index.shards() < 4
    {
        let _ = index.arrays(&vec![values; index.shards()]);
    }
});
