//! PyTorch's files (`torch.save`): a pickle that names tensors, and their values beside it.
//!
//! Since 1.6 a zip archive with `data.pkl` and one entry for each storage; before that five
//! pickles in a row and the storages after them (`torch/serialization.py`). The pickle is read as
//! data: a call of anything but the functions that rebuild tensors and plain containers is an
//! error, and nothing is ever called.

use std::collections::{HashMap, HashSet};

use crate::archive::Archive;
use crate::number::Number;
use crate::pickle::{Id, Pickle, Value};
use crate::{Array, Fault};

/// Reads the tensors of a state dict, of a training checkpoint that holds one, or of a whole
/// module, by their names in the module.
///
/// # Errors
///
/// If the file is damaged, wants to run something, or holds no tensors.
pub fn read(bytes: &[u8]) -> Result<Vec<Array>, Fault> {
    if bytes.starts_with(b"PK\x03\x04") { zipped(bytes) } else { legacy(bytes) }
}

fn zipped(bytes: &[u8]) -> Result<Vec<Array>, Fault> {
    const ROOT: &str = "data.pkl";
    let mut archive = Archive::open(bytes)?;
    let root = archive.names().find(|name| name.rsplit('/').next() == Some(ROOT));
    let Some(root) = root.map(|name| name.into_owned()) else {
        return Err(Fault::new("this zip archive has no `data.pkl`, so PyTorch did not write it"));
    };
    let folder = root.strip_suffix(ROOT).unwrap_or_default().to_owned();
    let order = format!("{folder}byteorder");
    if archive.names().any(|name| name == order) && archive.entry(&order)? != b"little" {
        return Err(Fault::new("its numbers are big-endian; save it again on another machine"));
    }
    let pickle = pickle(&archive.entry(&root)?)?;
    let mut storages = HashMap::new();
    for (key, _) in named_storages(&pickle)? {
        let content = archive.entry(&format!("{folder}data/{key}"))?;
        storages.insert(key, content);
    }
    Reader { pickle: &pickle, storages: &storages, left: bytes.len() }.arrays()
}

fn legacy(bytes: &[u8]) -> Result<Vec<Array>, Fault> {
    const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let mut at = 0;
    let mut next = || {
        let pickle = pickle(&bytes[at..])?;
        at += pickle.len;
        Ok::<_, Fault>((pickle, at))
    };
    let (magic, _) = next()?;
    if *magic.get(magic.root) != Value::BigInt(MAGIC.to_vec()) {
        return Err(Fault::new("this pickle is none that `torch.save` wrote"));
    }
    let (_version, _) = next()?;
    let (_machine, _) = next()?;
    let (pickle, _) = next()?;
    let (order, mut at) = next()?;
    let types: HashMap<String, Option<Number>> = named_storages(&pickle)?.into_iter().collect();
    let mut storages = HashMap::new();
    for &key in order.members(order.root).unwrap_or_default() {
        let key = order.text(key).unwrap_or_default();
        let fault = |reason| Fault::new(format!("storage `{key}`: {reason}"));
        let number = types.get(key).copied().flatten();
        let number = number.ok_or_else(|| fault("no tensor uses it, or its type is not known"))?;
        let rest = &bytes[at..];
        let (len, rest) =
            rest.split_first_chunk().ok_or_else(|| fault("the file ends before it"))?;
        let len = usize::try_from(i64::from_le_bytes(*len)).ok();
        let len = len.and_then(|len| len.checked_mul(number.size()));
        let content = len.and_then(|len| rest.get(..len));
        let content = content.ok_or_else(|| fault("the file ends within it"))?;
        at += 8 + content.len();
        storages.insert(key.to_owned(), content.to_vec());
    }
    Reader { pickle: &pickle, storages: &storages, left: bytes.len() }.arrays()
}

