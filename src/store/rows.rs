//! Reading what the house remembers: one row that cannot be read must hide neither the others nor, at the start,
//! keep the house dark.

use rusqlite::{Row, Rows};

use super::StoreError;

/// Every row that can be read. The others stay in the file, and the log has their number and the last one's fault.
pub(super) fn readable<T>(
    mut rows: Rows<'_>,
    table: &'static str,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    let (mut unreadable, mut last) = (0_u64, None);
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(item) => found.push(item),
            Err(error @ StoreError::Row { .. }) => {
                unreadable += 1;
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = last {
        tracing::error!(table, unreadable, %error, "rows of the store cannot be read and are left out");
    }
    Ok(found)
}
