//! A network that lets nobody out but through a proxy: Debian's squid, with and without a password.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::squid::{PASSWORD, Squid, USER};

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
