//! Azure's shared access signatures: who may do what until when, signed by a key that stays here.
//!
//! <https://learn.microsoft.com/azure/iot-hub/iot-hub-dev-guide-sas>; user name and client id of a device:
//! <https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub>.

use data_encoding::BASE64;

use super::{Grant, files, renewal, sigv4, ways::Sas};
use crate::model::{CloudUrl, Fault, Timestamp};

/// Of the MQTT interface of IoT Hub.
const API_VERSION: &str = "2021-04-12";

/// # Errors
/// [`crate::model::FaultKind::OwnCredentials`] when the key's file is of no use.
pub(super) async fn grant(sas: &Sas, url: &CloudUrl, now: Timestamp) -> Result<Grant, Fault> {
    let text = files::first_line(&sas.key_file).await?;
    let key = BASE64.decode(text.trim().as_bytes()).map_err(|_| {
        let why = "it is not Base64; copy the primary or secondary key, not the connection string";
        files::unusable(&sas.key_file, why)
    })?;
    let host = url.host().to_ascii_lowercase();
    let username =
        sas.username.clone().unwrap_or_else(|| format!("{host}/{}/?api-version={API_VERSION}", sas.device));
    let resource = sas.resource.clone().unwrap_or_else(|| format!("{host}/devices/{}", sas.device));
    let expires = now.plus(sas.lifetime);
    let token = token(&key, &resource, expires, sas.policy.as_deref());
    Ok(Grant {
        username: Some(username),
        password: Some(token),
        renew_at: Some(renewal(now, expires)),
        ..Grant::default()
    })
}

fn token(key: &[u8], resource: &str, expires: Timestamp, policy: Option<&str>) -> String {
    let (resource, expires) = (sigv4::encoded(resource), expires.as_millis().div_euclid(1000));
    let signature = sigv4::hmac_sha256(key, format!("{resource}\n{expires}").as_bytes());
    let signature = sigv4::encoded(&BASE64.encode(&signature));
    let policy = policy.map(|policy| format!("&skn={}", sigv4::encoded(policy))).unwrap_or_default();
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expires}{policy}")
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use serde_json::Value;

    use super::*;

    #[test]
    fn tokens_come_out_as_azures_documented_program_makes_them() {
        let file: Value = serde_json::from_str(include_str!("vectors/azure-sas.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let key = BASE64.decode(case["key"].as_str().unwrap().as_bytes()).unwrap();
            let expires = Timestamp::from_millis(case["expires"].as_i64().unwrap() * 1000 + 999);
            let token = token(&key, case["resource"].as_str().unwrap(), expires, case["policy"].as_str());
            assert_eq!(token, case["token"].as_str().unwrap());
        }
    }

    fn sas(key_file: &Path) -> Sas {
        Sas {
            username: None,
            device: "gateway".to_owned(),
            resource: None,
            key_file: key_file.to_owned(),
            policy: None,
            lifetime: Duration::from_secs(3600),
        }
    }

    #[tokio::test]
    async fn a_device_of_iot_hub_is_named_and_signed_as_documented_and_renewed_before_it_expires() {
        let directory = tempfile::tempdir().unwrap();
        let key_file = directory.path().join("key");
        std::fs::write(&key_file, "dpLDrTVAu4A8Ags67mbNiIcSMjTqDG5xQ8Ct1z/0Me0=\n").unwrap();
        let url = CloudUrl::parse("wss://Home.azure-devices.net").unwrap();
        let now = Timestamp::from_millis((1_796_083_200 - 3600) * 1000);
        let grant = grant(&sas(&key_file), &url, now).await.unwrap();
        assert_eq!(grant.username.as_deref(), Some("home.azure-devices.net/gateway/?api-version=2021-04-12"));
        // The first of the vectors.
        let expected = "SharedAccessSignature sr=home.azure-devices.net%2Fdevices%2Fgateway\
                        &sig=FfNF0eI0zqzANN9MMKQgQM%2BH0hCClpi8%2FSMmyOcM6DQ%3D&se=1796083200";
        assert_eq!(grant.password.as_deref(), Some(expected));
        assert_eq!(grant.renew_at, Some(now.plus(Duration::from_secs(3300))));
    }

    #[tokio::test]
    async fn a_key_that_is_no_base64_is_named_and_not_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let key_file = directory.path().join("key");
        std::fs::write(&key_file, "HostName=home;SharedAccessKey=abc").unwrap();
        let url = CloudUrl::parse("wss://h").unwrap();
        let fault = grant(&sas(&key_file), &url, Timestamp::from_millis(0)).await.unwrap_err();
        assert!(fault.detail.contains("not Base64; copy the primary"), "{}", fault.detail);
        assert!(!fault.detail.contains("abc"), "{}", fault.detail);
    }
}
