//! A connection to the gateway's broker, as the devices of a house make it: by hand, so that nothing is sent again,
//! acknowledged or forgotten but by the device's own decision.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::{cloud::take_packet, raw};

/// How soon a device tries again to reach its broker.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A connection, CONNACK read.
pub struct Lan {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Lan {
    /// Connects, however long the gateway is away.
    pub async fn connect(broker: SocketAddr, id: &str, is_clean: bool) -> Self {
        loop {
            if let Ok(lan) = Self::attempt(broker, id, is_clean).await {
                return lan;
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn attempt(broker: SocketAddr, id: &str, is_clean: bool) -> io::Result<Self> {
        let stream = TcpStream::connect(broker).await?;
        stream.set_nodelay(true)?;
        let mut lan = Self { stream, buffer: BytesMut::new() };
        lan.send(&raw::connect(id, if is_clean { 2 } else { 0 }, &[])).await?;
        match lan.next().await? {
            (0x20, body) if body.get(1) == Some(&0) => Ok(lan),
            _ => Err(io::Error::other("no CONNACK")),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next packet. Cancel-safe: what is read stays in the buffer.
    pub async fn next(&mut self) -> io::Result<(u8, Bytes)> {
        loop {
            if let Some(packet) = take_packet(&mut self.buffer) {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The packet id of a PUBACK's body.
pub fn packet_id(mut body: Bytes) -> u16 {
    body.get_u16()
}
