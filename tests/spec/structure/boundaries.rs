//! Who may know whom: the design's table, as data.

use super::{code, is_test, names, none, rust_files};

/// These files and folders must not name these things.
struct Rule {
    why: &'static str,
    /// Where it holds: prefixes of paths below `src/`; an empty one is everything.
    within: &'static [&'static str],
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        why: "the server knows no tokens, no settings and nothing of the proxy",
        within: &["server"],
        except: &[],
        forbidden: &[
            "crate::token",
            "crate::config",
            "crate::identity",
            "crate::upstream",
            "crate::proxy",
            "crate::ops",
            "TokenStore",
            "Token",
            "Config",
        ],
    },
    Rule {
        why: "messages know no sockets, no threads and nothing of ours",
        within: &["http1"],
        except: &[],
        forbidden: &[
            "crate::app",
            "crate::config",
            "crate::identity",
            "crate::log",
            "crate::ops",
            "crate::proxy",
            "crate::server",
            "crate::net",
            "crate::token",
            "crate::upstream",
            "std::net::TcpStream",
            "std::thread",
            "ureq",
        ],
    },
    Rule {
        why: "bytes know no messages, no settings and none of their users",
        within: &["net"],
        except: &[],
        forbidden: &[
            "crate::app",
            "crate::config",
            "crate::http1",
            "crate::identity",
            "crate::ops",
            "crate::proxy",
            "crate::server",
            "crate::token",
            "crate::upstream",
            "ureq",
        ],
    },
    Rule {
        why: "a connection is a stream: only bytes know that there is TCP below it",
        within: &[""],
        except: &["net", "net.rs", "server/tiny_http.rs", "server/tiny_http"],
        forbidden: &["TcpStream"],
    },
    Rule {
        why: "what forwards bytes knows no tokens and no settings",
        within: &[
            "proxy/headers.rs",
            "proxy/relay.rs",
            "proxy/tunnel.rs",
            "proxy/request_body.rs",
            "proxy/retry.rs",
        ],
        except: &[],
        forbidden: &["crate::token", "crate::config", "crate::identity", "TokenStore", "Token", "Config"],
    },
    Rule {
        why: "the identity knows no HTTP",
        within: &["identity"],
        except: &[],
        forbidden: &[
            "http",
            "httparse",
            "ureq",
            "crate::server",
            "crate::proxy",
            "crate::upstream",
            "crate::token",
            "TcpStream",
        ],
    },
    Rule {
        why: "settings are read before anything else exists",
        within: &["config"],
        except: &[],
        forbidden: &[
            "crate::app",
            "crate::identity",
            "crate::log",
            "crate::ops",
            "crate::proxy",
            "crate::server",
            "crate::token",
            "crate::upstream",
        ],
    },
    Rule {
        why: "upstream knows no tokens and none of its users",
        within: &["upstream"],
        except: &[],
        forbidden: &["crate::token", "crate::identity", "crate::proxy", "crate::server", "crate::ops"],
    },
    Rule {
        why: "tokens come from Entra ID and know nothing of requests",
        within: &["token"],
        except: &[],
        forbidden: &["crate::proxy", "crate::server", "crate::ops"],
    },
    Rule {
        why: "only upstream and those who send requests name ureq",
        within: &[""],
        except: &[
            "upstream",
            "token/http.rs",
            "token/entra.rs",
            "token/managed_identity.rs",
            "proxy/forward.rs",
            "proxy/failure.rs",
        ],
        forbidden: &["ureq"],
    },
    Rule {
        why: "only bytes know TLS (the PEM types of the identity apart)",
        within: &[""],
        except: &["net", "identity/pem.rs"],
        forbidden: &["rustls", "webpki_roots"],
    },
    Rule {
        why: "only the refresher writes the token store (outside of `token` the compiler sees to it)",
        within: &["token"],
        except: &["token/refresher.rs", "token/store.rs"],
        forbidden: &[
            ".publish",
            ".fail",
            ".record_failure",
            ".plan",
            ".begin",
            ".mark_running",
            ".mark_died",
        ],
    },
    Rule {
        why: "only the command line and the log print",
        within: &[""],
        except: &["cli.rs", "log.rs"],
        forbidden: &["print!", "println!", "eprint!", "eprintln!", "dbg!", "stdout", "stderr"],
    },
    Rule {
        why: "only start and stop know all parts",
        within: &[""],
        except: &["app.rs", "cli.rs", "testing.rs"],
        forbidden: &["crate::app", "crate::cli"],
    },
    Rule {
        why: "settings are read in one place; what terminals and service managers set is not a setting of ours",
        within: &[""],
        except: &["cli.rs", "log.rs", "main.rs", "ops/notify.rs"],
        forbidden: &["env::var", "env::vars", "env::var_os"],
    },
    Rule {
        why: "one thread serves one connection, without a runtime",
        within: &[""],
        except: &[],
        forbidden: &["async", "await", "tokio"],
    },
];

#[test]
fn no_module_names_what_it_must_not_know() {
    let files = rust_files("src/");
    let mut found = Vec::new();
    for rule in RULES {
        let below = |paths: &[&str], file: &str| {
            let file = file.strip_prefix("src/").unwrap();
            paths.iter().any(|path| {
                let rest = file.strip_prefix(path);
                rest.is_some_and(|rest| {
                    path.is_empty() || rest.is_empty() || rest == ".rs" || rest.starts_with('/')
                })
            })
        };
        for path in rule.within.iter().chain(rule.except).filter(|path| !path.is_empty()) {
            assert!(files.iter().any(|file| below(&[path], file)), "there is no src/{path} any more");
        }
        for file in &files {
            if is_test(file) || !below(rule.within, file) || below(rule.except, file) {
                continue;
            }
            for (number, line) in code(file) {
                for name in rule.forbidden.iter().filter(|name| names(&line, name)) {
                    found.push(format!("{file}:{number} names {name}: {}", rule.why));
                }
            }
        }
    }
    none("the map in src/lib.rs does not hold", &found);
}

/// Both sides could be wrong together: an assertion that is made and verified by the same code proves nothing.
#[test]
fn the_simulator_uses_nothing_of_the_program_and_the_program_nothing_of_it() {
    let mut found = Vec::new();
    for file in rust_files("tests/sim/") {
        for (number, line) in code(&file) {
            if names(&line, "auth_proxy") || names(&line, "rsa::") {
                found.push(format!("{file}:{number}"));
            }
        }
    }
    for file in rust_files("src/").iter().filter(|file| !is_test(file)) {
        for (number, line) in code(file) {
            if line.contains("tests/sim") || line.contains("include!") {
                found.push(format!("{file}:{number}"));
            }
        }
    }
    none("simulator and product know each other", &found);
}
