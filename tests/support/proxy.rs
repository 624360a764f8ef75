//! A line that can be ill: a TCP proxy that cuts, hangs, goes half open, delays, drips and drops.
//!
//! Knows bytes only; what it is told counts for open connections as well as for new ones. Invariants: it never
//! changes or reorders what it carries, and a direction that has swallowed a byte carries nothing ever after, as
//! on a real line whose other end will not hear of it.
//!
//! Not one piece of code with the demonstration's front (`src/demo/cloud/front.rs`): that switch is above TLS and
//! WebSocket and must end its broker's connections gently, or rumqttd dies; this one is below and must not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From whoever connected to the target.
    Out,
    /// From the target back.
    Back,
}

/// What the line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// It carries.
    Clear,
    /// New connections are reset; open ones stay: [`Proxy::cut`] ends them.
    Shut,
    /// New connections are accepted and then nothing; open ones carry nothing. All go on when it clears up.
    Hung,
    /// What goes this way disappears and nobody is told; connections that it happened to stay half open.
    HalfOpen(Way),
    /// Every piece waits so long.
    Delayed(Duration),
    /// So many bytes at a time, a millisecond apart.
    Dripping(usize),
    /// Every n-th new connection is reset.
    EveryNth(u64),
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// RST to both ends.
    Reset,
    /// FIN to both ends.
    Fin,
}

#[derive(Debug, Clone, Copy)]
struct Orders {
    target: SocketAddr,
    weather: Weather,
    cuts: u64,
    end: End,
}

/// A running proxy and its handle. Dropped, it ends with every connection.
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    accepted: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on loopback, on a port of the kernel's choice.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let orders = watch::Sender::new(Orders { target, weather: Weather::Clear, cuts: 0, end: End::Reset });
        let accepted = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(accept(listener, orders.subscribe(), accepted.clone()));
        Self { address, orders, accepted, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, weather: Weather) {
        self.orders.send_modify(|orders| orders.weather = weather);
    }

    /// Ends every open connection, now.
    pub fn cut(&self, end: End) {
        self.orders.send_modify(|orders| {
            orders.cuts += 1;
            orders.end = end;
        });
    }

    /// New connections go here; open ones stay where they are.
    pub fn aim(&self, target: SocketAddr) {
        self.orders.send_modify(|orders| orders.target = target);
    }

    /// How many connections came so far, dropped ones too.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, orders: watch::Receiver<Orders>, accepted: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        // Cancel safety: neither loses anything when dropped.
        let stream = tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => { sleep(Duration::from_millis(10)).await; continue }
            },
        };
        let number = accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let is_dropped = match orders.borrow().weather {
            Weather::Shut => true,
            Weather::EveryNth(n) => number.is_multiple_of(n),
            _ => false,
        };
        if is_dropped {
            let _ = stream.set_zero_linger();
            continue;
        }
        connections.spawn(carry(stream, orders.clone()));
    }
}

async fn carry(mut near: TcpStream, mut orders: watch::Receiver<Orders>) {
    let born = orders.borrow().cuts;
    let mut cut = orders.clone();
    let (mut out, mut back) = (orders.clone(), orders.clone());
    // Cancel safety: whichever ends, the connection is over.
    let far = tokio::select! {
        _ = cut.wait_for(|orders| orders.cuts != born) => { let _ = near.set_zero_linger(); return }
        far = async {
            held_up(&mut orders).await;
            let target = orders.borrow().target;
            TcpStream::connect(target).await
        } => far,
    };
    let Ok(mut far) = far else {
        let _ = near.set_zero_linger();
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let end = {
        let ((from_near, to_near), (from_far, to_far)) = (near.split(), far.split());
        tokio::select! {
            cut = cut.wait_for(|orders| orders.cuts != born) => cut.map_or(End::Reset, |orders| orders.end),
            carried = async {
                tokio::try_join!(
                    pump(from_near, to_far, &mut out, Way::Out),
                    pump(from_far, to_near, &mut back, Way::Back),
                )
            } => if carried.is_ok() { End::Fin } else { End::Reset },
        }
    };
    for stream in [&mut near, &mut far] {
        match end {
            End::Reset => drop(stream.set_zero_linger()),
            End::Fin => drop(stream.shutdown().await),
        }
    }
}

/// Waits while the line hangs.
async fn held_up(orders: &mut watch::Receiver<Orders>) {
    // An error means that the proxy is gone, and this task with it.
    let _ = orders.wait_for(|orders| orders.weather != Weather::Hung).await;
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    orders: &mut watch::Receiver<Orders>,
    way: Way,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut is_dead = false;
    loop {
        let count = from.read(&mut buffer).await?;
        held_up(orders).await;
        let weather = orders.borrow().weather;
        is_dead |= weather == Weather::HalfOpen(way);
        if is_dead {
            if count == 0 {
                // The end of the stream disappears as well.
                std::future::pending::<()>().await;
            }
            continue;
        }
        if count == 0 {
            return to.shutdown().await;
        }
        let piece = match weather {
            Weather::Dripping(bytes) => bytes.max(1),
            _ => count,
        };
        for piece in buffer[..count].chunks(piece) {
            match weather {
                Weather::Delayed(wait) => sleep(wait).await,
                Weather::Dripping(_) => sleep(Duration::from_millis(1)).await,
                _ => {}
            }
            to.write_all(piece).await?;
        }
    }
}
