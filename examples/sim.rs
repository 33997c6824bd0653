//! The simulator alone: a fake Entra ID and a fake Azure OpenAI on loopback, to try auth-proxy without a cloud.
//!
//! Prints one line of JSON when it is ready and runs until standard input ends, or SIGTERM or Ctrl-C. Lines on standard input
//! are commands; a line of JSON follows each.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a tool for developers")]

#[path = "../tests/sim/mod.rs"]
mod sim;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sim::{
    Assigned, IdentityEndpoints, IdentityOptions, Options, Request, ScriptedResponse, Sim, latin1,
    odd_server_tls, other_authority_and_server,
};

const HELP: &str = "\
usage: cargo run --example sim -- [options]

  --dir DIR            put ca.pem and certificate.pem there, and leave them (default: a temporary folder)
  --env-file FILE      write the environment for auth-proxy there, as KEY=VALUE lines
  --log                print each request as Azure received it, tokens shortened
  --pause-ms N         between the events of a stream (default 0)
  --token-lifetime N   seconds (default 3600)
  --refresh-in N       the tokens' refresh_in, in seconds (default: none)
  --access-token TEXT  every token is this text, for an upstream that must know it (default: each is another)
  --clock SECONDS      how far Entra ID's clock is ahead of this machine's; it accepts assertions nevertheless
  --entra-port N       (default: a free one)
  --azure-port N       (default: a free one)
  --azure-host ADDRESS where Azure listens (default 127.0.0.1; 0.0.0.0 is for network namespaces without other interfaces)
  --register FILE      Entra ID knows the certificate in this PEM file, too
  --identity ADDRESS   also serve managed identities there, such as 127.0.0.1:0, and a token proxy of AKS
  --stay               run until a signal, whatever is on standard input

commands on standard input, one a line, unless --stay is given:
  register FILE        Entra ID knows the certificate in this PEM file, too
  entra refuse         the port of Entra ID refuses connections
  entra silent         connections to Entra ID are accepted, and no byte comes back
  entra status N       every token request gets this status
  entra aadsts N       every token request is refused with this code
  entra slow N         every token request takes this many seconds
  entra normal         ends each of them
  azure reset idle     resets the connections to Azure that have no request (azure reset all: every one)
";

fn main() -> ExitCode {
    let command = match parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(problem) => {
            eprint!("sim: {problem}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone()).unwrap();
    }
    let sim = Arc::new(Sim::start(command.options));
    for file in command.register {
        let pem = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        sim.entra.register(&pem);
    }
    if let Some(offset) = command.clock {
        sim.entra.set_clock(offset, 2 * offset.abs());
    }
    // Serves until the end.
    let identity = command.identity.map(|address| {
        let user_assigned = vec![Assigned::number(1), Assigned::number(2)];
        sim.identity_endpoints(IdentityOptions { address, user_assigned, ..IdentityOptions::default() })
    });
    let (ca, server) = other_authority_and_server();
    let token_proxy = identity.as_ref().map(|_| sim.entra.token_proxy(odd_server_tls(&server)));
    std::fs::write(sim.dir.join("cluster-ca.pem"), ca).unwrap();
    if let Some(file) = command.env_file {
        let lines: String = sim.env().iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        std::fs::write(&file, lines)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
    }
    let variables = |of: fn(&IdentityEndpoints) -> Vec<(&'static str, String)>| {
        let variables = identity.as_ref().map(of).unwrap_or_default();
        variables.into_iter().collect::<std::collections::HashMap<_, _>>()
    };
    let ready = serde_json::json!({
        "imds": variables(IdentityEndpoints::imds_env), "app_service": variables(IdentityEndpoints::app_service_env),
        "arc": variables(IdentityEndpoints::arc_env), "user_assigned": Assigned::number(1).client_id,
        "token_proxy_port": token_proxy.as_ref().map(sim::Server::port),
        "ready": true, "entra_port": sim.entra.server.port(), "azure_port": sim.azure.server.port(),
        "azure_url": sim.azure_url(), "token_url": sim.token_url(), "dir": sim.dir,
    });
    println!("{ready}");
    let _ = std::io::stdout().flush();
    if !command.stay {
        // Weak: it reads until the end of the program, and the simulator must be dropped before.
        let (stop, sim) = (stop.clone(), Arc::downgrade(&sim));
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                let Some(sim) = sim.upgrade() else { return };
                let done = match obey(&sim, &line) {
                    Ok(count) => serde_json::json!({"done": line, "count": count}),
                    Err(problem) => serde_json::json!({"problem": problem}),
                };
                println!("{done}");
            }
            stop.store(true, Ordering::SeqCst);
        });
    }
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(50));
    }
    ExitCode::SUCCESS
}

