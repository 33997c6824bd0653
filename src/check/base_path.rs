//! The path of `API_BASE_URL`: what to request below it, and what may have been meant instead.

/// What most clients request, where it costs nothing and needs no deployment.
pub(super) const USUAL: &str = "/openai/v1/models";
/// OpenAI's own path, as gateways have it that speak to several providers.
const WITHOUT_OPENAI: &str = "/v1/models";

/// The rest of [`USUAL`], where the base path has its beginning.
pub(super) fn models(base: &str) -> &'static str {
    if base.ends_with("/v1") {
        "/models"
    } else if base.ends_with("/openai") {
        WITHOUT_OPENAI
    } else {
        USUAL
    }
}

/// Where the models may be if they are not below this base path: other base paths, each with the path to request below
/// it, the likeliest first.
pub(super) fn likely(base: &str) -> Vec<(&str, &'static str)> {
    let mut all = Vec::new();
    // `/openai/v1`, `/openai/deployments/NAME`, `/openai/v1/chat/completions`: clients send that part themselves.
    match before_openai(base).or_else(|| base.strip_suffix("/v1")) {
        Some(before) => all.push((before, USUAL)),
        None => all.push((base, WITHOUT_OPENAI)),
    }
    // A page of a portal, or a path of another service.
    all.push(("", USUAL));
    if base.is_empty() {
        // A gateway whose prefix for the API is `/openai`.
        all.push(("/openai", USUAL));
    }
    let mut requested = vec![format!("{base}{}", models(base))];
    all.retain(|(base, path)| {
        let target = format!("{base}{path}");
        let is_new = !requested.contains(&target);
        requested.push(target);
        is_new
    });
    all
}

/// What precedes the first segment `openai`, in whatever case: Azure compares without it.
fn before_openai(base: &str) -> Option<&str> {
    let at = |(at, _): (usize, &str)| {
        let segment = base[at + 1..].split('/').next().unwrap_or_default();
        segment.eq_ignore_ascii_case("openai").then_some(&base[..at])
    };
    base.match_indices('/').find_map(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_requested_and_what_is_tried_after_that() {
        // The base path; the target requested first; those tried if there is no such path.
        let rows: &[(&str, &str, &[&str])] = &[
            ("", "/openai/v1/models", &["/v1/models", "/openai/openai/v1/models"]),
            ("/openai", "/openai/v1/models", &[]),
            ("/openai/v1", "/openai/v1/models", &[]),
            ("/OpenAI/v1", "/OpenAI/v1/models", &["/openai/v1/models"]),
            ("/v1", "/v1/models", &["/openai/v1/models"]),
            ("/llm/v1", "/llm/v1/models", &["/llm/openai/v1/models", "/openai/v1/models"]),
            ("/openai/deployments/x", "/openai/deployments/x/openai/v1/models", &["/openai/v1/models"]),
            (
                "/openai/v1/chat/completions",
                "/openai/v1/chat/completions/openai/v1/models",
                &["/openai/v1/models"],
            ),
            (
                "/gateway/openai/deployments/x",
                "/gateway/openai/deployments/x/openai/v1/models",
                &["/gateway/openai/v1/models", "/openai/v1/models"],
            ),
            ("/gateway", "/gateway/openai/v1/models", &["/gateway/v1/models", "/openai/v1/models"]),
            (
                "/openai-prod/x",
                "/openai-prod/x/openai/v1/models",
                &["/openai-prod/x/v1/models", "/openai/v1/models"],
            ),
        ];
        for (base, first, then) in rows {
            assert_eq!(format!("{base}{}", models(base)), *first);
            let tried: Vec<String> =
                likely(base).into_iter().map(|(base, path)| format!("{base}{path}")).collect();
            assert_eq!(tried, *then, "{base}");
        }
    }
}
