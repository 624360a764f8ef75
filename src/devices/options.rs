//! Options of a kind: from the file's map to the kind's own struct, with errors that help.
//!
//! A kind's struct derives `Deserialize` with `deny_unknown_fields` and `default` where it can. The
//! names that it allows are asked from serde itself, so that no list has to be kept twice.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IntoDeserializer, Visitor, value},
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::{DeviceError, DeviceSpec};
use crate::model::Fields;

/// The one of `names` that was probably meant, if any is near enough.
pub(super) fn nearest(written: &str, names: &[&'static str]) -> Option<&'static str> {
    let far = written.chars().count() / 3 + 1;
    let distance = |name: &str| strsim::damerau_levenshtein(&written.to_lowercase(), name);
    names.iter().copied().min_by_key(|name| distance(name)).filter(|name| distance(name) <= far)
}

/// Takes a device's options as `T`.
///
/// # Errors
/// [`DeviceError::UnknownOption`] with the nearest name and all that are allowed, or
/// [`DeviceError::BadOption`] with the option that has a wrong value or is missing.
pub fn options<T: DeserializeOwned>(spec: &DeviceSpec) -> Result<T, DeviceError> {
    let map = given(spec)?;
    if let Some(allowed) = field_names::<T>() {
        only(spec, &map, allowed)?;
    }
    read(spec, map)
}

/// Takes a device's options as those of its bus and those of its kind, which stand side by side. (serde's `flatten`
/// would lose both the place of an error and the unknown names.)
///
/// # Errors
/// As [`options`].
pub(super) fn options_of_both<B: DeserializeOwned, K: DeserializeOwned>(
    spec: &DeviceSpec,
) -> Result<(B, K), DeviceError> {
    let (of_bus, of_kind) = (field_names::<B>().unwrap_or_default(), field_names::<K>().unwrap_or_default());
    let map = given(spec)?;
    only(spec, &map, &[of_kind, of_bus].concat())?;
    let (bus, kind) = map.into_iter().partition(|(name, _)| of_bus.contains(&name.as_str()));
    Ok((read(spec, bus)?, read(spec, kind)?))
}

fn given(spec: &DeviceSpec) -> Result<Fields, DeviceError> {
    match &spec.options {
        Value::Null => Ok(Fields::new()),
        Value::Object(map) => Ok(map.clone()),
        _ => Err(DeviceError::bad_option(&spec.id, ".", "`options` must be a map of names to values")),
    }
}

fn only(spec: &DeviceSpec, map: &Fields, allowed: &[&'static str]) -> Result<(), DeviceError> {
    match map.keys().find(|key| !allowed.contains(&key.as_str())) {
        None => Ok(()),
        Some(option) => Err(DeviceError::UnknownOption {
            device: spec.id.clone(),
            kind: spec.kind.clone(),
            option: option.clone(),
            nearest: nearest(option, allowed),
            allowed: allowed.to_vec(),
        }),
    }
}

fn read<T: DeserializeOwned>(spec: &DeviceSpec, map: Fields) -> Result<T, DeviceError> {
    serde_path_to_error::deserialize(Value::Object(map)).map_err(|error| {
        DeviceError::bad_option(&spec.id, &error.path().to_string(), error.inner().to_string())
    })
}

/// The fields of the struct `T`, as its `Deserialize` asks for them; `None` when it is no struct.
fn field_names<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    struct Ask<'a>(&'a mut Option<&'static [&'static str]>);
    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = value::Error;
        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            // Nothing is read here: whatever comes of it is dropped.
            ().into_deserializer().deserialize_any(visitor)
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = Some(fields);
            self.deserialize_any(visitor)
        }
        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut names = None;
    let _ = T::deserialize(Ask(&mut names));
    names
}

/// A length of time in an option, as elsewhere in the file (`500ms`, `3s`, `1min 30s`): 1 ms to a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let length = humantime::parse_duration(text.trim()).ok()?;
        (Duration::from_millis(1)..=Duration::from_secs(31_536_000)).contains(&length).then_some(Self(length))
    }
}

impl fmt::Display for Span {
    /// In seconds, as a person says it: `3 s`, `0.5 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", (self.0.as_secs_f64() * 1000.0).round() / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with its unit, from `1ms` to a year: `500ms`, `3s`, `2min` or `1h`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DeviceId;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code, reason = "only its type is tried")]
        toasting_time: Span,
        #[serde(default)]
        #[allow(dead_code, reason = "only its type is tried")]
        level: u8,
    }

    fn try_options(options: Value) -> Result<Sample, DeviceError> {
        super::options(&DeviceSpec { id: DeviceId::parse("t").unwrap(), kind: "sample".to_owned(), options })
    }

    #[test]
    fn times_need_a_unit_and_a_sane_length() {
        for (text, millis) in
            [("3s", 3000), ("500ms", 500), ("1min 30s", 90_000), ("2min", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(Span::parse(text), Some(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in
            ["3", "", "s", "-1s", "0s", "1e300s", "NaNs", "infs", "9000h", "99999999999999y", "3 parsecs"]
        {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_bad_option_is_named_with_what_was_meant_or_allowed() {
        for (options, parts) in [
            (
                serde_json::json!({"toasting_tim": "3s"}),
                ["`toasting_tim`", "did you mean `toasting_time`?", "`level`"],
            ),
            (serde_json::json!({"xyz": 1}), ["`xyz`", "`toasting_time`", "`level`"]),
            (
                serde_json::json!({"toasting_time": 3}),
                ["`toasting_time`", "integer `3`", "a time with its unit"],
            ),
            (serde_json::json!({"toasting_time": "3s", "level": -1}), ["`level`", "-1", "u8"]),
            (serde_json::json!({"level": 1}), ["`t`", "missing field", "`toasting_time`"]),
            (serde_json::json!([1]), ["`t`", "options", "map"]),
        ] {
            let error = try_options(options.clone()).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{options}: {error} lacks {part}");
            }
        }
        assert!(try_options(serde_json::json!({"toasting_time": "3s"})).is_ok());
    }
}
