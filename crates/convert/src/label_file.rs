//! Files that name classes.

use std::collections::BTreeMap;

/// The classes' names in a text file: one a line in the order of the outputs, or the label map of
/// the graph of 2015 (`imagenet_2012_challenge_label_map_proto.pbtxt`), whose order is its own:
///
/// ```text
/// entry {
///   target_class: 449
///   target_class_string: "n01440764"
/// }
/// ```
///
/// Outputs that a map leaves out are `unused`, number 0 is `background`.
pub fn labels(text: &str) -> Vec<String> {
    map(text).unwrap_or_else(|| text.trim_end().lines().map(|l| l.trim().to_owned()).collect())
}

/// The names of a label map, if it is one.
fn map(text: &str) -> Option<Vec<String>> {
    /// More classes than any network has; a wrong number must not fill the memory.
    const MOST: usize = 1 << 20;
    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    let mut class = None;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        match line.split_once(':') {
            Some(("target_class", number)) => class = Some(number.trim().parse().ok()?),
            Some(("target_class_string", name)) => {
                names.insert(class.take()?, name.trim().trim_matches('"').to_owned());
            }
            _ => {}
        }
    }
    let last = *names.last_key_value()?.0;
    let name = |class| match (names.get(&class), class) {
        (Some(name), _) => name.clone(),
        (None, 0) => "background".to_owned(),
        (None, class) => format!("unused {class}"),
    };
    (last < MOST).then(|| (0..=last).map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_names() {
        assert_eq!(
            labels("n01 tench, fish\r\n n02: shark \n\n"),
            ["n01 tench, fish", "n02: shark"]
        );
        assert_eq!(labels(""), [""; 0]);
    }

    #[test]
    fn a_label_map_has_its_own_order() {
        let text = "# -*- protobuffer -*-\nentry {\n  target_class: 3\n  target_class_string: \"n01440764\"\n}\nentry {\n  target_class: 1\n  target_class_string: \"n01443537\"\n}\n";
        assert_eq!(labels(text), ["background", "n01443537", "unused 2", "n01440764"]);
    }

    #[test]
    fn what_is_no_map_is_lines() {
        for text in ["target_class: x", "target_class_string: \"a\"", "target_class: 1"] {
            assert_eq!(labels(text), [text]);
        }
        let vast = "target_class: 99999999999\ntarget_class_string: \"a\"";
        assert_eq!(labels(vast).len(), 2);
    }
}
