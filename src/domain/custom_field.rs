//! Custom fields of help threads: what a definition says, and which values fit it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    error::{Error, Result},
    ids::CustomFieldId,
};

/// Longest text value, in characters.
pub const TEXT_LIMIT: usize = 4_000;
/// Longest name of a field or option, in characters.
pub const NAME_LIMIT: usize = 255;
/// Most options of a list.
pub const OPTIONS_LIMIT: usize = 500;

/// What kind of values a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// A text.
    Text,
    /// True or false.
    Boolean,
    /// One of some options, or several of them.
    List,
}

impl Kind {
    /// As stored and sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Boolean => "BOOLEAN",
            Self::List => "LIST",
        }
    }

    /// The kind of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Text, Self::Boolean, Self::List].into_iter().find(|kind| kind.name() == name)
    }
}

/// When a field must be filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mandatory {
    /// Never.
    #[default]
    Optional,
    /// From the beginning.
    MandatoryOnCreation,
    /// Before the thread is closed.
    MandatoryOnClose,
}

impl Mandatory {
    /// As stored and sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Optional => "OPTIONAL",
            Self::MandatoryOnCreation => "MANDATORY_ON_CREATION",
            Self::MandatoryOnClose => "MANDATORY_ON_CLOSE",
        }
    }

    /// The rule of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Optional, Self::MandatoryOnCreation, Self::MandatoryOnClose]
            .into_iter()
            .find(|rule| rule.name() == name)
    }
}

/// One option of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Its number within the field; stays when the option is renamed.
    pub id: i64,
    /// Its label.
    pub name: String,
}

/// What an organisation says of a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its number.
    pub id: CustomFieldId,
    /// Its label.
    pub name: String,
    /// Its explanation.
    pub description: String,
    /// What values it takes.
    pub kind: Kind,
    /// When it must be filled.
    pub mandatory: Mandatory,
    /// Not to be shown by apps.
    pub hidden: bool,
    /// A list that takes several options.
    pub multi_select: bool,
    /// What a new thread begins with; null = nothing.
    pub default: Value,
    /// The options of a list.
    pub options: Vec<Choice>,
    /// Place among the others.
    pub position: i64,
}

impl Definition {
    /// The value in its one form; `None` when it is empty. An error says what would fit.
    pub fn check(&self, value: &Value) -> Result<Option<Value>> {
        match self.kind {
            Kind::Text => self.check_text(value),
            Kind::Boolean => self.check_boolean(value),
            Kind::List => self.check_list(value),
        }
    }

    fn check_text(&self, value: &Value) -> Result<Option<Value>> {
        let text = match value {
            Value::Null => return Ok(None),
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(self.wrong("a text")),
        };
        if text.chars().count() > TEXT_LIMIT {
            return Err(self.wrong(&format!("at most {TEXT_LIMIT} characters")));
        }
        if text.contains('\0') {
            return Err(self.wrong("a text without U+0000"));
        }
        Ok((!text.trim().is_empty()).then_some(Value::String(text)))
    }

    fn check_boolean(&self, value: &Value) -> Result<Option<Value>> {
        match value {
            Value::Null => Ok(None),
            Value::Bool(_) => Ok(Some(value.clone())),
            Value::String(text) => match text.as_str() {
                "" => Ok(None),
                "true" => Ok(Some(Value::Bool(true))),
                "false" => Ok(Some(Value::Bool(false))),
                _ => Err(self.wrong("true or false")),
            },
            _ => Err(self.wrong("true or false")),
        }
    }