/// The pickle at the start of `bytes`, if all that it calls is harmless.
fn pickle(bytes: &[u8]) -> Result<Pickle, Fault> {
    let pickle = Pickle::read(bytes)?;
    for id in pickle.calls() {
        let Value::Call { callable, .. } = *pickle.get(id) else { continue };
        let name = pickle.global(callable);
        let name = name.ok_or_else(|| Fault::new("it calls what is no function"))?;
        if !is_harmless(&name) {
            return Err(Fault::new(format!(
                "it wants to call `{name}`, which no file of weights needs; nothing was run. \
                 If you trust it, load it in Python and save its state_dict() alone"
            )));
        }
    }
    Ok(pickle)
}

/// Keys and types of the storages that a pickle names.
fn named_storages(pickle: &Pickle) -> Result<Vec<(String, Option<Number>)>, Fault> {
    let mut seen = HashSet::new();
    let mut storages = Vec::new();
    for id in pickle.persistent().filter(|&id| !is_source(pickle, id)) {
        let (key, number) = storage(pickle, id)?;
        if seen.insert(key) {
            storages.push((key.to_owned(), number));
        }
    }
    Ok(storages)
}

/// Whether it refers to a module's class, with its source code: `('module', class, file, source)`
/// in whole modules of the older form.
fn is_source(pickle: &Pickle, persistent: Id) -> bool {
    let Value::Persistent(tuple) = *pickle.get(persistent) else { return false };
    let tag = pickle.members(tuple).and_then(|members| members.first());
    tag.is_some_and(|&tag| pickle.text(tag) == Some("module"))
}

/// `('storage', torch.FloatStorage, key, location, count, view)`.
fn storage(pickle: &Pickle, persistent: Id) -> Result<(&str, Option<Number>), Fault> {
    let damaged = || Fault::new("a reference to a storage is damaged");
    let Value::Persistent(tuple) = *pickle.get(persistent) else { return Err(damaged()) };
    let members = pickle.members(tuple).ok_or_else(damaged)?;
    let &[tag, class, key, ref rest @ ..] = members else { return Err(damaged()) };
    if pickle.text(tag) != Some("storage") {
        return Err(damaged());
    }
    if rest.get(2).is_some_and(|&view| *pickle.get(view) != Value::None) {
        return Err(Fault::new(
            "a storage is part of another one; save the file with a newer PyTorch",
        ));
    }
    let number = pickle.global(class).and_then(|class| match class.rsplit('.').next()? {
        "FloatStorage" => Some(Number::F32),
        "DoubleStorage" => Some(Number::F64),
        "HalfStorage" => Some(Number::F16),
        "BFloat16Storage" => Some(Number::Bf16),
        "LongStorage" => Some(Number::I64),
        "IntStorage" => Some(Number::I32),
        "ShortStorage" => Some(Number::I16),
        "CharStorage" => Some(Number::I8),
        "ByteStorage" | "BoolStorage" => Some(Number::U8),
        _ => None,
    });
    Ok((pickle.text(key).ok_or_else(damaged)?, number))
}

/// Functions that a pickle of weights may name; all others would be run by Python's reader to do
/// who knows what. Whole modules: `collections`' and `numpy`'s rebuild containers and arrays.
fn is_harmless(callable: &str) -> bool {
    const NAMES: [&str; 21] = [
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch.Size",
        "torch.device",
        "torch.serialization._get_layout",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.Counter",
        "argparse.Namespace",
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "_codecs.encode",
        "builtins.set",
        "builtins.bytearray",
        "__builtin__.set",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "datetime.datetime",
    ];
    const NUMPY: [&str; 3] = ["dtype", "scalar", "_reconstruct"];
    const MULTIARRAY: [&str; 3] = ["numpy", "numpy.core.multiarray", "numpy._core.multiarray"];
    let numpy = callable
        .rsplit_once('.')
        .is_some_and(|(module, name)| MULTIARRAY.contains(&module) && NUMPY.contains(&name));
    NAMES.contains(&callable) || numpy || callable.starts_with("torch.jit._pickle.")
}

/// Finds the tensors among a pickle's values.
struct Reader<'a> {
    pickle: &'a Pickle,
    storages: &'a HashMap<String, Vec<u8>>,
    /// Values that may still be made: tensors share storages, but not a thousandfold.
    left: usize,
}

