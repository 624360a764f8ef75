//! Whether the cloud's name resolves.
//!
//! Owns the name resolution in front of rumqttc's own dialling. Never opens a
//! connection itself. rumqttc resolves the name once more when it dials and tries all addresses in
//! turn; resolving here first is what tells a missing name from a host that does not answer, which
//! rumqttc reports as the same `io::Error`. Rejected: dialling ourselves and handing rumqttc the
//! socket; its MQTT 5 event loop takes none.

use std::time::Duration;

use crate::model::{CloudUrl, Fault, FaultKind};

/// Makes sure that the name resolves to at least one address within `limit`.
///
/// # Errors
/// [`FaultKind::Dns`].
pub(super) async fn resolve(url: &CloudUrl, limit: Duration) -> Result<(), Fault> {
    let lookup = tokio::net::lookup_host((url.host(), url.port()));
    let fault = |detail| Err(Fault::new(FaultKind::Dns, detail));
    match tokio::time::timeout(limit, lookup).await {
        Ok(Ok(addresses)) => match addresses.count() {
            0 => fault(format!("`{}` has no address", url.host())),
            _ => Ok(()),
        },
        Ok(Err(error)) => fault(format!("`{}`: {error}", url.host())),
        Err(_) => fault(format!("`{}`: no answer within {} s", url.host(), limit.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_dns_fault() {
        let url = CloudUrl::parse("wss://nowhere.invalid").unwrap();
        assert_eq!(resolve(&url, Duration::from_secs(10)).await.unwrap_err().kind, FaultKind::Dns);
    }
}
