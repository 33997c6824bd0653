//! Faults of networks that take half a minute or more: `make test-faults`.

use crate::sim::{Egress, Fault};
use crate::support::faults::{
    OTHER_CREDENTIALS, SECOND, SILENT, chat_once, egress_sim, start_behind_egress, token_request_under,
};

/// The half minute for which a response is waited for.
#[test]
fn a_token_response_that_never_comes_or_drips_is_given_up() {
    std::thread::scope(|scope| {
        scope.spawn(|| token_request_under("black hole", Fault::BlackHole, false, SILENT));
        scope.spawn(|| token_request_under("drip", Fault::Slice(1, SECOND), false, SILENT));
    });
}

/// The minute for which refused credentials are not tried again.
#[test]
fn a_minute_after_a_refusal_one_attempt_is_made_and_the_others_wait_for_it() {
    let (sim, egress) = (egress_sim(false), Egress::start(Some(OTHER_CREDENTIALS)));
    let proxy = start_behind_egress(&sim, &egress, "svc:old@");
    proxy.wait_healthy();
    let left = || chat_once(&proxy).header("retry-after").unwrap().parse::<u64>().unwrap();
    std::thread::sleep(SECOND * u32::try_from(left()).unwrap());
    assert_eq!(egress.refused(), 1);
    std::thread::scope(|scope| {
        for asked in [(); 50].map(|()| scope.spawn(left)) {
            // The next refusal holds for five minutes.
            assert!(asked.join().unwrap() > 200);
        }
    });
    assert_eq!(egress.refused(), 2);
}
