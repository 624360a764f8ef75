//! Debian's squid as the way out of a network that lets nobody out by himself: an HTTP proxy that takes CONNECT, with
//! and without a password.
//!
//! Its own configuration and folder, no service of the machine. Started by root it becomes the user `proxy`, so what it
//! reads and writes lies in a folder that anybody may enter; nothing there is worth hiding.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use super::{
    port::Port,
    process::{PATIENCE, Process, eventually, program},
};

/// Who is let out where a password is asked for.
pub const USER: &str = "home";
/// The password, and what `openssl passwd -apr1 -salt salt` makes of it.
pub const PASSWORD: &str = "let me: out/now";
const PASSWORD_HASH: &str = "$apr1$salt$bNNL6GufkfWYH0oceWh4b/";

/// Where Debian has the program that squid asks about passwords.
const HELPER: &str = "/usr/lib/squid/basic_ncsa_auth";

/// A running squid.
pub struct Squid {
    _process: Process,
    folder: TempDir,
    address: SocketAddr,
    _reserved: Port,
}

impl Squid {
    /// One that lets everybody out.
    #[track_caller]
    pub fn start() -> Self {
        Self::launch("http_access allow all\n")
    }

    /// One that lets out only [`USER`] with the [`PASSWORD`]; others get 407.
    #[track_caller]
    pub fn start_with_password() -> Self {
        assert!(Path::new(HELPER).is_file(), "`{HELPER}` is missing: install Debian's `squid`");
        Self::launch(&format!(
            "auth_param basic program {HELPER} FOLDER/users\nauth_param basic realm the way out\n\
             auth_param basic children 1\nacl known proxy_auth REQUIRED\nhttp_access allow known\n\
             http_access deny all\n"
        ))
    }

    /// One that lets nobody out; all get 403.
    #[track_caller]
    pub fn start_closed() -> Self {
        Self::launch("http_access deny all\n")
    }

    #[track_caller]
    fn launch(access: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for squid");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("our own folder");
        let at = folder.path().display().to_string();
        fs::write(folder.path().join("users"), format!("{USER}:{PASSWORD_HASH}\n")).expect("written");
        let reserved = Port::reserve();
        let address = reserved.address();
        let text = format!(
            "http_port {address}\nvisible_hostname proxy.test\npid_filename none\ncache deny all\n\
             pinger_enable off\nnetdb_filename none\nshutdown_lifetime 0 seconds\ncoredump_dir {at}\n\
             cache_log {at}/squid.log\naccess_log stdio:{at}/access.log\n{}",
            access.replace("FOLDER", &at)
        );
        let config = folder.path().join("squid.conf");
        fs::write(&config, text).expect("written");
        let mut command = Command::new(program("squid"));
        command.arg("-N").arg("-f").arg(&config).current_dir(folder.path());
        let mut process = Process::start("squid", &mut command);
        eventually("squid listens", PATIENCE, || {
            assert!(process.is_running(), "squid ended: {}", process.lines().join("\n"));
            TcpStream::connect(address).ok()
        });
        Self { _process: process, folder, address, _reserved: reserved }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote about each request, in its own words: `TCP_TUNNEL/200 … CONNECT localhost:443 home …`, or
    /// `TCP_DENIED/407`. A tunnel is written down when it ends.
    pub fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}
