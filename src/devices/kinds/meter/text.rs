//! The lines of a text telegram (IEC 62056-21, P1): `1-0:1.8.0*255(00052185.78*kWh)`.

use serde_json::Value;

use super::{
    super::values,
    obis::{Code, Item},
};

/// What the lines say. One that is no data set makes the whole telegram unreadable, something was lost; behind a
/// checksum nothing was, and it is only left out.
pub(super) fn items(telegram: &[u8], is_checked: bool) -> Result<Vec<Item>, String> {
    let text = std::str::from_utf8(telegram).map_err(|_| "a telegram is not text; check `parity`")?;
    let mut items: Vec<Item> = Vec::new();
    // Whether the next line may go on with the last item.
    let mut is_open = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('/') {
            continue;
        }
        if line.starts_with('!') {
            break;
        }
        match (data_set(line), items.last_mut()) {
            // Old P1 telegrams put the value of a gas meter on a line of its own.
            (Some((None, value, unit)), Some(item)) if is_open => (item.value, item.unit) = (value, unit),
            (Some((Some(code), value, unit)), _) => {
                items.push(Item { code, value, unit });
                is_open = true;
            }
            _ if is_checked => is_open = false,
            _ => return Err(format!("the line `{line}` is no data set")),
        }
    }
    Ok(items)
}

/// The code (`None`: that of the line before), the value and the unit of a line.
fn data_set(line: &str) -> Option<(Option<Code>, Value, String)> {
    let (code, groups) = line.split_at(line.find('(')?);
    let code = if code.is_empty() { None } else { Some(Code::parse(code)?) };
    let group = telling(groups)?;
    let (value, unit) = group.split_once('*').unwrap_or((group, ""));
    let measure = if unit.is_empty() { None } else { values::measured(value) };
    Some((code, measure.unwrap_or_else(|| values::said(value)), unit.to_owned()))
}

/// That of `(…)(…)` that is the value: the last with a unit, else the last. The others are the time of a value, or a log.
fn telling(groups: &str) -> Option<&str> {
    let inner = groups.strip_prefix('(')?.strip_suffix(')')?;
    // From the last to the first.
    let groups = || inner.rsplit(")(");
    if groups().any(|group| group.contains(['(', ')'])) {
        return None;
    }
    groups().find(|group| group.contains('*')).or_else(|| groups().next())
}
