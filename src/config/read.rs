//! Reads the configuration out of figment's values. figment has a deserializer of its own, generic over the ways of
//! treating values: each of our types would be compiled six times for it, which is a tenth of the whole library.

#![expect(clippy::result_large_err, reason = "figment's errors are what it makes; they end the program")]

use figment::{
    Error, Figment,
    value::{Num, Tag, Value},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

/// Everything that `figment` merges, as a `T`. An error names the key and where its value came from.
pub(super) fn extract<T: for<'de> Deserialize<'de>>(figment: &Figment) -> Result<T, Error> {
    let value = figment.find_value("")?;
    T::deserialize(Node { figment, value: &value })
}

#[derive(Clone, Copy)]
struct Node<'a> {
    figment: &'a Figment,
    value: &'a Value,
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::String(_, text) => visitor.visit_str(text),
            Value::Char(_, one) => visitor.visit_char(*one),
            Value::Bool(_, is) => visitor.visit_bool(*is),
            Value::Num(_, number) => visit_number(*number, visitor),
            Value::Empty(..) => visitor.visit_unit(),
            Value::Dict(_, entries) => {
                visitor.visit_map(Entries { figment: self.figment, left: entries.iter(), value: None })
            }
            Value::Array(_, items) => {
                visitor.visit_seq(Items { figment: self.figment, left: items.iter().enumerate() })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Empty(..) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::String(_, variant) => visitor.visit_enum(variant.as_str().into_deserializer()),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// TOML knows 64-bit integers and floating point numbers.
fn visit_number<'de, V: Visitor<'de>>(number: Num, visitor: V) -> Result<V::Value, Error> {
    if let Some(unsigned) = number.to_u128().and_then(|n| u64::try_from(n).ok()) {
        visitor.visit_u64(unsigned)
    } else if let Some(signed) = number.to_i128().and_then(|n| i64::try_from(n).ok()) {
        visitor.visit_i64(signed)
    } else {
        let float = number.to_f64().ok_or_else(|| Error::from("a number of 64 bits is needed".to_owned()))?;
        visitor.visit_f64(float)
    }
}

struct Entries<'a> {
    figment: &'a Figment,
    left: std::collections::btree_map::Iter<'a, String, Value>,
    value: Option<(&'a str, &'a Value)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.value = self.left.next().map(|(key, value)| (key.as_str(), value));
        let Some((key, value)) = self.value else { return Ok(None) };
        // The visitor names an unknown key itself.
        let read = seed.deserialize(key.into_deserializer());
        read.map(Some).map_err(|error| from(error, self.figment, value.tag()))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let (key, value) =
            self.value.take().ok_or_else(|| Error::from("a value without a key".to_owned()))?;
        let read = seed.deserialize(Node { figment: self.figment, value });
        read.map_err(|error| at(key, from(error, self.figment, value.tag())))
    }
}

struct Items<'a> {
    figment: &'a Figment,
    left: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((number, value)) = self.left.next() else { return Ok(None) };
        let read = seed.deserialize(Node { figment: self.figment, value });
        read.map(Some).map_err(|error| at(&number.to_string(), from(error, self.figment, value.tag())))
    }
}

/// The innermost value that is known to be wrong says where it came from.
fn from(mut error: Error, figment: &Figment, tag: Tag) -> Error {
    if error.metadata.is_none() {
        error.metadata = figment.get_metadata(tag).cloned();
    }
    error
}

fn at(key: &str, mut error: Error) -> Error {
    error.path.insert(0, key.to_owned());
    error
}
