//! Recipes that come with the program, each a file to be read, edited and passed back.

use crate::Recipe;

/// A recipe by name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// What it is asked for by.
    pub name: &'static str,
    /// Its TOML with comments; the first line says what it is for.
    pub text: &'static str,
}

macro_rules! presets {
    ($($name:literal),*) => {
        &[$(Preset { name: $name, text: include_str!(concat!("../recipes/", $name, ".toml")) }),*]
    };
}

impl Preset {
    /// All of them.
    pub const ALL: &[Preset] = presets![
        "paper",
        "tf-slim",
        "googlenet",
        "finetune",
        "small-data",
        "small-pictures",
        "embedded"
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Preset> {
        Self::ALL.iter().find(|preset| preset.name == name)
    }

    /// What it is for, in a line.
    pub fn summary(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches('#').trim()
    }

    /// The recipe. A test reads every preset.
    pub fn recipe(&self) -> Recipe {
        Recipe::from_toml(self.text).expect("a preset is a recipe")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Averaging, Decay, Rule};

    #[test]
    fn every_preset_is_a_recipe_and_says_what_for() {
        for preset in Preset::ALL {
            let recipe = Recipe::from_toml(preset.text);
            let recipe = recipe.unwrap_or_else(|error| panic!("{}: {error}", preset.name));
            assert_eq!(Recipe::from_toml(&recipe.to_toml()).unwrap(), recipe, "{}", preset.name);
            assert!(preset.summary().len() > 20, "{}", preset.name);
            assert!(preset.text.starts_with("# "), "{}", preset.name);
        }
        assert!(Preset::named("magic").is_none());
    }

    #[test]
    fn the_papers_is_the_papers() {
        let paper = Preset::named("paper").unwrap().recipe();
        assert_eq!(paper.optimizer, Rule::RmsProp { decay: 0.9, momentum: 0.9, epsilon: 1.0 });
        assert_eq!((paper.clip_norm, paper.label_smoothing), (Some(2.0), 0.1));
        for (epoch, times) in [(0.0, 0), (1.9, 0), (2.0, 1), (99.0, 49)] {
            let expected = 0.045 * 0.94f64.powi(times);
            assert!((paper.learning_rate(epoch) - expected).abs() < 1e-12);
        }
        let shorter = Recipe { epochs: 30, ..paper };
        let third = 0.045 * 0.94f64.powi(16);
        assert!((shorter.learning_rate(10.0) - third).abs() < 1e-12);
    }

    #[test]
    fn googlenets_is_googlenets() {
        let recipe = Preset::named("googlenet").unwrap().recipe();
        assert!(matches!(recipe.average, Some(Averaging::Polyak { .. })));
        assert!(matches!(recipe.optimizer, Rule::Sgd { momentum: 0.9, nesterov: false }));
        let Decay::Exponential { factor, every, staircase } = recipe.schedule.decay else {
            panic!("{:?}", recipe.schedule);
        };
        assert_eq!((factor, every, staircase), (0.96, 8.0, true));
        assert_eq!(recipe.label_smoothing, 0.0);
    }
}
