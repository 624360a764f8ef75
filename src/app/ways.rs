//! The file's words on how the cloud is reached, put into the link's.

use crate::{
    config::{Cloud, ProxyUrl, Wrapping},
    link::{ProxyOptions, Transport, Way},
    model::{CloudUrl, Scheme, Secret},
};

/// The brokers, each with its ways, the best ones first.
pub(super) fn brokers(cloud: &Cloud) -> Vec<Vec<Way>> {
    let urls = [&cloud.url].into_iter().chain(&cloud.other_urls);
    urls.map(|url| ways(cloud, url)).collect()
}

fn ways(cloud: &Cloud, url: &CloudUrl) -> Vec<Way> {
    let way = |url: CloudUrl, alpn: Option<String>| Way {
        transport: match url.scheme() {
            Scheme::WebSocket => Transport::WebSocket { subprotocol: cloud.subprotocol.clone() },
            Scheme::Tls => Transport::Tls { alpn },
        },
        server_name: cloud.server_name.clone(),
        url,
    };
    let mut ways = vec![way(url.clone(), cloud.alpn.clone())];
    for rung in &cloud.ladder {
        let alpn = rung.alpn.clone().filter(|_| rung.transport == Wrapping::Mqtts);
        let next = way(rung.to(url), alpn);
        // A broker whose own URL is this rung has it already.
        if !ways.contains(&next) {
            ways.push(next);
        }
    }
    ways
}

/// The proxy; `password` is what its file holds.
pub(super) fn proxy(cloud: &Cloud, password: Option<String>) -> ProxyOptions {
    let Some(proxy) = &cloud.proxy else { return ProxyOptions::Environment };
    match &proxy.url {
        ProxyUrl::None => ProxyOptions::None,
        ProxyUrl::At { host, port } => ProxyOptions::Fixed {
            host: host.clone(),
            port: *port,
            login: proxy.username.clone().map(|user| (user, Secret::new(password.unwrap_or_default()))),
            except: proxy.except.join(","),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn cloud(text: &str) -> Cloud {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hearthlink.yaml");
        std::fs::write(&path, format!("gateway: {{id: x}}\ncloud: {{{text}}}\n")).unwrap();
        config::load(&path).unwrap().cloud.unwrap()
    }

    #[test]
    fn every_rung_leads_to_every_broker_and_none_twice() {
        let cloud = cloud(
            "url: wss://a.example/ws, other_urls: [mqtts://b.example], server_name: c.example, \
             ladder: [{transport: mqtts}, {transport: mqtts, port: 443, alpn: x}, {transport: wss, path: /mqtt}]",
        );
        let shown = |ways: &Vec<Way>| ways.iter().map(Way::to_string).collect::<Vec<_>>();
        let brokers = brokers(&cloud);
        assert_eq!(
            brokers.iter().map(shown).collect::<Vec<_>>(),
            [
                vec![
                    "wss://a.example:443/ws",
                    "mqtts://a.example:8883",
                    "mqtts://a.example:443 with ALPN x",
                    "wss://a.example:443/mqtt"
                ],
                vec![
                    "mqtts://b.example:8883",
                    "mqtts://b.example:443 with ALPN x",
                    "wss://b.example:443/mqtt"
                ],
            ]
        );
        assert!(brokers.iter().flatten().all(|way| way.server_name.as_deref() == Some("c.example")));
    }

    #[test]
    fn no_word_of_a_proxy_leaves_it_to_the_environment() {
        assert_eq!(proxy(&cloud("url: wss://a"), None), ProxyOptions::Environment);
        assert_eq!(proxy(&cloud("url: wss://a, proxy: {url: none}"), None), ProxyOptions::None);
        let fixed = cloud("url: wss://a, proxy: {url: \"http://p.example\", username: u, except: [b, c]}");
        let expected = ProxyOptions::Fixed {
            host: "p.example".to_owned(),
            port: 3128,
            login: Some(("u".to_owned(), Secret::new("s"))),
            except: "b,c".to_owned(),
        };
        assert_eq!(proxy(&fixed, Some("s".to_owned())), expected);
    }
}
