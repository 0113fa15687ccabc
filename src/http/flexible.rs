//! Deserialisers for fields that clients send in several forms: `#[serde(deserialize_with = "flexible::number")]`.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, IgnoredAny, SeqAccess, Unexpected, Visitor},
};

/// A number or its text: `7`, `"7"`. Fits every type that is read from text: integers and ids.
pub fn number<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Number(PhantomData))
}

/// Like [`number`]; null, `""` and a missing field (with `#[serde(default)]`) are `None`.
pub fn optional_number<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Numeric<T>>::deserialize(deserializer)?.and_then(|n| n.0))
}

/// A number, its text, or a list of both, or numbers joined by commas; null is an empty list.
pub fn numbers<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(Numbers(PhantomData))
}

/// Like [`numbers`], and tells a missing or null field (with `#[serde(default)]`) from an empty list.
pub fn optional_numbers<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    struct List<T>(Vec<T>);
    impl<'de, T: FromStr> Deserialize<'de> for List<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            numbers(deserializer).map(Self)
        }
    }
    Ok(Option::<List<T>>::deserialize(deserializer)?.map(|list| list.0))
}

/// `true`, `"true"`, `1`, `"1"` and their opposites.
pub fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Boolean)
}

/// Like [`boolean`]; null and a missing field (with `#[serde(default)]`) are `None`.
pub fn optional_boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    struct Yes(bool);
    impl<'de> Deserialize<'de> for Yes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            boolean(deserializer).map(Self)
        }
    }
    Ok(Option::<Yes>::deserialize(deserializer)?.map(|yes| yes.0))
}

/// One value or a list of them; null is an empty list.
pub fn one_or_many<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => Ok(Vec::new()),
        serde_json::Value::Array(items) => {
            items.into_iter().map(|item| serde_json::from_value(item).map_err(D::Error::custom)).collect()
        }
        one => Ok(vec![serde_json::from_value(one).map_err(D::Error::custom)?]),
    }
}

/// An object, or the same as JSON text.
pub fn object_or_text<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<T, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => serde_json::from_str(&text).map_err(D::Error::custom),
        value => serde_json::from_value(value).map_err(D::Error::custom),
    }
}

/// Text, or a number or boolean as its text: ids that clients send bare.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => Ok(value.to_string()),
        _ => Err(D::Error::custom("expected text")),
    }
}

struct Numeric<T>(Option<T>);
impl<'de, T: FromStr> Deserialize<'de> for Numeric<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Maybe<T>(PhantomData<T>);
        impl<T: FromStr> Visitor<'_> for Maybe<T> {
            type Value = Option<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Self::Value, E> {
                Number(PhantomData).visit_i64(n).map(Some)
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Self::Value, E> {
                Number(PhantomData).visit_u64(n).map(Some)
            }
            fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Self::Value, E> {
                Number(PhantomData).visit_f64(n).map(Some)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if text.trim().is_empty() { Ok(None) } else { Number(PhantomData).visit_str(text).map(Some) }
            }
        }
        deserializer.deserialize_any(Maybe(PhantomData)).map(Self)
    }
}

