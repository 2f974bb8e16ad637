//! TensorFlow.js' layers-models: the description and, after the first zero byte, every shard.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (model, shard) = bytes.split_at(end);
    let shard = shard.get(1..).unwrap_or_default();
    let _ = inception_formats::tfjs::read(model, |_| Ok(shard.to_vec()));
});
