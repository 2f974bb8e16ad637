//! The classes' names.

use crate::ImportError;

/// A name for each class: those given, or numbers. A thousand names given for 1001 classes are
/// ImageNet's: TF-slim's networks have a background class before them. The graph of 2015 has that
/// class too, then the thousand in an order of its own, which its label map knows
/// ([`crate::labels`]), and seven outputs that were never trained.
pub fn fitting(given: Option<&[String]>, classes: usize) -> Result<Vec<String>, ImportError> {
    let Some(given) = given else {
        return Ok((0..classes).map(|class| format!("class {class}")).collect());
    };
    match (given.len(), classes) {
        (found, classes) if found == classes => Ok(given.to_vec()),
        (1000, 1001) => {
            let mut labels = vec!["background".to_owned()];
            labels.extend(given.iter().cloned());
            Ok(labels)
        }
        (1001, 1008) => {
            let mut labels = given.to_vec();
            labels.extend((1001..classes).map(|class| format!("unused {class}")));
            Ok(labels)
        }
        (found, classes) => Err(ImportError::Labels { found, classes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenets_thousand_fit_the_larger_heads() {
        let names: Vec<String> = (0..1000).map(|i| format!("n{i}")).collect();
        assert_eq!(fitting(Some(&names), 1000).unwrap(), names);
        let slim = fitting(Some(&names), 1001).unwrap();
        assert_eq!(
            (slim.len(), slim[0].as_str(), slim[1000].as_str()),
            (1001, "background", "n999")
        );
        // The thousand's usual order is not that of 2015's outputs.
        assert!(fitting(Some(&names), 1008).is_err());
        let map: Vec<String> = (0..1001).map(|i| format!("n{i}")).collect();
        let oldest = fitting(Some(&map), 1008).unwrap();
        assert_eq!((oldest.len(), oldest[1000].as_str()), (1008, "n1000"));
        assert_eq!(oldest[1007], "unused 1007");
        assert!(fitting(Some(&names), 999).is_err());
        assert_eq!(fitting(None, 2).unwrap(), ["class 0", "class 1"]);
    }
}