impl Reader<'_> {
    fn arrays(mut self) -> Result<Vec<Array>, Fault> {
        let mut arrays = Vec::new();
        self.collect(self.state_dict(), &mut arrays)?;
        if arrays.is_empty() {
            return Err(Fault::new("it holds no tensors by name"));
        }
        strip_prefixes(&mut arrays);
        Ok(arrays)
    }

    /// The value that holds the network's tensors: in a training checkpoint one of its entries,
    /// the running average first, as timm does.
    fn state_dict(&self) -> Id {
        const KEYS: [&str; 7] = [
            "state_dict_ema",
            "model_ema",
            "state_dict",
            "model_state_dict",
            "model_state",
            "model",
            "net",
        ];
        let root = self.pickle.root;
        let Some(items) = self.items(root) else { return root };
        let entry = |key: &str| {
            let item = items.iter().find(|(k, _)| self.pickle.text(*k) == Some(key));
            item.map(|&(_, value)| value)
                .filter(|&value| self.items(value).is_some_and(|i| !i.is_empty()))
        };
        KEYS.into_iter().find_map(entry).unwrap_or(root)
    }

    /// Entries of a dictionary, or attributes of an object.
    fn items(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.pickle.get(id) {
            Value::Dict(items) => Some(items),
            Value::Call { items, .. } if !items.is_empty() => Some(items),
            Value::Call { state: Some(state), .. } => match self.pickle.get(*state) {
                Value::Dict(items) => Some(items),
                _ => None,
            },
            // An OrderedDict without content.
            Value::Call { items, callable, .. }
                if self.pickle.global(*callable).as_deref() == Some("collections.OrderedDict") =>
            {
                Some(items)
            }
            _ => None,
        }
    }

    /// All tensors below `root`, each by the keys that lead to it; a module's own containers
    /// (`_modules` and so on) are no part of the names. Every container is visited once.
    fn collect(&mut self, root: Id, arrays: &mut Vec<Array>) -> Result<(), Fault> {
        const INNER: [&str; 3] = ["_parameters", "_buffers", "_modules"];
        let pickle = self.pickle;
        let mut visited = HashSet::from([root]);
        let mut open = vec![(String::new(), root)];
        let mut names = HashSet::new();
        while let Some((prefix, id)) = open.pop() {
            let items = self.items(id).unwrap_or_default().to_vec();
            for (key, value) in items {
                let Some(key) = pickle.text(key) else { continue };
                // Names grow with the depth of the nesting: long ones are nobody's.
                if prefix.len() + key.len() > 512 {
                    return Err(Fault::new("its names are nested too deeply"));
                }
                let name = match (INNER.contains(&key), prefix.as_str()) {
                    (true, prefix) => prefix.to_owned(),
                    (false, "") => key.to_owned(),
                    (false, prefix) => format!("{prefix}.{key}"),
                };
                if let Some(tensor) = self.tensor_call(value) {
                    if !names.insert(name.clone()) {
                        return Err(Fault::new(format!("it has two tensors called `{name}`")));
                    }
                    let fault = |fault: Fault| Fault::new(format!("tensor `{name}`: {fault}"));
                    let (shape, values) = self.tensor(tensor).map_err(fault)?;
                    arrays.push(Array { name, shape, values });
                } else if self.items(value).is_some() && visited.insert(value) {
                    open.push((name, value));
                }
            }
        }
        Ok(())
    }

    /// The call that makes a tensor, inside the one that makes a parameter of it.
    fn tensor_call(&self, id: Id) -> Option<Id> {
        let Value::Call { callable, arguments, instance: false, .. } = *self.pickle.get(id) else {
            return None;
        };
        let inner = || self.pickle.members(arguments)?.first().copied();
        match self.pickle.global(callable)?.strip_prefix("torch._utils._rebuild_")? {
            "tensor" | "tensor_v2" | "tensor_v3" => Some(id),
            "parameter" | "parameter_with_state" => {
                // A parameter of a parameter is nothing that PyTorch writes: one step is enough.
                let inner = inner()?;
                let Value::Call { callable, .. } = *self.pickle.get(inner) else { return None };
                let name = self.pickle.global(callable)?;
                name.starts_with("torch._utils._rebuild_tensor").then_some(inner)
            }
            _ => None,
        }
    }

    /// Shape and values of `_rebuild_tensor…(storage, offset, size, stride, …)`.
    fn tensor(&mut self, call: Id) -> Result<(Vec<usize>, Vec<f32>), Fault> {
        let damaged = || Fault::new("the arguments it is made of are damaged");
        let pickle = self.pickle;
        let Value::Call { arguments, .. } = *pickle.get(call) else { return Err(damaged()) };
        let arguments = pickle.members(arguments).ok_or_else(damaged)?;
        let &[place, offset, size, stride, ref rest @ ..] = arguments else {
            return Err(damaged());
        };
        let (key, number) = storage(pickle, place)?;
        let number = number.or_else(|| pickle.global(*rest.get(2)?).and_then(|name| typed(&name)));
        let number = number.ok_or_else(|| Fault::new("its type is none that is read here"))?;
        let sizes = |id| -> Option<Vec<usize>> {
            pickle.members(id)?.iter().map(|&n| pickle.size(n)).collect()
        };
        let offset = pickle.size(offset).ok_or_else(damaged)?;
        let shape = sizes(size).ok_or_else(damaged)?;
        let strides = sizes(stride).ok_or_else(damaged)?;
        if shape.len() != strides.len() || shape.len() > 8 {
            return Err(damaged());
        }
        let beyond = || Fault::new("it reaches beyond its storage");
        let count =
            shape.iter().try_fold(1_usize, |n, &axis| n.checked_mul(axis)).ok_or_else(beyond)?;
        if count == 0 {
            return Ok((shape, Vec::new()));
        }
        let data = self.storages.get(key).ok_or_else(damaged)?;
        let last = shape
            .iter()
            .zip(&strides)
            .try_fold(offset, |last, (&n, &step)| last.checked_add((n - 1).checked_mul(step)?));
        let last = last.filter(|&last| last < data.len() / number.size()).ok_or_else(beyond)?;
        self.left = self.left.checked_sub(count.max(last + 1 - offset)).ok_or_else(|| {
            Fault::new("it and those before it have more values than the file could hold")
        })?;
        let values = number.widen(&data[offset * number.size()..(last + 1) * number.size()]);
        let values = gathered(values, &shape, &strides, count);
        Ok((shape, values))
    }
}

