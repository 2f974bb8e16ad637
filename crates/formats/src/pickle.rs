//! Python's pickles, read as data.
//!
//! A pickle is a program for a little stack machine, and Python's own reader calls whatever
//! functions it names. This one keeps such a call as a value ([`Value::Call`]) and runs nothing.
//! Opcodes: CPython's `Lib/pickletools.py`, protocols 0 to 5.

use std::collections::HashMap;

use crate::Fault;

/// A value's place in [`Pickle`]; values may be shared and may contain themselves.
pub type Id = usize;

/// A Python value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// Any larger integer's two's complement, little-endian.
    BigInt(Vec<u8>),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes, and protocol 2's text that is no UTF-8.
    Bytes(Vec<u8>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list, set or frozen set.
    List(Vec<Id>),
    /// A dictionary, in the order of insertion.
    Dict(Vec<(Id, Id)>),
    /// A class or function by module and name.
    Global(String, String),
    /// What a function would have returned, had it been called.
    Call {
        /// A [`Value::Global`], if the file is in order.
        callable: Id,
        /// A tuple, if the file is in order.
        arguments: Id,
        /// What was given to the object afterwards: `__setstate__`, or items set.
        state: Option<Id>,
        /// Key–value pairs set on the object (an `OrderedDict`'s content).
        items: Vec<(Id, Id)>,
        /// Whether it is an instance of a class made without calling anything but `__new__`.
        instance: bool,
    },
    /// A reference to something outside the pickle.
    Persistent(Id),
}

/// A pickle's values.
#[derive(Clone, Debug)]
pub struct Pickle {
    values: Vec<Value>,
    /// The value that the pickle is of.
    pub root: Id,
    /// Bytes that it took.
    pub len: usize,
}

impl Pickle {
    /// Reads the pickle at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// If it is damaged, or uses what no file of weights needs.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut machine = Machine {
            bytes,
            at: 0,
            values: vec![],
            stack: vec![],
            marks: vec![],
            memo: HashMap::new(),
        };
        let root = machine.run()?;
        Ok(Self { values: machine.values, root, len: machine.at })
    }

    /// The value at a place.
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }

    /// Its text, where it is text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, where it is one that cannot be negative.
    pub fn size(&self, id: Id) -> Option<usize> {
        match *self.get(id) {
            Value::Int(n) => usize::try_from(n).ok(),
            _ => None,
        }
    }

    /// Members of a tuple or list.
    pub fn members(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(members) | Value::List(members) => Some(members),
            _ => None,
        }
    }

    /// `module.name` of a global.
    pub fn global(&self, id: Id) -> Option<String> {
        match self.get(id) {
            Value::Global(module, name) => Some(format!("{module}.{name}")),
            _ => None,
        }
    }

    /// All references to the outside, in the order in which they stand in it.
    pub fn persistent(&self) -> impl Iterator<Item = Id> {
        (0..self.values.len()).filter(|&id| matches!(self.get(id), Value::Persistent(_)))
    }

    /// All calls of the pickle, in the order in which they stand in it.
    pub fn calls(&self) -> impl Iterator<Item = Id> {
        let is_call = |&id: &Id| matches!(self.get(id), Value::Call { instance: false, .. });
        (0..self.values.len()).filter(is_call)
    }
}