struct Number<T>(PhantomData<T>);
impl<T: FromStr> Visitor<'_> for Number<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }
    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<T, E> {
        n.to_string().parse().map_err(|_| E::invalid_value(Unexpected::Signed(n), &self))
    }
    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<T, E> {
        n.to_string().parse().map_err(|_| E::invalid_value(Unexpected::Unsigned(n), &self))
    }
    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<T, E> {
        // Script languages send 7.0; `Display` of a whole f64 has no fraction.
        n.to_string().parse().map_err(|_| E::invalid_value(Unexpected::Float(n), &self))
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.trim().parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

struct Numbers<T>(PhantomData<T>);
impl<'de, T: FromStr> Visitor<'de> for Numbers<T> {
    type Value = Vec<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or a list of them")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }
    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Vec<T>, E> {
        Number(PhantomData).visit_i64(n).map(|n| vec![n])
    }
    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Vec<T>, E> {
        Number(PhantomData).visit_u64(n).map(|n| vec![n])
    }
    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Vec<T>, E> {
        Number(PhantomData).visit_f64(n).map(|n| vec![n])
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        text.split(',').filter(|t| !t.trim().is_empty()).map(|t| Number(PhantomData).visit_str(t)).collect()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(Numeric(number)) = seq.next_element()? {
            numbers
                .push(number.ok_or_else(|| A::Error::invalid_value(Unexpected::Str(""), &"a whole number"))?);
            if numbers.len() > 10_000 {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Err(A::Error::custom("more than 10000 numbers"));
            }
        }
        Ok(numbers)
    }
}

struct Boolean;
impl Visitor<'_> for Boolean {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }
    fn visit_bool<E: serde::de::Error>(self, yes: bool) -> Result<bool, E> {
        Ok(yes)
    }
    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<bool, E> {
        self.visit_str(&n.to_string())
    }
    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<bool, E> {
        self.visit_str(&n.to_string())
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        match text.trim() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::ids::PersonId;

    #[derive(Debug, Deserialize)]
    struct Wide {
        #[serde(default, deserialize_with = "optional_number")]
        id: Option<PersonId>,
        #[serde(default, deserialize_with = "numbers")]
        ids: Vec<PersonId>,
        #[serde(default, deserialize_with = "optional_numbers")]
        more: Option<Vec<i64>>,
        #[serde(default, deserialize_with = "optional_boolean")]
        yes: Option<bool>,
        #[serde(default, deserialize_with = "one_or_many")]
        names: Vec<String>,
        #[serde(default, deserialize_with = "object_or_text")]
        data: serde_json::Map<String, serde_json::Value>,
    }

    fn read(text: &str) -> Result<Wide, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn every_form_is_read() {
        for (text, id) in [
            (r#"{"id":7}"#, Some(7)),
            (r#"{"id":"7"}"#, Some(7)),
            (r#"{"id":7.0}"#, Some(7)),
            (r#"{"id":null}"#, None),
            (r#"{"id":""}"#, None),
            ("{}", None),
        ] {
            assert_eq!(read(text).unwrap().id.map(|id| id.0), id, "{text}");
        }
        for (text, ids) in [
            (r#"{"ids":7}"#, vec![7]),
            (r#"{"ids":[7,"8"]}"#, vec![7, 8]),
            (r#"{"ids":"7, 8"}"#, vec![7, 8]),
            (r#"{"ids":null}"#, vec![]),
        ] {
            assert_eq!(read(text).unwrap().ids.iter().map(|id| id.0).collect::<Vec<_>>(), ids, "{text}");
        }
        assert_eq!(read(r#"{"more":[]}"#).unwrap().more, Some(vec![]));
        assert_eq!(read(r#"{"more":null}"#).unwrap().more, None);
        assert_eq!(read(r#"{"yes":"1"}"#).unwrap().yes, Some(true));
        assert_eq!(read(r#"{"yes":false}"#).unwrap().yes, Some(false));
        assert_eq!(read(r#"{"names":"a"}"#).unwrap().names, ["a"]);
        assert_eq!(read(r#"{"names":["a","b"]}"#).unwrap().names, ["a", "b"]);
        assert_eq!(read(r#"{"data":"{\"a\":1}"}"#).unwrap().data.len(), 1);
        assert_eq!(read(r#"{"data":{"a":1}}"#).unwrap().data.len(), 1);
    }

    #[test]
    fn everything_else_is_an_error() {
        for text in [
            r#"{"id":"x"}"#,
            r#"{"id":7.5}"#,
            r#"{"id":1e30}"#,
            r#"{"id":[1]}"#,
            r#"{"ids":[null]}"#,
            r#"{"ids":[""]}"#,
            r#"{"ids":{}}"#,
            r#"{"yes":"maybe"}"#,
            r#"{"names":[1]}"#,
            r#"{"data":"x"}"#,
            r#"{"data":7}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
