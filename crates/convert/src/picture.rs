//! Graphs that decode pictures themselves, as TensorFlow's of 2015 does: their preprocessing is
//! all there.

use std::collections::BTreeMap;

use inception_net::preprocessing::{Filter, Preprocessing, Protocol, Resize};

use crate::Range;

/// The numbers that a graph's own input holds, where the file's notes say so
/// ([`inception_formats::tensorflow::frozen::Frozen::notes`]).
pub(crate) fn range(notes: &BTreeMap<String, String>) -> Option<Range> {
    (notes.get("input")? == "picture").then_some(Range::Bytes)
}

/// Takes over the graph's resize, which samples the whole picture. One that no protocol of ours
/// is (nearest neighbour, area) stays undone.
pub(crate) fn resize(notes: &BTreeMap<String, String>, preprocessing: &mut Preprocessing) {
    let words: Vec<&str> = notes.get("resize").map_or(vec![], |text| text.split(' ').collect());
    let &[filter, grid, height, width] = &words[..] else { return };
    let filter = match filter {
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        _ => return,
    };
    let protocol = match grid {
        "corner" => Protocol::Tensorflow1,
        "align-corners" => Protocol::AlignCorners,
        _ => Protocol::Tensorflow2,
    };
    let (Ok(height), Ok(width)) = (height.parse(), width.parse()) else { return };
    if !protocol.has(filter) {
        return;
    }
    *preprocessing = Preprocessing {
        central: None,
        resize: Resize::Exact { height, width },
        protocol,
        filter,
        crop: None,
        ..preprocessing.clone()
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(resize: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("resize".to_owned(), resize.to_owned())])
    }

    #[test]
    fn a_graphs_own_resize_is_taken_over() {
        let before = Preprocessing::symmetric(342, (299, 299));
        let mut after = before.clone();
        resize(&notes("bilinear corner 299 280"), &mut after);
        assert_eq!(after.resize, Resize::Exact { height: 299, width: 280 });
        assert_eq!((after.protocol, after.crop), (Protocol::Tensorflow1, None));

        for unknown in ["area corner 299 299", "bicubic align-corners 9 9", "bilinear corner 9"] {
            let mut after = before.clone();
            resize(&notes(unknown), &mut after);
            assert_eq!(after, before, "{unknown}");
        }
        assert_eq!(range(&notes("bilinear corner 299 299")), None);
        let picture = BTreeMap::from([("input".to_owned(), "picture".to_owned())]);
        assert_eq!(range(&picture), Some(Range::Bytes));
    }
}
