//! The phone: a web page with a toast button, and the app behind it that lives in the cloud.
//!
//! Owns the app's connection to the cloud's broker and the page's server. Never talks to the gateway:
//! what it knows came over the cloud, what it wants goes there. Invariant: every command carries an
//! id and a moment after which nobody may run it any more.

mod server;
mod view;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use view::View;

use super::{
    CLOUD_ROOT,
    client::{Client, ClientError},
    cloud::Line,
};
use crate::{clock::Clock, model::CommandId};

/// How long a press of the page's button may take to reach the toaster before it is too late.
pub const PRESS_LIFE: Duration = Duration::from_secs(10);

/// Messages from the cloud that wait to be looked at. Full: the connection waits, and the broker keeps them.
const INCOMING: usize = 64;

/// Why there is no phone.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// No port could be had.
    #[error("failed to listen on loopback for the phone's page: {0}")]
    Listen(#[from] io::Error),
}

/// The app in the cloud; cheap to clone.
#[derive(Clone)]
pub struct App {
    client: Client,
    view: watch::Receiver<View>,
    clock: Clock,
}

impl App {
    fn start(broker: SocketAddr, clock: Clock, stop: &CancellationToken) -> Self {
        let (sender, mut incoming) = mpsc::channel(INCOMING);
        let client = Client::connect("demo-phone", broker, view::filters(), sender, stop.clone());
        let (writer, view) = watch::channel(View::default());
        let mut connected = client.connected();
        tokio::spawn(async move {
            loop {
                // Cancel safety: `recv` and `changed` lose nothing when they are dropped.
                tokio::select! {
                    message = incoming.recv() => {
                        let Some(message) = message else { return };
                        let topic = String::from_utf8_lossy(&message.topic);
                        writer.send_modify(|view| view.take(&topic, &message.payload));
                    }
                    changed = connected.changed() => {
                        let Ok(()) = changed else { return };
                        let cloud = *connected.borrow_and_update();
                        writer.send_modify(|view| view.cloud = cloud);
                    }
                }
            }
        });
        Self { client, view, clock }
    }

    /// What the phone knows; changes wake the receiver.
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Sends "toast" under a new id; it may not run later than `life` from now.
    ///
    /// # Errors
    /// An error when the cloud is not known to have it.
    pub async fn press(&self, life: Duration) -> Result<CommandId, ClientError> {
        let id = format!("press-{:016x}", fastrand::u64(..));
        let id = CommandId::parse(&id).expect("letters and digits");
        self.press_again(&id, life).await.map(|()| id)
    }

    /// Sends "toast" under a given id: the same id is the same press.
    ///
    /// # Errors
    /// As [`App::press`].
    pub async fn press_again(&self, id: &CommandId, life: Duration) -> Result<(), ClientError> {
        let order = json!({ "id": id, "state": "ON", "expires_at": self.clock.now().plus(life) });
        self.client.publish(&format!("{CLOUD_ROOT}/toaster/set"), order.to_string().into_bytes()).await
    }
}

/// A running phone.
pub struct Phone {
    app: App,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Phone {
    /// Connects to the cloud's broker and serves the page on loopback, on `port` or, if that is taken,
    /// on a port of the kernel's choice. Ends with `stop`.
    ///
    /// # Errors
    /// [`PhoneError::Listen`].
    pub async fn start(
        broker: SocketAddr,
        port: u16,
        line: Line,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self, PhoneError> {
        let listener = listen(port).await?;
        let address = listener.local_addr()?;
        let app = App::start(broker, clock, &stop);
        let server = tokio::spawn(server::serve(listener, address, app.clone(), line, stop));
        Ok(Self { app, address, server })
    }

    /// The app behind the page.
    pub fn app(&self) -> App {
        self.app.clone()
    }

    /// Where to point a browser.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until every request is answered; the stop token must have been cancelled.
    pub async fn ended(self) {
        let _ = self.server.await;
    }
}

async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
    }
}

#[cfg(test)]
mod tests;
