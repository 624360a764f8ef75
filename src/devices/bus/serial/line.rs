//! The wire itself: a port that can be opened, read and written.
//!
//! Behind two small traits, so that the adapter runs on anything that moves bytes: the tests' pipes, a simulated
//! meter. The real one is `tokio-serial`, opened for us alone.

use std::{fs, io, path::Path};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_serial::{ClearBuffer, SerialPort, SerialPortBuilderExt, SerialStream};

use super::settings::{Parity, PortSettings};

/// An open port.
pub trait Line: AsyncRead + AsyncWrite + Send + Unpin {
    /// Changes the bits a second from now on.
    ///
    /// # Errors
    /// When the driver refuses them.
    fn set_baud(&mut self, baud: u32) -> io::Result<()>;

    /// Throws away what was written and has not left, so that closing the port waits for nothing.
    fn discard(&mut self);
}

/// Opens ports.
pub trait OpenLine: Send {
    /// Opens a port, for us alone.
    ///
    /// # Errors
    /// Why not and what to do, as a sentence for people without a full stop.
    fn open(&self, settings: &PortSettings) -> BoxFuture<'static, Result<Box<dyn Line>, String>>;
}

impl Line for SerialStream {
    fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        SerialPort::set_baud_rate(self, baud).map_err(io::Error::from)
    }

    fn discard(&mut self) {
        // A port that is gone has nothing to throw away.
        let _ = SerialPort::clear(self, ClearBuffer::Output);
    }
}

/// The ports of this machine.
pub(in crate::devices) struct Hardware;

impl OpenLine for Hardware {
    fn open(&self, settings: &PortSettings) -> BoxFuture<'static, Result<Box<dyn Line>, String>> {
        let settings = settings.clone();
        Box::pin(async move {
            // A driver may think for a while before it opens.
            let opening = tokio::task::spawn_blocking(move || open(&settings));
            opening.await.unwrap_or_else(|problem| Err(format!("opening it failed: {problem}")))
        })
    }
}

fn open(settings: &PortSettings) -> Result<Box<dyn Line>, String> {
    let path = &settings.path;
    if let Some(problem) = absence(path) {
        return Err(problem);
    }
    let builder = tokio_serial::new(path.to_string_lossy(), settings.baud)
        .data_bits(match settings.data_bits {
            5 => tokio_serial::DataBits::Five,
            6 => tokio_serial::DataBits::Six,
            7 => tokio_serial::DataBits::Seven,
            _ => tokio_serial::DataBits::Eight,
        })
        .parity(match settings.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .stop_bits(if settings.stop_bits == 2 {
            tokio_serial::StopBits::Two
        } else {
            tokio_serial::StopBits::One
        });
    match builder.open_native_async() {
        Ok(line) => Ok(Box::new(line)),
        Err(error) => Err(match error.kind() {
            tokio_serial::ErrorKind::NoDevice => {
                format!("{} is in use by another program; end that one", path.display())
            }
            tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => format!(
                "{} may not be opened; let the user of Hearthlink be in the group `dialout`",
                path.display()
            ),
            // It went between the look and the opening.
            tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => missing(path),
            _ => format!("{} cannot be opened: {error}; plug it out and in again", path.display()),
        }),
    }
}

/// Why there is no such port, without opening anything.
pub(in crate::devices) fn absence(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(missing(path)),
        _ => None,
    }
}

fn missing(path: &Path) -> String {
    format!("the port {} is not there; is it plugged in?", path.display())
}
