//! Where the token is kept fresh, and where it is said that it is not.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::fixture::Proxy;
use crate::sim::{ScriptedResponse, Options, Sim, wait_for};

const ECHO: &str = "/sim/echo";

/// Azure/aad-auth-proxy, token_provider.go, periodicallyRefreshClientToken: logs that it will try again in five
/// minutes and returns instead. The first refresh that fails is the last one.
#[test]
fn a_failed_refresh_is_not_the_last_one() {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::token(60).refresh_in(1), ScriptedResponse::aadsts(90033)]);
    let proxy = Proxy::start(&sim);
    let mut client = proxy.client();
    assert_eq!(client.get(ECHO).status, 200);
    wait_for("the failed refresh", || sim.entra.requests().len() == 2);
    assert_eq!(client.get(ECHO).status, 200, "the old token is still good");
    wait_for("the refresh after it", || sim.entra.issued().len() == 2);
    proxy.wait_log("token refresh recovered");
    wait_for("a request with the new token", || {
        assert_eq!(client.get(ECHO).status, 200);
        sim.azure.request_to(ECHO).bearer() == Some(sim.entra.issued()[1].token.clone())
    });
    let carried: Vec<String> = sim.azure.requests().iter().filter_map(|request| request.bearer()).collect();
    assert_eq!(carried[..2], [sim.entra.issued()[0].token.as_str(); 2]);
}

/// The same, setToken: stores into a local atomic and assigns a plain field, a data race without publication.
#[test]
fn readers_during_refreshes_never_see_an_empty_or_mixed_token() {
    let sim = Sim::start(Options::default());
    // Of different lengths and letters: a mixture of two could not be mistaken for either.
    let tokens: Vec<String> =
        [('a', 900), ('b', 2500), ('c', 100), ('d', 4000)].map(|(c, n)| c.to_string().repeat(n)).into();
    let responses = tokens.iter().map(|token| ScriptedResponse::token(3600).refresh_in(1).access_token(token));
    sim.entra.script(responses);
    sim.entra.set_lifetime(3600, None);
    let proxy = Proxy::start(&sim);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = proxy.client();
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(client.get(ECHO).status, 200);
                }
            });
        }
        let last = &tokens[tokens.len() - 1];
        wait_for("the last token to be used", || sim.azure.request_to(ECHO).bearer().as_ref() == Some(last));
        done.store(true, Ordering::SeqCst);
    });
    let issued: Vec<String> = sim.entra.issued().into_iter().map(|issued| issued.token).collect();
    for request in sim.azure.requests() {
        assert!(issued.contains(&request.bearer().unwrap()), "{:?}", request.headers);
    }
}

/// The same, handler.go, checkTokenProvider: `/ready` is 200 for ever, although the token has expired long since.
#[test]
fn an_expired_token_is_neither_ready_nor_sent() {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::token(2)]);
    let proxy = Proxy::start(&sim);
    sim.entra.stop();
    proxy.wait_health(503);
    assert_ne!(proxy.health().json()["reason"], "the proxy is stopping");
    let before = sim.azure.requests().len();
    let refused = proxy.client().get(ECHO);
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (503, &"authentication_error".into()));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(sim.azure.requests().len(), before, "nothing was sent with the old token");
    sim.entra.restart();
    proxy.wait_healthy();
    assert_eq!(proxy.client().get(ECHO).status, 200);
}