/// Values in the order of the shape, the last axis fastest.
fn gathered(values: Vec<f32>, shape: &[usize], strides: &[usize], count: usize) -> Vec<f32> {
    let mut step = 1;
    let contiguous = shape.iter().zip(strides).rev().all(|(&n, &stride)| {
        let fits = n == 1 || stride == step;
        step *= n;
        fits
    });
    if contiguous {
        return values;
    }
    let mut result = Vec::with_capacity(count);
    let mut index = vec![0; shape.len()];
    loop {
        result.push(values[index.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>()]);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return result;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// `torch.float32` and so on.
fn typed(name: &str) -> Option<Number> {
    Some(match name.strip_prefix("torch.")? {
        "float32" => Number::F32,
        "float64" => Number::F64,
        "float16" => Number::F16,
        "bfloat16" => Number::Bf16,
        "int64" => Number::I64,
        "uint64" => Number::U64,
        "int32" => Number::I32,
        "uint32" => Number::U32,
        "int16" => Number::I16,
        "uint16" => Number::U16,
        "int8" => Number::I8,
        "uint8" | "bool" => Number::U8,
        _ => return None,
    })
}

/// Wrappers around a network put their own name before all others: data parallelism, compilation,
/// Lightning.
fn strip_prefixes(arrays: &mut [Array]) {
    for prefix in ["module.", "_orig_mod.", "model.", "module."] {
        if arrays.iter().all(|array| array.name.starts_with(prefix)) {
            for array in &mut *arrays {
                array.name.drain(..prefix.len());
            }
        }
    }
}
