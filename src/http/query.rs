//! Query strings as structs: form-encoded, everything is text.
//!
//! Numbers and booleans are read from their text. A list is taken repeated (`a=1&a=2`), with brackets (`a[]=1`,
//! `a[0]=1`) and comma-separated (`a=1,2`). An empty value of an optional number or boolean counts as missing. Of a
//! repeated single value the last counts. Unknown parameters are ignored.

use std::{borrow::Cow, fmt, str::FromStr};

use percent_encoding::percent_decode;
use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
        Visitor,
        value::{MapDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

use super::args::wrong_field;
use crate::domain::error::{Error, Result};

/// Most parameters that are looked at.
const MAX_PARAMETERS: usize = 1_000;

/// Reads a query string (without `?`).
pub fn parse<T: DeserializeOwned>(query: &str) -> Result<T> {
    let mut fields: Vec<(String, Values)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()).take(MAX_PARAMETERS) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key)?, decode(value)?);
        // `a[]` and `a[3]` are `a`.
        let name =
            key.split_once('[').filter(|(_, rest)| rest.ends_with(']')).map_or(&*key, |(name, _)| name);
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.0.push(value),
            None => fields.push((name.to_owned(), Values(vec![value]))),
        }
    }
    serde_path_to_error::deserialize(Fields(fields)).map_err(|error| {
        let path = error.path().to_string();
        wrong_field("query", &path, &error.into_inner().0)
    })
}

/// The value of one parameter as text, decoded.
pub fn value(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .rfind(|(key, _)| *key == name)
        .and_then(|(_, value)| decode(value).ok())
}

fn decode(text: &str) -> Result<String> {
    let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    match percent_decode(spaced.as_bytes()).decode_utf8() {
        Ok(text) if text.contains('\0') => Err(Error::invalid("query: must not hold the character U+0000")),
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Error::invalid("query: not UTF-8 behind its percent signs")),
    }
}

#[derive(Debug)]
struct Problem(String);
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Problem {}
impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The parameters, grouped by name.
struct Fields(Vec<(String, Values)>);

impl<'de> Deserializer<'de> for Fields {
    type Error = Problem;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_map(FieldAccess { fields: self.0.into_iter(), value: None })
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct FieldAccess {
    fields: std::vec::IntoIter<(String, Values)>,
    value: Option<Values>,
}
impl<'de> MapAccess<'de> for FieldAccess {
    type Error = Problem;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        let Some((key, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(IntoDeserializer::<Problem>::into_deserializer(key)).map(Some)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        seed.deserialize(self.value.take().unwrap_or(Values(Vec::new())))
    }
}

/// All values of one parameter.
struct Values(Vec<String>);

impl Values {
    fn last(mut self) -> String {
        self.0.pop().unwrap_or_default()
    }

    fn number<T: FromStr>(self) -> Result<T, Problem> {
        let text = self.last();
        text.trim().parse().map_err(|_| Problem(format!("invalid value '{text}', expected a number")))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            visitor.$visit(self.number()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Values {
    type Error = Problem;
    numbers! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
        deserialize_f32 visit_f32 deserialize_f64 visit_f64
    }
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_string(self.last())
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.last().trim() {
            // A bare `?force_new` means yes.
            "true" | "1" | "" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            text => Err(Problem(format!("invalid value '{text}', expected true or false"))),
        }
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.0.iter().all(|value| value.trim().is_empty()) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let items: Vec<String> = if self.0.len() == 1 {
            self.0[0].split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
        } else {
            self.0
        };
        visitor.visit_seq(Items(items.into_iter()))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let text = self.last();
        visitor.visit_enum(Variant(&text))
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let empty: std::iter::Empty<(&str, &str)> = std::iter::empty();
        visitor.visit_map(MapDeserializer::new(empty))
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Problem> {
        Err(Problem::custom("a query parameter is no object"))
    }
    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit_struct tuple tuple_struct identifier
    }
}

struct Items(std::vec::IntoIter<String>);
impl<'de> SeqAccess<'de> for Items {
    type Error = Problem;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        self.0.next().map(|item| seed.deserialize(Values(vec![item]))).transpose()
    }
}

struct Variant<'a>(&'a str);
impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Problem;
    type Variant = Unit;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Unit), Problem> {
        let name: StrDeserializer<'_, Problem> = self.0.into_deserializer();
        seed.deserialize(name).map(|value| (value, Unit))
    }
}
struct Unit;
impl<'de> serde::de::VariantAccess<'de> for Unit {
    type Error = Problem;
    fn unit_variant(self) -> Result<(), Problem> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Problem> {
        Err(Problem::custom("a query parameter is a plain word"))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Problem> {
        Err(Problem::custom("a query parameter is a plain word"))
    }
    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Problem> {
        Err(Problem::custom("a query parameter is a plain word"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    enum Direction {
        #[default]
        Asc,
        Desc,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Wanted {
        page: Option<i64>,
        name: Option<String>,
        active: Option<bool>,
        ids: Vec<i64>,
        names: Option<Vec<String>>,
        direction: Direction,
    }

    fn read(query: &str) -> Wanted {
        parse(query).unwrap()
    }

    #[test]
    fn plain_values() {
        assert_eq!(read(""), Wanted::default());
        assert_eq!(read("page=&name=&active="), Wanted::default());
        let all = read("page=7&name=a%2Bb+c%20%C3%BC&active=1&direction=DESC&other=x&&=");
        assert_eq!(
            all,
            Wanted {
                page: Some(7),
                name: Some("a+b c ü".into()),
                active: Some(true),
                direction: Direction::Desc,
                ..Wanted::default()
            }
        );
        assert_eq!(read("name=a&name=b").name.as_deref(), Some("b"));
    }

    #[test]
    fn lists_in_all_spellings() {
        for query in [
            "ids=1&ids=2",
            "ids[]=1&ids[]=2",
            "ids%5B%5D=1&ids%5B%5D=2",
            "ids[0]=1&ids[1]=2",
            "ids=1,2",
            "ids[]=1,%202,",
        ] {
            assert_eq!(read(query).ids, [1, 2], "{query}");
        }
        assert_eq!(read("names=a,b").names.unwrap(), ["a", "b"]);
        assert_eq!(read("names=").names, None);
    }

    #[test]
    fn errors_name_the_parameter() {
        #[derive(Debug, Deserialize)]
        struct Needs {
            #[expect(dead_code, reason = "only its absence is tried")]
            link: String,
        }

        let message = |query: &str| parse::<Wanted>(query).unwrap_err().message().to_owned();
        assert_eq!(message("page=x"), "query: page: invalid value 'x', expected a number");
        assert_eq!(message("active=yes"), "query: active: invalid value 'yes', expected true or false");
        assert_eq!(message("ids=1&ids=b"), "query: ids[1]: invalid value 'b', expected a number");
        assert!(message("direction=UP").contains("expected `ASC` or `DESC`"));
        assert!(message("name=%ff").contains("not UTF-8"));
        assert!(message("name=%00").contains("U+0000"));
        assert_eq!(parse::<Needs>("").unwrap_err().message(), "query: missing field `link`");
        assert_eq!(value("a=1&token=x%20y&b=2", "token").as_deref(), Some("x y"));
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".{0,60}", parts in "((page|ids|active|names)(\\[\\])?=[a-z0-9,%+]{0,6}&?){0,5}") {
            let _ = parse::<Wanted>(&query);
            let _ = parse::<Wanted>(&parts);
        }
    }
}