/// Does what a line on standard input asks for. Returns how many connections were concerned, where that has a meaning.
fn obey(sim: &Sim, line: &str) -> Result<usize, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is not a number"));
    let respond = |response| sim.entra.set_lasting_response(Some(response));
    match words[..] {
        ["register", file] => {
            let pem =
                std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
            sim.entra.register(&pem);
        }
        ["entra", "refuse"] => sim.entra.stop(),
        ["entra", "silent"] => {
            sim.entra.server.set_silent(true);
            sim.entra.server.close_connections();
        }
        ["entra", "status", status] => respond(ScriptedResponse::status(number(status)?)),
        ["entra", "aadsts", code] => {
            respond(ScriptedResponse::aadsts(code.parse().map_err(|_| format!("{code:?} is not a number"))?))
        }
        ["entra", "slow", seconds] => {
            respond(ScriptedResponse::default_behavior().delay(Duration::from_secs(number(seconds)?.into())))
        }
        ["entra", "normal"] => {
            sim.entra.server.set_silent(false);
            sim.entra.set_lasting_response(None);
            sim.entra.restart();
        }
        ["azure", "reset", which @ ("idle" | "all")] => {
            return Ok(sim.azure.server.reset_connections(which == "idle"));
        }
        _ => return Err(format!("unknown command {line:?}")),
    }
    Ok(0)
}

struct Command {
    options: Options,
    env_file: Option<PathBuf>,
    register: Vec<PathBuf>,
    stay: bool,
    identity: Option<SocketAddr>,
    clock: Option<i64>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut command = Command {
        options: Options::default(),
        env_file: None,
        register: Vec::new(),
        stay: false,
        identity: None,
        clock: None,
    };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        let number =
            |text: String| text.parse::<u64>().map_err(|_| format!("{name}: {text:?} is not a number"));
        let port = |text: String| text.parse::<u16>().map_err(|_| format!("{name}: {text:?} is not a port"));
        match name.as_str() {
            "--dir" => command.options.dir = Some(PathBuf::from(value()?)),
            "--env-file" => command.env_file = Some(PathBuf::from(value()?)),
            "--register" => command.register.push(PathBuf::from(value()?)),
            "--log" => command.options.on_azure_request = Some(Arc::new(print)),
            "--pause-ms" => command.options.pause = Duration::from_millis(number(value()?)?),
            "--token-lifetime" => command.options.token_lifetime = number(value()?)?,
            "--refresh-in" => command.options.refresh_in = Some(number(value()?)?),
            "--access-token" => command.options.access_token = Some(value()?),
            "--clock" => {
                let text = value()?;
                command.clock = Some(text.parse().map_err(|_| format!("--clock: {text:?} is not a number"))?);
            }
            "--entra-port" => command.options.entra_port = port(value()?)?,
            "--azure-port" => command.options.azure_port = port(value()?)?,
            "--azure-host" => {
                let text = value()?;
                let address =
                    text.parse().map_err(|_| format!("--azure-host: {text:?} is not an address"))?;
                command.options.azure_host = address;
            }
            "--identity" => {
                let text = value()?;
                let address = text.parse().map_err(|_| format!("--identity: {text:?} is not an address"))?;
                command.identity = Some(address);
            }
            "--stay" => command.stay = true,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(command)
}

/// The request as Azure received it.
fn print(request: &Request) {
    let mut text = format!("azure received  {} {}\n", request.method, request.target());
    for (name, value) in &request.headers {
        text.push_str(&format!("                {name}: {}\n", shortened(name, &latin1(value))));
    }
    // One call, so that requests that come together do not mix their lines.
    print!("{text}");
    let _ = std::io::stdout().flush();
}

/// Credentials keep their scheme and twelve characters.
fn shortened(name: &str, value: &str) -> String {
    let secret =
        ["authorization", "api-key", "x-api-key", "ocp-apim-subscription-key", "proxy-authorization"];
    if !secret.contains(&name.to_ascii_lowercase().as_str()) {
        return value.to_owned();
    }
    let (scheme, credential) = value.split_once(' ').map_or(("", value), |(scheme, rest)| (scheme, rest));
    let start: String = credential.chars().take(12).collect();
    format!("{scheme} {start}…").trim_start().to_owned()
}
