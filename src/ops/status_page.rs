//! `/`: the state of the program on one page, for people with a browser and no dashboard. One document without scripts; a
//! browser reads it again every few seconds. It shows what `/readyz`, `/metrics` and the log show, and no more.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::html::Html;
use super::metrics::SeenStatus;
use super::watch::SLOW_RESPONSE;
use super::{Sources, config_page, health, is_near};
use crate::log::{self, rfc3339};
use crate::net::DateProblem;
use crate::process;
use crate::report::visible;
use crate::server::dominant_client_hint;
use crate::token::{Class, Status};
use crate::version;

const STYLE: &str = include_str!("status_page/style.css");

/// Nothing but the style sheet in the page and its icon: what is not there cannot be injected.
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The certificate is to be renewed from here on, as the log says.
const RENEW_WITHIN: Duration = DAY.saturating_mul(30);
/// How long a response that needs attention does.
const RECENT: Duration = Duration::from_secs(10 * 60);
/// As many different statuses are shown.
const MAX_STATUSES: usize = 20;

const TH: &str = "<th scope=\"row\">";
const TD: &str = "<td>";
const NUMBER: &str = "<td class=\"number\">";
const WHEN: &str = "<td class=\"when\">";
const NOWRAP: &str = "<td class=\"nowrap\">";
const ACT: &str = "<td class=\"act\">";

/// The cell of a value, red where somebody must act.
fn cell(must_act: bool) -> &'static str {
    if must_act { ACT } else { TD }
}

/// The page `/`.
pub(super) fn render(sources: &Sources) -> String {
    let mut html = Html::default();
    let now = sources.tokens.clock().unix();
    let status = sources.tokens.status();
    begin(&mut html, status.ready());
    readiness(&mut html, sources, &status);
    problems(&mut html, now);
    sign_in(&mut html, sources, &status, now);
    tls(&mut html, sources, now);
    upstream(&mut html, sources, now);
    open_now(&mut html, sources);
    end(&mut html, sources, now);
    html.finish()
}

/// Whether requests are served, and if not why.
fn readiness(html: &mut Html, sources: &Sources, status: &Status) {
    let Some(reason) = health::reason(status) else {
        html.markup("<h1>auth-proxy is ready</h1>\n<p>There is a usable token.");
        html.text(&busy(sources));
        html.markup("</p>\n");
        return;
    };
    // Before the first attempt has failed, and during a shutdown, nothing is wrong.
    let has_failed = status.last_error.is_some() || status.has_died();
    html.markup("<h1>auth-proxy is ");
    html.markup(if has_failed { "<span class=\"act\">not ready</span>" } else { "not ready" });
    html.markup("</h1>\n<table>\n");
    html.row(&[(TH, "why".into()), (cell(has_failed), reason.into())]);
    if let Some(unavailable) = &status.unavailable {
        let next = match &unavailable.waiting {
            Some(waiting) => format!("under way for {}", span(waiting.so_far)),
            None => format!("in {}", span(unavailable.retry_after)),
        };
        let facts = [
            ("code", unavailable.code.map(|code| format!("AADSTS{code}"))),
            ("what to do", unavailable.remedy.clone()),
            ("next attempt", Some(next)),
            ("trace id", unavailable.trace_id.clone()),
            ("correlation id", unavailable.correlation_id.clone()),
        ];
        for (name, value) in facts {
            if let Some(value) = value {
                html.row(&[(TH, name.into()), (TD, value.into())]);
            }
        }
    }
    html.markup("</table>\n");
}

/// What may keep requests from being served although there is a token.
fn busy(sources: &Sources) -> String {
    let metrics = &*sources.metrics;
    let mut text = String::new();
    let waiting = metrics.unanswered.older_than(SLOW_RESPONSE);
    if let Some(oldest) = metrics.unanswered.oldest().filter(|_| waiting > 0) {
        let (oldest, who) = (span(oldest), if waiting == 1 { "request waits" } else { "requests wait" });
        text = format!(" {waiting} {who} for the upstream's response, the oldest for {oldest}.");
    }
    if usize::try_from(metrics.connections.value()).is_ok_and(|open| open >= sources.limits.connections) {
        text.push_str(" As many connections are open as may be: new ones are refused.");
    }
    text
}

/// The last warnings and errors of the log.
fn problems(html: &mut Html, now: Duration) {
    html.markup("<h2>Last problems</h2>\n");
    let problems = log::problems();
    if problems.is_empty() {
        html.markup("<p class=\"quiet\">None since the start.</p>\n");
        return;
    }
    html.markup("<table>\n<tr><th>last<th>code<th>what happened<th>what to do</tr>\n");
    for problem in problems {
        let ago = now.saturating_sub(Duration::from_secs(problem.last_unix));
        let mut when = format!("{} ago\n{}", span(ago), rfc3339(problem.last_unix));
        if problem.count > 1 {
            when.push_str(&format!("\n{} times since\n{}", problem.count, rfc3339(problem.first_unix)));
        }
        let separator = if problem.meaning.is_empty() { "" } else { ": " };
        let what: Cow<'_, str> = format!("{}{separator}{}", problem.message, problem.meaning).into();
        html.row(&[
            (WHEN, when.into()),
            (NOWRAP, problem.code.into()),
            (cell(problem.is_error), what),
            (TD, problem.remedy.into()),
        ]);
    }
    html.markup("</table>\n");
}

