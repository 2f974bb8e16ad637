//! Single entries of a recipe, by their keys in its TOML.

use toml::{Table, Value};

use crate::{Recipe, TrainError};

/// Entries that have a `type`, which is all that a text can mean.
const TYPED: [&str; 3] = ["optimizer", "average", "schedule.decay"];

/// An entry of which there is one kind at a time, by its key.
const CROP: &str = "augmentation.crop";

/// The value that leaves an entry out.
const NONE: &str = "none";

impl Recipe {
    /// The recipe with other entries: each setting is `key=value` with the key's path in the
    /// TOML, as in `label_smoothing=0` or `optimizer.momentum=0.5`. A value is TOML; what is not
    /// is text, and `none` leaves the entry out. Another `type` drops what belongs to the former
    /// one.
    ///
    /// # Errors
    /// If a setting is no `key=value`, or there is no such key or value, naming those there are.
    pub fn with_settings<S: AsRef<str>>(&self, settings: &[S]) -> Result<Self, TrainError> {
        if settings.is_empty() {
            return Ok(self.clone());
        }
        let mut table = Table::try_from(self).expect("a recipe is plain data");
        let settings: Vec<&str> = settings.iter().map(AsRef::as_ref).collect();
        let fault = |why: String| TrainError::Recipe(format!("{}: {why}", settings.join(", ")));
        for setting in &settings {
            put(&mut table, setting).map_err(fault)?;
        }
        let recipe: Self = table
            .try_into()
            .map_err(|e: toml::de::Error| fault(e.message().replace('\n', ", ")))?;
        recipe.check()?;
        Ok(recipe)
    }
}

fn put(table: &mut Table, setting: &str) -> Result<(), String> {
    let (key, value) = setting.split_once('=').ok_or_else(|| {
        format!("`{setting}` is no setting; write KEY=VALUE, as in label_smoothing=0")
    })?;
    let (key, value) = (key.trim(), value.trim());
    let mut path: Vec<&str> = key.split('.').map(str::trim).collect();
    let last = path.pop().expect("a text has a part");
    let (mut place, mut whole) = (table, String::new());
    for part in path {
        if whole == CROP && !place.contains_key(part) {
            place.clear();
        }
        whole = if whole.is_empty() { part.to_owned() } else { format!("{whole}.{part}") };
        if whole == CROP && place.get(part).is_some_and(Value::is_str) {
            place.remove(part);
        }
        let entry = place.entry(part).or_insert_with(|| Value::Table(Table::new()));
        place = entry.as_table_mut().ok_or_else(|| format!("`{part}` has no entries"))?;
    }
    if value == NONE {
        let known = place.remove(last).is_some() || (last == key && is_optional(key));
        return if known { Ok(()) } else { Err(format!("there is no `{key}` to leave out")) };
    }
    let mut value = toml_value(value);
    if TYPED.contains(&key) && value.is_str() {
        value = Table::from_iter([("type".to_owned(), value)]).into();
    }
    if last == "type" && place.get(last) != Some(&value) {
        place.clear();
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

fn toml_value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    let single = parsed.filter(|table| table.len() == 1);
    single.and_then(|mut table| table.remove("value")).unwrap_or_else(|| text.into())
}

/// Whether a recipe may have this entry, which it lacks.
fn is_optional(key: &str) -> bool {
    let table = Table::from_iter([(key.to_owned(), Value::Boolean(true))]);
    let error = table.try_into::<Recipe>().err();
    !error.is_some_and(|error: toml::de::Error| error.message().starts_with("unknown field"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Averaging, ClassWeights, Preset, Rule};

    fn paper() -> Recipe {
        Preset::named("paper").unwrap().recipe()
    }

    #[test]
    fn entries_are_set_by_their_keys() {
        let settings = [
            "label_smoothing=0",
            "average.decay=0.5",
            "schedule.decay.every = 4",
            "clip_norm=none",
            "distillation=none",
            "class_weights=balanced",
        ];
        let recipe = paper().with_settings(&settings).unwrap();
        assert_eq!((recipe.label_smoothing, recipe.clip_norm), (0.0, None));
        assert_eq!(recipe.average, Some(Averaging::Exponential { decay: 0.5 }));
        assert!(recipe.to_toml().contains("every = 4"));
        assert!(matches!(recipe.class_weights, Some(ClassWeights::Rule(_))));
        let list = paper().with_settings(&["class_weights=[1, 2.5]"]).unwrap();
        assert_eq!(list.class_weights, Some(ClassWeights::List(vec![1.0, 2.5])));
        assert_eq!(paper().with_settings::<&str>(&[]).unwrap(), paper());
    }

    #[test]
    fn another_type_drops_the_former_ones_entries() {
        let recipe = paper().with_settings(&["optimizer.type=adamw", "optimizer.beta1=0.8"]);
        let Rule::AdamW { beta1: 0.8, beta2: 0.999, .. } = recipe.unwrap().optimizer else {
            panic!("not as set");
        };
        let same = paper().with_settings(&["optimizer.type=rmsprop", "optimizer.epsilon=0.1"]);
        let epsilon_only = Rule::RmsProp { decay: 0.9, momentum: 0.9, epsilon: 0.1 };
        assert_eq!(same.unwrap().optimizer, epsilon_only);
        let whole = paper().with_settings(&["optimizer={ type = 'sgd', momentum = 0.5 }"]);
        assert_eq!(whole.unwrap().optimizer, Rule::Sgd { momentum: 0.5, nesterov: false });
    }

    #[test]
    fn a_kind_alone_is_enough() {
        let settings = ["schedule.decay=cosine", "optimizer=adamw", "augmentation.crop.shift.by=3"];
        let recipe = paper().with_settings(&settings).unwrap();
        assert_eq!(recipe.schedule.decay, crate::Decay::Cosine);
        assert!(matches!(recipe.optimizer, Rule::AdamW { .. }));
        let crop = |recipe: &Recipe| recipe.augmentation.unwrap().crop;
        assert_eq!(crop(&recipe), inception_image::RandomCrop::Shift { by: 3 });
        let central = recipe.with_settings(&["augmentation.crop=central"]).unwrap();
        let back = central.with_settings(&["augmentation.crop.shift.by=1"]).unwrap();
        assert_eq!(crop(&back), inception_image::RandomCrop::Shift { by: 1 });
        let text = |value: &str| {
            let setting = format!("fine_tuning.frozen_batch_norm={value}");
            let freeze = "fine_tuning.freeze=['conv1']";
            paper().with_settings(&[freeze, &setting]).unwrap().to_toml()
        };
        assert!(text("off").contains("frozen_batch_norm = \"off\""));
    }

    #[test]
    fn faults_name_what_there_is() {
        let fault = |setting: &str| paper().with_settings(&[setting]).unwrap_err().to_string();
        assert!(fault("label_smothing=0").contains("`label_smoothing`"));
        assert!(fault("optimizer.mometum=0").contains("`momentum`"));
        assert!(fault("optimizer.type=magic").contains("`adamw`"));
        assert!(fault("optimizer.type=sgd").contains("missing field `momentum`"));
        assert!(fault("batch").contains("write KEY=VALUE"));
        assert!(fault("batch.size=3").contains("`batch` has no entries"));
        assert!(fault("magic=none").contains("no `magic`"));
        assert!(fault("optimizer.magic=none").contains("no `optimizer.magic`"));
        assert!(fault("batch=none").contains("missing field `batch`"));
        assert!(fault("class_weights=even").contains("\"balanced\" or a list"));
        assert!(fault("batch=0").contains("batch is 0"));
    }
}
