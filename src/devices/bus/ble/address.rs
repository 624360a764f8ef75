//! The address of a Bluetooth device.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// A Bluetooth device's address, the byte that people write first in front.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BleAddress(pub [u8; 6]);

/// The text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no Bluetooth address; write six bytes as on the device or in its app: `A4:C1:38:01:02:03`")]
pub struct BadAddress(String);

impl FromStr for BleAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            // `from_str_radix` takes a sign, too.
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(bad)?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for BleAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl fmt::Debug for BleAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for BleAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = BleAddress;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Bluetooth address: `A4:C1:38:01:02:03`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<BleAddress, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_bytes_in_either_case_are_an_address_and_nothing_else_is() {
        let address = BleAddress([0xa4, 0xc1, 0x38, 0x01, 0x02, 0x0f]);
        for text in ["A4:C1:38:01:02:0F", "a4:c1:38:01:02:0f"] {
            assert_eq!(text.parse(), Ok(address));
        }
        assert_eq!(address.to_string(), "A4:C1:38:01:02:0F");
        for text in [
            "",
            "A4",
            "A4:C1:38:01:02",
            "A4:C1:38:01:02:03:04",
            "A4-C1-38-01-02-03",
            "A4C138010203",
            "A4:C1:38:01:02:0",
            "A4:C1:38:01:02:003",
            "A4:C1:38:01:02:+3",
            "A4:C1:38:01:02:G3",
            "A4:C1:38:01:02:é",
            ":::::",
        ] {
            let error = text.parse::<BleAddress>().unwrap_err().to_string();
            assert!(error.contains("`A4:C1:38:01:02:03`") && error.contains(text), "{error}");
        }
    }
}