    fn check_list(&self, value: &Value) -> Result<Option<Value>> {
        let single = [value.clone()];
        let wanted: &[Value] = match value {
            Value::Null => &[],
            Value::Array(list) => list,
            Value::String(text) if text.is_empty() => &[],
            _ => &single,
        };
        let mut chosen: Vec<i64> = Vec::with_capacity(wanted.len().min(OPTIONS_LIMIT));
        for choice in wanted {
            let id = match choice {
                Value::Number(number) => number.as_i64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            let id = id.filter(|id| self.options.iter().any(|option| option.id == *id));
            let id = id.ok_or_else(|| self.wrong("the id of one of its options"))?;
            if !chosen.contains(&id) {
                chosen.push(id);
            }
        }
        match (chosen.as_slice(), self.multi_select) {
            ([], _) => Ok(None),
            ([one], false) => Ok(Some((*one).into())),
            (_, false) => Err(self.wrong("one option, not several")),
            (several, true) => Ok(Some(several.into())),
        }
    }

    /// A stored value as the definition wants it now; null when it does not fit any more.
    pub fn shown(&self, stored: &str) -> Value {
        let value: Value = serde_json::from_str(stored).unwrap_or_default();
        match self.check(&value) {
            Ok(value) => value.unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }

    /// A value as people read it.
    pub fn text(&self, value: &Value) -> String {
        let name = |value: &Value| {
            let option = self.options.iter().find(|option| Some(option.id) == value.as_i64());
            option.map(|option| option.name.clone())
        };
        match value {
            Value::String(text) => text.clone(),
            Value::Bool(yes) => yes.to_string(),
            Value::Array(list) => list.iter().filter_map(name).collect::<Vec<_>>().join(", "),
            Value::Number(_) => name(value).unwrap_or_default(),
            _ => String::new(),
        }
    }

    fn wrong(&self, right: &str) -> Error {
        Error::invalid(format!("custom field {} ({}) takes {right}", self.id, self.name))
    }

    /// Checks what the definition says of itself, and brings the default value into its one form.
    pub fn checked(mut self) -> Result<Self> {
        let named = |name: &str| {
            let length = name.trim().chars().count();
            (1..=NAME_LIMIT).contains(&length) && !name.contains(char::is_control)
        };
        if !named(&self.name) {
            return Err(Error::invalid(format!("name: needs 1 to {NAME_LIMIT} characters")));
        }
        if self.description.chars().count() > TEXT_LIMIT {
            return Err(Error::invalid(format!("description: at most {TEXT_LIMIT} characters")));
        }
        if self.kind != Kind::List && !self.options.is_empty() {
            return Err(Error::invalid("options: only a LIST has options"));
        }
        if self.kind != Kind::List && self.multi_select {
            return Err(Error::invalid("multiSelect: only a LIST takes several"));
        }
        if self.options.len() > OPTIONS_LIMIT {
            return Err(Error::invalid(format!("options: at most {OPTIONS_LIMIT}")));
        }
        for (position, option) in self.options.iter().enumerate() {
            if !named(&option.name) {
                return Err(Error::invalid(format!("options: a name needs 1 to {NAME_LIMIT} characters")));
            }
            if self.options[..position].iter().any(|earlier| earlier.id == option.id) {
                return Err(Error::invalid(format!("options: the id {} stands there twice", option.id)));
            }
        }
        self.default = self.check(&self.default)?.unwrap_or_default();
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(kind: Kind, multi_select: bool) -> Definition {
        let options = [(1, "red"), (2, "green")].map(|(id, name)| Choice { id, name: name.to_owned() });
        Definition {
            id: CustomFieldId(7),
            name: "Colour".into(),
            description: String::new(),
            kind,
            mandatory: Mandatory::Optional,
            hidden: false,
            multi_select,
            default: Value::Null,
            options: if kind == Kind::List { options.to_vec() } else { Vec::new() },
            position: 0,
        }
    }

    #[test]
    fn values_take_one_form() {
        let text = definition(Kind::Text, false);
        assert_eq!(text.check(&json!("a")).unwrap(), Some(json!("a")));
        assert_eq!(text.check(&json!(7)).unwrap(), Some(json!("7")));
        assert_eq!(text.check(&json!(" ")).unwrap(), None);
        assert!(text.check(&json!(["a"])).is_err());
        assert!(text.check(&json!("x".repeat(TEXT_LIMIT + 1))).is_err());
        let flag = definition(Kind::Boolean, false);
        assert_eq!(flag.check(&json!("false")).unwrap(), Some(json!(false)));
        assert_eq!(flag.check(&Value::Null).unwrap(), None);
        assert!(flag.check(&json!(1)).is_err());
        let one = definition(Kind::List, false);
        assert_eq!(one.check(&json!("2")).unwrap(), Some(json!(2)));
        assert_eq!(one.check(&json!([2])).unwrap(), Some(json!(2)));
        assert!(one.check(&json!([1, 2])).is_err());
        assert!(one.check(&json!(3)).is_err());
        let several = definition(Kind::List, true);
        assert_eq!(several.check(&json!([2, "1", 2])).unwrap(), Some(json!([2, 1])));
        assert_eq!(several.check(&json!(1)).unwrap(), Some(json!([1])));
        assert_eq!(several.check(&json!([])).unwrap(), None);
        assert_eq!(several.text(&json!([2, 1])), "green, red");
        assert_eq!(one.shown("[1,2]"), Value::Null);
    }

    #[test]
    fn definitions_are_checked() {
        assert!(definition(Kind::List, true).checked().is_ok());
        assert!(Definition { name: " ".into(), ..definition(Kind::Text, false) }.checked().is_err());
        assert!(definition(Kind::Text, true).checked().is_err());
        assert!(Definition { default: json!(9), ..definition(Kind::List, false) }.checked().is_err());
        let twice = vec![Choice { id: 1, name: "a".into() }, Choice { id: 1, name: "b".into() }];
        assert!(Definition { options: twice, ..definition(Kind::List, false) }.checked().is_err());
    }
}
