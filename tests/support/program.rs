//! The real program as a child process: started with exactly the given environment, watched, ended with the test.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::sim::{Sim, eventually, wait_for};
use crate::support::client::{Client, Raw, Response};
use crate::support::secrets::Secrets;
use crate::support::transport::{Endpoint, Transport};

type Lines = Arc<Mutex<Vec<String>>>;

/// A running auth-proxy.
pub struct Proxy {
    child: Child,
    lines: Lines,
    secrets: Secrets,
    /// Ends with the program's standard error.
    reader: Option<JoinHandle<()>>,
    endpoint: Endpoint,
}

impl Proxy {
    /// Starts it against this simulator and waits until it is healthy.
    pub fn start(sim: &Sim) -> Self {
        Self::start_with(sim, &[])
    }

    /// As [`Proxy::start`], with these variables added or replaced; an empty value counts as unset.
    pub fn start_with(sim: &Sim, variables: &[(&str, &str)]) -> Self {
        Self::start_over(Transport::Tcp, sim, variables)
    }

    /// As [`Proxy::start_with`], for clients that come on this transport.
    pub fn start_over(transport: Transport, sim: &Sim, variables: &[(&str, &str)]) -> Self {
        let own = transport.variables(sim);
        let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let environment = environment(sim, &[&own, variables].concat());
        let transport = if speaks_tls(&environment) { Transport::Tls } else { transport };
        let proxy = Self::watch_over(transport, command(environment.clone()), Secrets::of(&environment));
        proxy.wait_healthy();
        proxy
    }

    /// Starts it and waits until it listens, not until it is healthy.
    pub fn start_listening(sim: &Sim, variables: &[(&str, &str)]) -> Self {
        Self::spawn(environment(sim, variables))
    }

    /// Starts it with this environment and nothing else, and waits until it listens.
    pub fn spawn(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let environment: Vec<_> = environment.into_iter().collect();
        let transport = if speaks_tls(&environment) { Transport::Tls } else { Transport::Tcp };
        Self::watch_over(transport, command(environment.clone()), Secrets::of(&environment))
    }

    /// As [`Proxy::start_with`], with these lines in place of `/etc/hosts`; none where we may not do that.
    pub fn start_with_hosts(sim: &Sim, variables: &[(&str, &str)], hosts: &str) -> Option<Self> {
        let path = sim.dir.join("hosts");
        std::fs::write(&path, hosts).unwrap();
        let mount = ["mount", "--bind", path.to_str().unwrap(), "/etc/hosts"];
        let may = |flags: &&[&str]| {
            let tried = Command::new("unshare").args(*flags).args(mount).stderr(Stdio::null()).status();
            tried.is_ok_and(|status| status.success())
        };
        let flags = [&["--mount"][..], &["--mount", "--map-root-user"]].into_iter().find(may)?;
        let environment = environment(sim, variables);
        let mut command = with_environment(Command::new("unshare"), environment.clone());
        // Both replace themselves: the child is the program in the end.
        let script = "program=$1; shift; \"$@\" && exec \"$program\"";
        command.args(flags).args(["sh", "-c", script, "sh"]).arg(program()).args(mount);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        let proxy = Self::watch(command, Secrets::of(&environment));
        proxy.wait_healthy();
        Some(proxy)
    }

    /// Has this command start it, which becomes the program itself, and waits until it listens.
    pub fn launch(launcher: Command, environment: &[(String, String)]) -> Self {
        Self::watch(launcher, Secrets::of(environment))
    }

    /// Starts it and waits until it listens.
    fn watch(command: Command, secrets: Secrets) -> Self {
        Self::watch_over(Transport::Tcp, command, secrets)
    }

    fn watch_over(transport: Transport, command: Command, secrets: Secrets) -> Self {
        let (mut child, lines, reader) = run(command);
        let endpoint = eventually(|| {
            let address = lines.lock().unwrap().iter().find_map(|line| listening_address(line));
            if let Some(endpoint) = address.and_then(|address| transport.endpoint(&address)) {
                return Some(Ok(endpoint));
            }
            child.try_wait().unwrap().map(Err)
        });
        let problem = match endpoint {
            Some(Ok(endpoint)) => return Self { child, lines, secrets, reader: Some(reader), endpoint },
            Some(Err(status)) => format!("it ended with {status}"),
            None => "it did not log that it listens".into(),
        };
        let _ = child.kill();
        let _ = child.wait();
        let _ = reader.join();
        panic!("auth-proxy did not start: {problem}\n{}", lines.lock().unwrap().join("\n"));
    }

    /// As [`Proxy::start_with`], for one whose log level hides its address.
    pub fn start_silent(sim: &Sim, variables: &[(&str, &str)]) -> Self {
        // Another program may take the port in between; nobody here does.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = address.port().to_string();
        let environment = environment(sim, &[variables, &[("PORT", &port)]].concat());
        let secrets = Secrets::of(&environment);
        let (child, lines, reader) = run(command(environment));
        let proxy = Self { child, lines, secrets, reader: Some(reader), endpoint: Endpoint::Tcp(address) };
        wait_for("auth-proxy to listen", || proxy.endpoint.try_connect().is_ok());
        proxy.wait_healthy();
        proxy
    }

    /// Where it listens, the first of several.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where it listens, if that is no Unix socket.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens on `ADMIN_PORT`.
    pub fn admin_address(&self) -> SocketAddr {
        let line = self.wait_log("listening for administration");
        line.rsplit_once("address=").unwrap().1.parse().unwrap()
    }

