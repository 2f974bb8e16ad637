//! The arithmetic of convolutional networks on a CPU's vector units, forward and backward.
//!
//! Each operation takes views of blocked tensors ([`layout`]), splits its work over the threads of
//! a [`Cpu`] and runs the form compiled for that machine's instruction set. It knows no networks,
//! allocates no tensors, and every result is the same bits for any number of threads
//! and for any batch a picture is in.

mod border;
pub mod conv;
mod cores;
mod cpu;
pub mod depthwise;
mod epilogue;
pub mod layout;
pub mod lrn;
pub mod norm;
mod peak;
pub mod pointwise;
pub mod pool;
pub mod reference;
mod simd;
mod threads;

pub use cpu::{Cpu, CpuError, Isa};
pub use epilogue::{Epilogue, LINEAR, RELU};
pub use layout::{Border, Buffer, Channels, LANES, Layout, View, ViewMut};
