//! The stream that was dialled, as a socket that rumqttc can open by itself.
//!
//! rumqttc's MQTT 5 event loop takes no stream, but opens a Unix socket: so it is given one, in the abstract name space
//! of Linux, where nothing is left behind on a disk, and a task carries the bytes between the two. Owns that task and
//! what the far end said last. Invariants: only this process is let in; what rumqttc wrote before it let go still goes
//! out, for [`LINGER`] at most; the reason of an end is kept before the socket closes. Rejected: a client of our own,
//! for five hundred lines of packets; a patched rumqttc, which everybody after us would have to carry on.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt, copy, split},
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::dial::Stream;

/// How long what was written may still need when nobody waits for it any more.
const LINGER: Duration = Duration::from_secs(1);
/// How long a broken line may still say why: TLS alerts come behind the failed write.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A stream with a name.
pub(super) struct Bridge {
    socket: String,
    end: Arc<OnceLock<io::Error>>,
    /// Tells the task that nobody waits any more.
    _presence: DropGuard,
}

impl Bridge {
    /// Gives `stream` a name; the task that carries its bytes is one of `tasks`.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(stream: Box<dyn Stream>, tasks: &TaskTracker) -> io::Result<Self> {
        // A leading zero makes an abstract name (unix(7)).
        let socket = format!("\0hearthlink-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let listener = UnixListener::bind(&socket)?;
        let (end, presence) = (Arc::new(OnceLock::new()), CancellationToken::new());
        let carried = carry(listener, stream, end.clone());
        let gone = presence.clone();
        tasks.spawn(async move {
            // Both may be dropped half-way: then nobody hears of it.
            tokio::select! {
                () = carried => {}
                () = async { gone.cancelled().await; tokio::time::sleep(LINGER).await } => {}
            }
        });
        Ok(Self { socket, end, _presence: presence.drop_guard() })
    }

    /// What to open.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// Why the stream ended, once the socket has closed; `None`: without a word.
    pub(super) fn end(&self) -> Option<&io::Error> {
        self.end.get()
    }
}

async fn carry(listener: UnixListener, stream: Box<dyn Stream>, end: Arc<OnceLock<io::Error>>) {
    let Ok(near) = own_peer(listener).await else { return };
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = split(stream);
    let down = copy(&mut far_in, &mut near_out);
    tokio::pin!(down);
    // What is dropped half-way has nobody left to read it.
    let error = tokio::select! {
        result = &mut down => result.err(),
        result = copy(&mut near_in, &mut far_out) => match result {
            Ok(_) => {
                let _ = timeout(LINGER, far_out.shutdown()).await;
                return;
            }
            Err(error) => match timeout(LAST_WORDS, &mut down).await {
                Ok(Err(said)) => Some(said),
                Ok(Ok(_)) | Err(_) => Some(error),
            },
        },
    };
    if let Some(error) = error {
        let _ = end.set(error);
    }
}

/// The first to come that is this process: everybody on the machine can read the names.
async fn own_peer(listener: UnixListener) -> io::Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        if stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id()) {
            return Ok(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};

    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    async fn near(bridge: &Bridge) -> UnixStream {
        UnixStream::connect(bridge.socket()).await.unwrap()
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_what_was_written_before_the_end_still_goes_out() {
        let (stream, mut far) = duplex(64 << 10);
        let tasks = TaskTracker::new();
        let bridge = Bridge::open(Box::new(stream), &tasks).unwrap();
        let mut near = near(&bridge).await;
        far.write_all(b"down").await.unwrap();
        let mut four = [0; 4];
        near.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"down");
        near.write_all(b"up and the last words").await.unwrap();
        drop((near, bridge));
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "up and the last words");
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_takes_nothing_is_let_go_soon_after_nobody_waits_for_it() {
        // Nobody reads `far`, so the task hangs in the middle of a write.
        let (stream, _far) = duplex(1);
        let tasks = TaskTracker::new();
        let bridge = Bridge::open(Box::new(stream), &tasks).unwrap();
        let mut near = near(&bridge).await;
        near.write_all(b"more than one").await.unwrap();
        drop((near, bridge));
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn a_name_is_in_no_file_system_and_the_end_of_the_stream_is_the_end_of_the_socket() {
        let (stream, far) = duplex(64);
        let bridge = Bridge::open(Box::new(stream), &TaskTracker::new()).unwrap();
        let name = bridge.socket().strip_prefix('\0').unwrap();
        assert!(SocketAddr::from_abstract_name(name).is_ok());
        let mut near = near(&bridge).await;
        drop(far);
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        assert!(bridge.end().is_none());
    }
}
