//! The lines of a text telegram (IEC 62056-21, P1): `1-0:1.8.0*255(00052185.78*kWh)`.

use super::{
    super::values,
    obis::{Code, Item},
};

/// What the lines say. One that is no data set makes the whole telegram unreadable: something was lost.
pub(super) fn items(telegram: &[u8]) -> Result<Vec<Item>, String> {
    let text = std::str::from_utf8(telegram).map_err(|_| "a telegram is not text; check `parity`")?;
    let mut items: Vec<Item> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('/') {
            continue;
        }
        if line.starts_with('!') {
            break;
        }
        let (code, rest) = line.split_at(line.find('(').ok_or_else(|| no_data_set(line))?);
        let group = last_group(rest).ok_or_else(|| no_data_set(line))?;
        let (value, unit) = group.split_once('*').unwrap_or((group, ""));
        let (value, unit) = (values::said(value), unit.to_owned());
        match (code, items.last_mut()) {
            // Old P1 telegrams put the value of a gas meter on a line of its own.
            ("", Some(item)) => (item.value, item.unit) = (value, unit),
            ("", None) => return Err(no_data_set(line)),
            (code, _) => {
                let code = Code::parse(code).ok_or_else(|| no_data_set(line))?;
                items.push(Item { code, value, unit });
            }
        }
    }
    Ok(items)
}

fn no_data_set(line: &str) -> String {
    format!("the line `{line}` is no data set")
}

/// The last of `(…)(…)`: what comes before it is the time of a value, or a log.
fn last_group(groups: &str) -> Option<&str> {
    let inner = groups.strip_prefix('(')?.strip_suffix(')')?;
    let group = inner.rsplit(")(").next()?;
    (!inner.split(")(").any(|group| group.contains(['(', ')']))).then_some(group)
}