    /// Asks on `ADMIN_PORT`, over a new connection.
    pub fn admin(&self, path: &str) -> Response {
        Client::connect(self.admin_address()).get(path)
    }

    /// A new connection to it.
    pub fn client(&self) -> Client {
        Client::new(self.raw())
    }

    /// A new connection to it, for bytes as they are.
    pub fn raw(&self) -> Raw {
        self.endpoint.connect()
    }

    pub fn health(&self) -> Response {
        self.client().get("/health")
    }

    /// Waits until `GET /health` says 200.
    pub fn wait_healthy(&self) {
        self.wait_health(200);
    }

    /// Waits until `GET /health` has this status.
    pub fn wait_health(&self, status: u16) {
        wait_for(&format!("/health with status {status}"), || self.health().status == status);
    }

    /// Everything it wrote to standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a log line with this text and returns it.
    pub fn wait_log(&self, text: &str) -> String {
        let found = eventually(|| self.log().into_iter().find(|line| line.contains(text)));
        found.unwrap_or_else(|| panic!("no log line with {text:?}"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, as `TERM`.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success(), "kill -{name} failed");
    }

    /// Waits until it has ended by itself. The log is complete then.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let status = eventually(|| self.child.try_wait().unwrap()).expect("auth-proxy did not end");
        self.reader.take().map(JoinHandle::join);
        status
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Resident memory.
    pub fn rss_kb(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever was.
    pub fn peak_rss_kb(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// From now on [`Proxy::peak_rss_kb`] is the most since now.
    pub fn reset_peak_rss(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    pub fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    /// Open file descriptors.
    pub fn fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    fn status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- standard error of auth-proxy ---\n{}\n---", self.log().join("\n"));
        } else {
            self.reader.take().map(JoinHandle::join);
            self.secrets.search(&self.log().join("\n"));
        }
    }
}

/// How a run that ends by itself went.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program with these arguments until it ends; panics when it does not.
pub fn run_to_end(arguments: &[&str], environment: impl IntoIterator<Item = (String, String)>) -> Finished {
    let environment: Vec<_> = environment.into_iter().collect();
    let secrets = Secrets::of(&environment);
    let mut command = command(environment);
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    // Both pipes are drained while it runs: a full one would stop it.
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = std::thread::spawn(|| std::io::read_to_string(stdout).unwrap());
    let stderr = std::thread::spawn(|| std::io::read_to_string(stderr).unwrap());
    let status = eventually(|| child.try_wait().unwrap());
    let _ = child.kill();
    let _ = child.wait();
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let status = status.unwrap_or_else(|| panic!("auth-proxy {arguments:?} did not end\n{stdout}{stderr}"));
    secrets.search(&stdout);
    secrets.search(&stderr);
    Finished { status, stdout, stderr }
}

fn speaks_tls(environment: &[(String, String)]) -> bool {
    environment.iter().any(|(name, value)| name == "TLS_CERT_FILE" && !value.is_empty())
}

/// The simulator's environment with these variables added or replaced.
pub fn environment(sim: &Sim, variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: BTreeMap<String, String> = sim.env().into_iter().collect();
    all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    all.into_iter().collect()
}

/// The binary that is shipped can be put to the same tests: AUTH_PROXY_BIN=target/x86_64-unknown-linux-musl/...
pub fn program() -> OsString {
    std::env::var_os("AUTH_PROXY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_auth-proxy").into())
}

/// Whether that binary is the build with tiny_http's server.
pub fn is_tiny_http() -> bool {
    std::env::var_os("AUTH_PROXY_SERVER").is_some_and(|server| server == "tiny_http")
}

/// Whether to leave a test out, and says why: that server cannot do what it is about.
pub fn not_on_tiny_http(why: &str) -> bool {
    if is_tiny_http() {
        eprintln!("left out: {why}");
    }
    is_tiny_http()
}

fn command(environment: impl IntoIterator<Item = (String, String)>) -> Command {
    with_environment(Command::new(program()), environment)
}

/// A command with this environment and nothing else.
pub fn with_environment(
    mut command: Command,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Command {
    // The log is searched for secrets, whatever the test is about.
    command
        .env_clear()
        .env("LOG_LEVEL", "debug")
        .envs(environment)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn run(mut command: Command) -> (Child, Lines, JoinHandle<()>) {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let lines = Lines::default();
    let sink = lines.clone();
    let reader = std::thread::spawn(move || {
        for line in stderr.split(b'\n').map_while(Result::ok) {
            sink.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
        }
    });
    (child, lines, reader)
}

/// The address in the log event "listening", as text or JSON.
fn listening_address(line: &str) -> Option<String> {
    if let Ok(event) = serde_json::from_str::<serde_json::Value>(line) {
        return event["address"].as_str().filter(|_| event["message"] == "listening").map(str::to_owned);
    }
    let (_, fields) = line.split_once(" listening address=")?;
    fields.split(' ').next().map(str::to_owned)
}

#[test]
fn the_listening_address_is_found_in_both_log_formats() {
    let address = Some("127.0.0.1:43211".to_owned());
    let text = "2026-11-23T22:37:13.001Z info  listening address=127.0.0.1:43211 workers=4";
    assert_eq!(listening_address(text), address);
    let json = r#"{"time":"2026-11-23T22:37:13.001Z","level":"info","message":"listening","address":"127.0.0.1:43211"}"#;
    assert_eq!(listening_address(json), address);
    assert_eq!(listening_address("2026-11-23T22:37:13.001Z info  starting version=0.1.0"), None);
    let other = "2026-11-23T22:37:13.001Z info  listening for administration address=127.0.0.1:43212";
    assert_eq!(listening_address(other), None);
}
