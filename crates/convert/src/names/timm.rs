//! timm's `inception_v3`: torchvision's names and arithmetic, pictures prepared its own way.
//!
//! All four of timm's variants run in one network (`timm/models/inception_v3.py`), which counts
//! padding as torchvision's does, the weights that came from TensorFlow included.

use inception_net::preprocessing::{Filter, Preprocessing, Protocol, Resize, Rounding};
use serde::Deserialize;

use super::{Found, Library, torchvision};

pub(super) const TIMM: Library = Library {
    name: "timm",
    recognise: |arrays| {
        let found = torchvision::recognise(arrays)?;
        let preprocessing = preprocessing(&Settings::default());
        let found = Found { preprocessing: found.preprocessing.or(preprocessing), ..found };
        (found.network == "inception-v3").then_some(found)
    },
    ..torchvision::TORCHVISION
};

/// `pretrained_cfg` of the `config.json` beside weights on the hub (`timm/models/_hub.py`).
#[derive(Deserialize)]
#[serde(default)]
struct Settings {
    input_size: (usize, usize, usize),
    interpolation: String,
    crop_pct: f64,
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Default for Settings {
    /// Those of `inception_v3.tv_in1k`.
    fn default() -> Self {
        Self {
            input_size: (3, 299, 299),
            interpolation: "bicubic".to_owned(),
            crop_pct: 0.875,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
        }
    }
}

/// What the settings beside the file say, if they are timm's.
pub(super) fn from_settings(text: &str) -> Option<Preprocessing> {
    #[derive(Deserialize)]
    struct Config {
        pretrained_cfg: Settings,
    }
    preprocessing(&serde_json::from_str::<Config>(text).ok()?.pretrained_cfg)
}

/// `timm/data/transforms_factory.py`, `transforms_imagenet_eval` with the crop mode "center".
fn preprocessing(settings: &Settings) -> Option<Preprocessing> {
    let (3, height, width) = settings.input_size else { return None };
    let filter = match settings.interpolation.as_str() {
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        "lanczos" => Filter::Lanczos,
        _ => return None,
    };
    let sound = settings.mean.len() == 3 && settings.std.len() == 3 && settings.crop_pct > 0.0;
    let before = |side: usize| (side as f64 / settings.crop_pct).floor() as usize;
    let resize = match height == width {
        true => Resize::Shorter(before(height)),
        false => Resize::Exact { height: before(height), width: before(width) },
    };
    sound.then(|| Preprocessing {
        resize,
        filter,
        protocol: Protocol::Pil,
        rounding: Rounding::Even,
        mean: settings.mean.clone(),
        std: settings.std.clone(),
        ..Preprocessing::symmetric(0, (height, width))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_beside_the_file_are_taken() {
        let text = r#"{"architecture": "inception_v3", "num_classes": 1000, "pretrained_cfg": {
            "input_size": [3, 299, 299], "interpolation": "bicubic", "crop_pct": 0.875,
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "tag": "gluon_in1k"}}"#;
        let p = from_settings(text).unwrap();
        assert_eq!(p.mean, [0.485, 0.456, 0.406]);
        assert_eq!((p.resize, p.crop), (Resize::Shorter(341), Some((299, 299))));
        assert_eq!((p.filter, p.protocol), (Filter::Bicubic, Protocol::Pil));
    }

    #[test]
    fn other_programs_settings_are_not() {
        for text in [
            "",
            "[]",
            r#"{"model_type": "bert"}"#,
            r#"{"pretrained_cfg": {"crop_pct": 0}}"#,
            r#"{"pretrained_cfg": {"mean": [1]}}"#,
            r#"{"pretrained_cfg": {"interpolation": "nearest"}}"#,
        ] {
            assert_eq!(from_settings(text), None, "{text}");
        }
    }
}
