//! A port of loopback for a listener that comes and goes.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port of loopback that stays ours while nobody listens on it.
///
/// A socket that is bound and does not listen keeps the kernel from giving the port to an outgoing connection
/// (even one that dials the port itself), and with `SO_REUSEADDR` on both the program can still listen on it.
pub struct Port {
    _reservation: TcpSocket,
    address: SocketAddr,
}

impl Port {
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { _reservation: socket, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
