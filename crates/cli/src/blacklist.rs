//! Pictures that are not to be judged by.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use inception_image::Sample;
use inception_image::dataset::Source;

/// Pictures that a file lists, a line each: by file name, or by number as ImageNet's
/// `ILSVRC2014_clsloc_validation_blacklist.txt` does (17 is `ILSVRC2012_val_00000017.JPEG`).
pub struct Blacklist {
    names: HashSet<String>,
    numbers: HashSet<u64>,
}

impl Blacklist {
    /// Reads the file. Empty lines and those that begin with `#` say nothing.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the blacklist {}", path.display()))?;
        let blacklist = Self::parse(&text);
        if blacklist.names.is_empty() && blacklist.numbers.is_empty() {
            bail!("{} lists no pictures; write a file name or number a line", path.display());
        }
        Ok(blacklist)
    }

    fn parse(text: &str) -> Self {
        let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        for line in lines {
            match line.parse() {
                Ok(number) => {
                    numbers.insert(number);
                }
                Err(_) => {
                    names.insert(line.to_owned());
                }
            }
        }
        Self { names, numbers }
    }

    /// Whether the picture of this file is listed.
    fn has(&self, path: &Path) -> bool {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned());
        let (name, stem) = (text(path.file_name()), text(path.file_stem()));
        // The number at the name's end, after `_val_` or alone.
        let number = stem.as_deref().and_then(|stem| {
            let digits = stem.rsplit_once("_val_").map_or(stem, |(_, digits)| digits);
            digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
        });
        [name, stem].into_iter().flatten().any(|name| self.names.contains(&name))
            || number.is_some_and(|number| self.numbers.contains(&number))
    }

    /// Takes the listed pictures out; how many they were.
    pub fn exclude(&self, samples: &mut Vec<Sample>) -> usize {
        let before = samples.len();
        samples.retain(|sample| match &sample.source {
            Source::File(path) => !self.has(path),
            Source::Memory { number, .. } => !self.numbers.contains(&(*number as u64)),
        });
        before - samples.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_number_and_by_name() {
        let list = Blacklist::parse("36\n50000\n\n# mislabelled\ncat.jpg\n  dog\n");
        for listed in [
            "val/n01440764/ILSVRC2012_val_00000036.JPEG",
            "ILSVRC2012_val_00050000.JPEG",
            "36.png",
            "x/cat.jpg",
            "x/dog.webp",
        ] {
            assert!(list.has(Path::new(listed)), "{listed}");
        }
        for other in [
            "ILSVRC2012_val_00000360.JPEG",
            "ILSVRC2012_val_00000037.JPEG",
            "cat.png",
            "img36.png",
            "n36/a.jpg",
            "+36.png",
        ] {
            assert!(!list.has(Path::new(other)), "{other}");
        }
    }
}