/// The stack machine.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at which marks stand.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, Fault> {
        loop {
            let op = self.take(1)?[0];
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
        }
    }

    /// One instruction.
    fn step(&mut self, op: u8) -> Result<(), Fault> {
        match op {
            // Protocol and frames: nothing to do.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool(op == 0x88)),
            b'K' => self.number::<1>(|b| b[0].into())?,
            b'M' => self.number(|b| u16::from_le_bytes(b).into())?,
            b'J' => self.number(|b| i32::from_le_bytes(b).into())?,
            b'I' | b'L' => self.decimal(op)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(value));
            }
            b'F' => {
                let value = self.line()?.parse().map_err(|_| self.fault("a number is expected"))?;
                self.push(Value::Float(value));
            }
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            b'U' => self.old_text(1)?,
            b'T' => self.old_text(4)?,
            b'V' => {
                let text = self.line()?.to_owned();
                self.push(Value::Text(text));
            }
            b'S' => {
                let line = self.line()?;
                let text = line.trim_matches(['\'', '"']).to_owned();
                self.push(Value::Text(text));
            }
            b'B' => self.binary(4)?,
            b'C' => self.binary(1)?,
            0x8e | 0x96 => self.binary(8)?,
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => self.short_tuple(usize::from(op - 0x84))?,
            b't' => self.collect(Value::Tuple)?,
            b']' | 0x8f => self.push(Value::List(Vec::new())),
            b'l' | 0x91 => self.collect(Value::List)?,
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_mark()?;
                let pairs = self.pairs(&items)?;
                self.push(Value::Dict(pairs));
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![(key, value)])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                let pairs = self.pairs(&items)?;
                self.set(pairs)?;
            }
            b'p' | b'q' | b'r' | 0x94 => self.remember(op)?,
            b'g' | b'h' | b'j' => self.recall(op)?,
            b'c' => {
                let (module, name) = (self.line()?.to_owned(), self.line()?.to_owned());
                self.push(Value::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.values[module], &self.values[name]) {
                    // Longer ones would be copies of copies: no name is.
                    (Value::Text(module), Value::Text(name))
                        if module.len() + name.len() <= 256 =>
                    {
                        let global = Value::Global(module.clone(), name.clone());
                        self.push(global);
                    }
                    _ => return Err(self.fault("a global's name is no name")),
                }
            }
            b'R' => self.call(false)?,
            0x81 => self.call(true)?,
            0x92 => {
                // Named arguments of __new__ say nothing about weights.
                self.pop()?;
                self.call(true)?;
            }
            b'i' | b'o' => self.old_instance(op)?,
            b'b' => self.build()?,
            b'P' => {
                let text = self.line()?.to_owned();
                self.push(Value::Text(text));
                let id = self.pop()?;
                self.push(Value::Persistent(id));
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id));
            }
            other => {
                return Err(
                    self.fault(format!("opcode {other:#04x} is none that files of weights use"))
                );
            }
        }
        Ok(())
    }

    fn fault(&self, reason: impl std::fmt::Display) -> Fault {
        Fault::new(format!("the pickle is damaged at byte {}: {reason}", self.at))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or_else(|| self.fault("it ends too early"))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A little-endian length of so many bytes, then as many bytes as it says.
    fn counted(&mut self, width: usize) -> Result<&'a [u8], Fault> {
        let mut len = [0; 8];
        len[..width].copy_from_slice(self.take(width)?);
        let len = usize::try_from(u64::from_le_bytes(len)).unwrap_or(usize::MAX);
        self.take(len)
    }

    /// Text up to the end of its line.
    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = end.map(|end| &rest[..end]).ok_or_else(|| self.fault("a line has no end"))?;
        self.at += line.len() + 1;
        std::str::from_utf8(line).map_err(|_| self.fault("a line is no UTF-8"))
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn top(&self) -> Result<Id, Fault> {
        self.stack.last().copied().ok_or_else(|| self.fault("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let id = self.top()?;
        self.stack.pop();
        // Popping below a mark takes the mark away with it.
        while self.marks.last().is_some_and(|&mark| mark > self.stack.len()) {
            self.marks.pop();
        }
        Ok(id)
    }

    /// All above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| self.fault("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn number<const N: usize>(&mut self, number: fn([u8; N]) -> i64) -> Result<(), Fault> {
        let value = number(self.array()?);
        self.push(Value::Int(value));
        Ok(())
    }

    /// Protocol 0's integers; `I01` and `I00` are its booleans.
    fn decimal(&mut self, op: u8) -> Result<(), Fault> {
        let line = self.line()?;
        let value = match (op, line) {
            (b'I', "01") => Value::Bool(true),
            (b'I', "00") => Value::Bool(false),
            _ => match line.trim_end_matches('L').parse() {
                Ok(value) => Value::Int(value),
                Err(_) => return Err(self.fault("an integer is expected")),
            },
        };
        self.push(value);
        Ok(())
    }

    fn long(&mut self, width: usize) -> Result<(), Fault> {
        let digits = self.counted(width)?;
        let value = if digits.len() > 8 {
            Value::BigInt(digits.to_vec())
        } else {
            let negative = digits.last().is_some_and(|&byte| byte & 0x80 != 0);
            let mut bytes = [if negative { 0xff } else { 0 }; 8];
            bytes[..digits.len()].copy_from_slice(digits);
            Value::Int(i64::from_le_bytes(bytes))
        };
        self.push(value);
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), Fault> {
        let bytes = self.counted(width)?;
        // Python allows lone surrogates here; no name of a tensor has any.
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    /// Python 2's `str`, which is text or bytes as it comes.
    fn old_text(&mut self, width: usize) -> Result<(), Fault> {
        let bytes = self.counted(width)?;
        let value = match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(bytes.to_vec()),
        };
        self.push(value);
        Ok(())
    }

    fn binary(&mut self, width: usize) -> Result<(), Fault> {
        let bytes = self.counted(width)?.to_vec();
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    fn short_tuple(&mut self, len: usize) -> Result<(), Fault> {
        let mut members = Vec::new();
        for _ in 0..len {
            members.push(self.pop()?);
        }
        members.reverse();
        self.push(Value::Tuple(members));
        Ok(())
    }

    fn collect(&mut self, value: fn(Vec<Id>) -> Value) -> Result<(), Fault> {
        let members = self.pop_mark()?;
        self.push(value(members));
        Ok(())
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
        match items.as_chunks::<2>() {
            (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
            _ => Err(self.fault("a dictionary has a key without a value")),
        }
    }

    fn append(&mut self, new: Vec<Id>) -> Result<(), Fault> {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::List(members) => members.extend(new),
            // Subclasses of list: their content is of no interest, their presence no fault.
            Value::Call { .. } => {}
            _ => return Err(self.fault("something is appended to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, new: Vec<(Id, Id)>) -> Result<(), Fault> {
        let dict = self.top()?;
        match &mut self.values[dict] {
            Value::Dict(items) | Value::Call { items, .. } => items.extend(new),
            _ => return Err(self.fault("an item is set on what is no dictionary")),
        }
        Ok(())
    }

    fn remember(&mut self, op: u8) -> Result<(), Fault> {
        let key = match op {
            b'p' => self.line()?.parse().map_err(|_| self.fault("a memo's number is expected"))?,
            b'q' => self.take(1)?[0].into(),
            b'r' => u32::from_le_bytes(self.array()?).into(),
            _ => self.memo.len() as u64,
        };
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, op: u8) -> Result<(), Fault> {
        let key = match op {
            b'g' => self.line()?.parse().map_err(|_| self.fault("a memo's number is expected"))?,
            b'h' => self.take(1)?[0].into(),
            _ => u32::from_le_bytes(self.array()?).into(),
        };
        let id = self.memo.get(&key).copied();
        let id = id.ok_or_else(|| self.fault("it recalls what it never stored"))?;
        self.stack.push(id);
        Ok(())
    }

    fn call(&mut self, instance: bool) -> Result<(), Fault> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        self.push(Value::Call { callable, arguments, state: None, items: Vec::new(), instance });
        Ok(())
    }

    /// Protocol 0's instances: a class by name, arguments above a mark.
    fn old_instance(&mut self, op: u8) -> Result<(), Fault> {
        let mut arguments = self.pop_mark()?;
        let callable = if op == b'i' {
            let (module, name) = (self.line()?.to_owned(), self.line()?.to_owned());
            self.values.push(Value::Global(module, name));
            self.values.len() - 1
        } else if arguments.is_empty() {
            return Err(self.fault("an instance has no class"));
        } else {
            arguments.remove(0)
        };
        self.values.push(Value::Tuple(arguments));
        let arguments = self.values.len() - 1;
        // These may call the class, unlike __new__.
        self.push(Value::Call {
            callable,
            arguments,
            state: None,
            items: Vec::new(),
            instance: false,
        });
        Ok(())
    }

    fn build(&mut self) -> Result<(), Fault> {
        let new = self.pop()?;
        let object = self.top()?;
        // Attributes set on a plain value are nothing that weights depend on.
        if let Value::Call { state, .. } = &mut self.values[object] {
            *state = Some(new);
        }
        Ok(())
    }
}