fn sign_in(html: &mut Html, sources: &Sources, status: &Status, now: Duration) {
    html.markup("<h2>Sign-in</h2>\n<table>\n");
    let mut fact = |name: &str, must_act: bool, value: String| {
        html.row(&[(TH, name.into()), (cell(must_act), value.into())]);
    };
    let config = &*sources.config;
    fact("credential", false, format!("{}, because {}", config.credential.name(), config.credential_reason));
    if let Some(application) = config.application() {
        fact("client id", false, application.client_id.clone());
        fact("token URL", false, application.token_url.clone());
    }
    for (name, value) in config.credential.details() {
        fact(&name.replace('_', " "), false, value);
    }
    fact("scope", false, visible(&config.scope));
    if let Some(current) = &sources.certificate {
        let certificate = current.certificate();
        let left = Duration::from_secs(certificate.seconds_left(now.as_secs()));
        let expires = rfc3339(certificate.not_after_unix);
        fact("certificate", false, certificate.subject.clone());
        fact("SHA-1 thumbprint", false, certificate.sha1_hex());
        let days = days_left(left);
        let (must_act, left) = if left.is_zero() {
            (true, "expired".to_owned())
        } else if left <= RENEW_WITHIN {
            (true, format!("{days}, renew it"))
        } else {
            (false, days)
        };
        fact("certificate expires", must_act, format!("{expires}, {left}"));
    }
    match (status.age, status.expires_in) {
        (Some(age), Some(left)) if !left.is_zero() => {
            fact("token", false, format!("{} old, expires in {}", span(age), span(left)));
        }
        (Some(age), _) => {
            fact("token", true, format!("{} old, expired {} ago", span(age), span(status.expired_for)))
        }
        _ => fact("token", false, "none yet".into()),
    }
    fact("attempts", false, format!("{} with a token, {} failed", status.successes, status.failures));
    if let Some(error) = status.last_error.as_ref().filter(|_| status.unavailable.is_none()) {
        let code = error.code.map(|code| format!("AADSTS{code}: ")).unwrap_or_default();
        let hints = error.hints.iter().map(|hint| format!("; {hint}")).collect::<String>();
        let must_act = error.class == Class::Permanent;
        fact("last attempt failed", must_act, format!("{code}{}{hints}", error.summary));
    }
    html.markup("</table>\n");
}

/// The certificate towards clients, where there is one.
fn tls(html: &mut Html, sources: &Sources, now: Duration) {
    let Some(tls) = &sources.tls else { return };
    html.markup("<h2>TLS towards clients</h2>\n<table>\n");
    if let Some(validity) = tls.validity() {
        let left = Duration::from_secs(validity.not_after_unix.saturating_sub(now.as_secs()));
        let problem = validity.problem(now.as_secs());
        let what = match problem {
            None => days_left(left),
            Some(DateProblem::ExpiresSoon) => format!("{}, renew it", days_left(left)),
            Some(DateProblem::Expired) => "expired".to_owned(),
            Some(DateProblem::NotYetValid) => {
                format!("not valid before {}", rfc3339(validity.not_before_unix))
            }
        };
        let expires = format!("{}, {what}", rfc3339(validity.not_after_unix));
        html.row(&[(TH, "certificate expires".into()), (cell(problem.is_some()), expires.into())]);
    }
    let (is_failing, files) = match tls.is_reload_failing() {
        true => (true, "changed and cannot be used: what they held before is in use"),
        false => (false, "in use"),
    };
    html.row(&[(TH, "files".into()), (cell(is_failing), files.into())]);
    html.markup("</table>\n");
}

fn upstream(html: &mut Html, sources: &Sources, now: Duration) {
    let metrics = &*sources.metrics;
    html.markup("<h2>Upstream</h2>\n<table>\n");
    html.row(&[(TH, "base URL".into()), (TD, config_page::upstream(&sources.config).into())]);
    html.row(&[(TH, "reached".into()), (TD, config_page::route(&sources.config).into())]);
    let errors = metrics.upstream_errors.values().filter(|(_, count)| *count > 0);
    let mut errors: Vec<_> = errors.map(|(kind, count)| format!("{kind} {count}")).collect();
    let aborted = metrics.responses_aborted.value();
    errors.extend((aborted > 0).then(|| format!("aborted {aborted}")));
    if !errors.is_empty() {
        html.row(&[(TH, "failures".into()), (TD, errors.join(", ").into())]);
    }
    let left = metrics.clients_gone.value();
    if left > 0 {
        html.row(&[(TH, "clients that left early".into()), (TD, left.to_string().into())]);
    }
    html.markup("</table>\n");

    let mut seen: Vec<_> = metrics.upstream_responses.values().collect();
    if seen.is_empty() {
        html.markup("<p class=\"quiet\">No response yet.</p>\n");
        return;
    }
    seen.sort_by_key(|seen| std::cmp::Reverse(seen.last_unix));
    seen.truncate(MAX_STATUSES);
    html.markup("<table>\n<tr><th scope=\"row\">status<th>responses<th>last<th></tr>\n");
    for SeenStatus { status, count, last_unix, meaning } in seen {
        let ago = now.saturating_sub(Duration::from_secs(last_unix));
        // What to do about it is among the problems. Nobody here can do anything about a 5xx.
        let meaning = if ago <= RECENT { meaning } else { "" };
        let must_act = !meaning.is_empty() && status.is_some_and(|status| status < 500);
        html.row(&[
            (TH, status.map_or_else(|| "other".into(), |status| status.to_string().into())),
            (NUMBER, count.to_string().into()),
            (NUMBER, format!("{} ago", span(ago)).into()),
            (cell(must_act), meaning.into()),
        ]);
    }
    html.markup("</table>\n");
}

