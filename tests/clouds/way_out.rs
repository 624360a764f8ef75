//! A network that lets nobody out but through a proxy: Debian's squid, with and without a password.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use super::{
    Papers,
    cloud::Cloud,
    gateway::{Gateway, Plan},
    place::Place,
    squid::{PASSWORD, Squid, USER},
};

/// Asks the proxy for a tunnel and returns its answer's first line.
#[track_caller]
fn ask_for_a_tunnel(proxy: SocketAddr, credentials: Option<&str>) -> String {
    // Nobody needs to listen there to be let out: but then the answer would be 503.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let target = listener.local_addr().expect("it is bound");
    let mut stream = TcpStream::connect(proxy).expect("the proxy listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let authorization =
        credentials.map_or(String::new(), |basic| format!("Proxy-Authorization: Basic {basic}\r\n"));
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).expect("the proxy reads");
    let mut answer = [0; 64];
    let count = stream.read(&mut answer).expect("the proxy answers");
    String::from_utf8_lossy(&answer[..count]).lines().next().unwrap_or_default().to_owned()
}

/// `home:let me: out/now` and `home:wrong` as RFC 7617 wants them.
const RIGHT: &str = "aG9tZTpsZXQgbWU6IG91dC9ub3c=";
const WRONG: &str = "aG9tZTp3cm9uZw==";

#[test]
fn squid_lets_out_whom_it_is_to_let_out() {
    // Of the rig: a gateway that gets out through a proxy that lets everybody out has shown nothing.
    assert_eq!((USER, PASSWORD), ("home", "let me: out/now"), "{RIGHT} says so");
    let open = Squid::start();
    assert!(ask_for_a_tunnel(open.address(), None).contains(" 200 "));
    let guarded = Squid::start_with_password();
    assert!(ask_for_a_tunnel(guarded.address(), None).contains(" 407 "));
    assert!(ask_for_a_tunnel(guarded.address(), Some(WRONG)).contains(" 407 "));
    assert!(ask_for_a_tunnel(guarded.address(), Some(RIGHT)).contains(" 200 "));
    assert!(ask_for_a_tunnel(Squid::start_closed().address(), None).contains(" 403 "));
    assert!(guarded.log().iter().any(|line| line.contains("TCP_DENIED/407")));
}

/// A gateway that is told of a proxy in its file (`proxy`, members of `cloud.proxy`) or in its environment.
#[track_caller]
fn start(papers: &Papers, cloud: &Cloud, proxy: &str, environment: &[(&str, &str)]) -> Gateway {
    let folder = tempfile::tempdir_in(papers.path()).expect("a folder").keep();
    let mut plan = Plan::new(&folder, None, "routes:\n  - local: sensors/#\n");
    plan.line = format!(
        "cloud:\n  url: wss://localhost:{}/mqtt\n{}{proxy}  \
         backoff: {{first: 100ms, longest: 500ms, stable_after: 60s}}\n",
        cloud.gateway_port,
        papers.by_certificate()
    );
    plan.place = environment.iter().fold(Place::default(), |place, (name, value)| place.with(name, value));
    plan.start()
}

/// Whether squid let somebody through to this port of the cloud, and whom; a tunnel is written down when it ends.
fn tunnels(squid: &Squid, cloud: &Cloud) -> Vec<String> {
    let target = format!(" CONNECT localhost:{} ", cloud.gateway_port);
    let tunnels =
        squid.log().into_iter().filter(|line| line.contains("TCP_TUNNEL/200") && line.contains(&target));
    tunnels.filter_map(|line| Some(line.split(&target).nth(1)?.split(' ').next()?.to_owned())).collect()
}

#[track_caller]
fn online_and_a_reading(mut gateway: Gateway, cloud: &Cloud) {
    gateway.wait_online();
    let readings = cloud.phone().subscribe(&["-q", "1", "-t", "hearthlink/home/sensors/#"]);
    gateway.lan().publish(&["-q", "1", "-t", "sensors/attic", "-m", "21.5"]);
    readings.wait_for("the reading", |message| message.payload == "21.5");
    gateway.terminate();
}

#[track_caller]
fn fault(gateway: &Gateway, kind: &str) -> Value {
    let is_it = |status: &Value| status["link"]["fault"]["kind"] == kind;
    gateway.wait_for_status(&format!("the status says {kind}"), is_it)["link"]["fault"].clone()
}

#[test]
fn gateway_gets_out_through_squid_by_its_file_and_by_the_environment() {
    let papers = Papers::new();
    let cloud = Cloud::start(papers.path(), &papers.server, papers.ca());
    let (open, guarded) = (Squid::start(), Squid::start_with_password());
    let secret = papers.path().join("proxy-password");
    papers.write_secret(&secret, PASSWORD);
    let file = format!(
        "  proxy:\n    url: http://{}\n    username: {USER}\n    password_file: {}\n",
        guarded.address(),
        secret.display()
    );

    let simple = format!("  proxy: {{url: \"http://{}\"}}\n", open.address());
    online_and_a_reading(start(&papers, &cloud, &simple, &[]), &cloud);
    assert_eq!(tunnels(&open, &cloud), ["-"]);

    online_and_a_reading(start(&papers, &cloud, &file, &[]), &cloud);
    assert_eq!(tunnels(&guarded, &cloud), [USER]);

    // A password with everything that a URL cannot have as it is.
    let url = format!("http://{USER}:let%20me%3A%20out%2Fnow@{}", guarded.address());
    online_and_a_reading(start(&papers, &cloud, "", &[("HTTPS_PROXY", &url)]), &cloud);
    assert_eq!(tunnels(&guarded, &cloud), [USER, USER]);

    let past = [("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "localhost")];
    online_and_a_reading(start(&papers, &cloud, "", &past), &cloud);
    assert_eq!(tunnels(&guarded, &cloud), [USER, USER], "nobody came this way");
}

#[test]
fn what_squid_says_stands_on_the_status_page() {
    let papers = Papers::new();
    let cloud = Cloud::start(papers.path(), &papers.server, papers.ca());
    let (guarded, closed) = (Squid::start_with_password(), Squid::start_closed());
    let asked = start(&papers, &cloud, &format!("  proxy: {{url: \"http://{}\"}}\n", guarded.address()), &[]);
    let wrong = papers.path().join("wrong-password");
    papers.write_secret(&wrong, "wrong");
    let wrong = format!(
        "  proxy: {{url: \"http://{}\", username: {USER}, password_file: {}}}\n",
        guarded.address(),
        wrong.display()
    );
    let refused = start(&papers, &cloud, &wrong, &[]);
    let shut = start(&papers, &cloud, &format!("  proxy: {{url: \"http://{}\"}}\n", closed.address()), &[]);
    for gateway in [&asked, &refused] {
        let said = fault(gateway, "proxy_credentials");
        let is_named = |detail: &str| detail.contains(&guarded.address().to_string());
        assert!(said["detail"].as_str().is_some_and(is_named), "{said}");
    }
    let said = fault(&shut, "proxy_refused");
    assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("403")), "{said}");
    assert_eq!(tunnels(&guarded, &cloud), Vec::<String>::new());
}
