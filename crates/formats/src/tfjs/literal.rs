//! Object literals of JavaScript, as minifiers write them into modules.

use serde_json::{Map, Number, Value};

use crate::Fault;

/// Brackets in brackets.
const DEPTH: usize = 128;

/// What a script assigns to its `exports`: the first object or text after `.exports=`.
///
/// # Errors
///
/// If there is none, or it holds anything but constants.
pub(super) fn exported(script: &str) -> Result<Value, Fault> {
    const MARK: &str = ".exports=";
    let start = script
        .match_indices(MARK)
        .map(|(place, _)| place + MARK.len())
        .find(|&place| script[place..].starts_with(['{', '"', '\'']))
        .ok_or_else(|| Fault::new("it is a script that exports no object of constants"))?;
    let mut reader = Reader { text: &script[start..] };
    reader.value(0)
}

struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > DEPTH {
            return Err(Fault::new("its brackets are nested too deeply"));
        }
        self.space();
        match self.text.bytes().next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"' | b'\'') => self.quoted().map(Value::String),
            // Minifiers write true and false so.
            Some(b'!') => {
                self.skip(1);
                match self.word() {
                    "0" => Ok(Value::Bool(true)),
                    "1" => Ok(Value::Bool(false)),
                    other => Err(unknown(&format!("!{other}"))),
                }
            }
            _ => match self.word() {
                "null" => Ok(Value::Null),
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                word => number(word).ok_or_else(|| unknown(word)),
            },
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut object = Map::new();
        self.skip(1);
        while !self.take('}') {
            let key = match self.text.bytes().next() {
                Some(b'"' | b'\'') => self.quoted()?,
                _ => self.word().to_owned(),
            };
            if !self.take(':') {
                return Err(Fault::new(format!("its object has no value for {key}")));
            }
            object.insert(key, self.value(depth + 1)?);
            if !self.take(',') && !self.text.starts_with('}') {
                return Err(Fault::new("its object does not end"));
            }
        }
        Ok(Value::Object(object))
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        self.skip(1);
        while !self.take(']') {
            items.push(self.value(depth + 1)?);
            if !self.take(',') && !self.text.starts_with(']') {
                return Err(Fault::new("its list does not end"));
            }
        }
        Ok(Value::Array(items))
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        let quote = &self.text[..1];
        let rest = &self.text[1..];
        let end = rest.find(quote).ok_or_else(|| Fault::new("its text does not end"))?;
        let text = &rest[..end];
        if text.contains('\\') {
            return Err(Fault::new("its text has escapes, which are not read here"));
        }
        self.text = &rest[end + 1..];
        Ok(text.to_owned())
    }

    /// A name or a number, up to whatever ends it.
    fn word(&mut self) -> &'a str {
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '-' | '+');
        let end = self.text.find(|c| !inside(c)).unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(end);
        self.text = rest;
        word
    }

    /// Whether this comes next, apart from white space; then it is passed.
    fn take(&mut self, wanted: char) -> bool {
        self.space();
        let rest = self.text.strip_prefix(wanted);
        self.text = rest.unwrap_or(self.text);
        if rest.is_some() {
            self.space();
        }
        rest.is_some()
    }

    fn space(&mut self) {
        self.text = self.text.trim_start();
    }

    fn skip(&mut self, bytes: usize) {
        self.text = &self.text[bytes..];
        self.space();
    }
}

/// `.5`, `5.`, `1e3` and whole numbers.
fn number(word: &str) -> Option<Value> {
    if let Ok(whole) = word.parse::<i64>() {
        return Some(Value::Number(whole.into()));
    }
    if !word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
        return None;
    }
    Number::from_f64(word.parse().ok()?).map(Value::Number)
}

fn unknown(word: &str) -> Fault {
    let start: String = word.chars().take(40).collect();
    Fault::new(format!("its object holds `{start}`, which is no constant"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bundle_exports_an_object() {
        let script = r#"!function(d){if("object"==typeof exports)module.exports=d();else{}}(
            function(){return function a(n){n.exports={}}({1:[function(e,t,n){
            t.exports={a:!0,"b-c":[.5,-1.25e-3,null,7,],'d':'x "y"',e:{}}},{}]},{},[1])(1)});"#;
        // `n.exports={}` of the loader comes first only where it is assigned so.
        let first = exported(script).unwrap();
        assert_eq!(first, json!({}));
        let script = script.replace("n.exports={}", "n={exports:{}}");
        let wanted = json!({"a": true, "b-c": [0.5, -0.00125, null, 7], "d": "x \"y\"", "e": {}});
        assert_eq!(exported(&script).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_constant_is_refused() {
        for object in
            ["{a:alert(1)}", "{a:b}", "{a:1", "{a", "{a:[1}", "{a:!2}", "'abc", "{a:\"\\x\"}"]
        {
            assert!(exported(&format!("m.exports={object}")).is_err(), "{object}");
        }
        let deep = format!("m.exports={{a:{}1{}}}", "[".repeat(9999), "]".repeat(9999));
        assert!(exported(&deep).is_err());
        assert!(exported("m.exports=5").is_err());
    }
}