fn open_now(html: &mut Html, sources: &Sources) {
    let (metrics, limits) = (&*sources.metrics, sources.limits);
    html.markup("<h2>Open now</h2>\n<table>\n<tr><th scope=\"row\"><th>now<th>limit</tr>\n");
    let connections = u64::try_from(limits.connections).ok();
    let gauge = |value: i64| u64::try_from(value).ok();
    let number = |value: u64| value.to_string();
    let mib = |value: u64| format!("{:.1} MiB", value as f64 / f64::from(1 << 20));
    let lowered = limits.lowered_by().map(|by| format!(", lowered by {by}")).unwrap_or_default();
    let open = u64::try_from(metrics.connections.value()).unwrap_or_default();
    let is_full = connections.is_some_and(|limit| is_near(open, limit));
    let busiest = sources.clients.busiest().filter(|_| is_full);
    let busiest = busiest.and_then(|(client, count)| dominant_client_hint(client, count, open));
    let busiest = busiest.map(|hint| format!("; {hint}")).unwrap_or_default();
    let descriptors = process::open_descriptors().and_then(|open| u64::try_from(open).ok());
    type Row = (&'static str, Option<u64>, Option<u64>, fn(u64) -> String, Option<String>);
    let rows: [Row; 7] = [
        ("client connections", Some(open), connections, number, Some(lowered + &busiest)),
        ("requests in flight", gauge(metrics.in_flight.value()), connections, number, None),
        ("event streams", gauge(metrics.streams.value()), connections, number, None),
        ("WebSockets", gauge(metrics.websockets.value()), connections, number, None),
        ("file descriptors", descriptors, process::descriptor_limit(), number, None),
        ("memory", process::resident_bytes(), limits.memory, mib, None),
        ("threads", process::threads(), None, number, None),
    ];
    for (name, open, limit, show, note) in rows {
        let is_near = open.zip(limit).is_some_and(|(open, limit)| is_near(open, limit));
        let limit = limit.map_or_else(|| "none known".into(), show);
        html.row(&[
            (TH, name.into()),
            (if is_near { ACT } else { NUMBER }, open.map_or_else(|| "unknown".into(), show).into()),
            (TD, format!("{limit}{}", note.unwrap_or_default()).into()),
        ]);
    }
    html.markup("</table>\n");
}

fn end(html: &mut Html, sources: &Sources, now: Duration) {
    let running = span(now.saturating_sub(sources.metrics.started()));
    let commit = version::COMMIT.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    html.markup("<footer><p>");
    html.text(&format!(
        "Version {}{commit}, {}, {} server, running for {running}. Read at {}; all times are UTC.",
        version::VERSION,
        version::target(),
        version::SERVER,
        rfc3339(now.as_secs()),
    ));
    html.markup(
        "</p>\n<p><a href=\"/config\">Settings in force</a> · <a href=\"/metrics\">metrics</a> · \
         <a href=\"/readyz\">readiness</a></p></footer>\n</body>\n</html>\n",
    );
}

fn begin(html: &mut Html, is_ready: bool) {
    html.markup(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"refresh\" content=\"10\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    );
    html.markup(if is_ready {
        "<title>auth-proxy: ready</title>\n<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 2 2'%3E%3Ccircle cx='1' cy='1' r='.8' fill='%23888'/%3E%3C/svg%3E\">\n"
    } else {
        "<title>auth-proxy: not ready</title>\n<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 2 2'%3E%3Ccircle cx='1' cy='1' r='.8' fill='%23b3261e'/%3E%3C/svg%3E\">\n"
    });
    html.markup("<style>");
    html.markup(STYLE);
    html.markup("</style>\n</head>\n<body>\n");
}

/// How long a certificate is still valid.
fn days_left(left: Duration) -> String {
    match left.as_secs() / DAY.as_secs() {
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    }
}

/// A length of time in one unit, the largest of which there are two.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_one_unit() {
        let rows = [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h")];
        for (seconds, expected) in rows.into_iter().chain([(172_799, "47 h"), (172_800, "2 days")]) {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }

    /// A style sheet that closes its element would be markup; one that loads something would be stopped by the policy.
    #[test]
    fn the_style_sheet_stands_for_itself() {
        assert!(!STYLE.contains('<') && !STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
