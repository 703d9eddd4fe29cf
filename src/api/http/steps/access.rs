//! The routes that the Configuration allows: `spec.api.allowed` and `denied` (tests/spec/http-api.md, "11.3 API access
//! lists").

use crate::config::ApiAccess;
use crate::resources::kinds::configuration::ApiRule;

/// Stands for every path without route: an invocation, of the group `v1/invoke`.
const INVOKE: &str = "/v1.0/invoke/";

/// Is a route with this pattern allowed? A denial wins, a list of what is allowed denies the rest, and health is always
/// allowed.
pub(in crate::api::http) fn is_allowed(access: &ApiAccess, pattern: &str) -> bool {
    if pattern.starts_with("/v1.0/healthz") {
        return true;
    }
    let names = |rules: &[ApiRule]| http(rules).any(|rule| is_named(rule, pattern));
    let is_open = http(&access.allowed).next().is_none();
    !names(&access.denied) && (is_open || names(&access.allowed))
}

/// Is a path without route an invocation, or simply not found (tests/spec/http-api.md, "11.4 When `invoke` itself is
/// not allowed")?
pub(in crate::api::http) fn has_invocation(access: &ApiAccess) -> bool {
    is_allowed(access, INVOKE)
}

/// The rules for HTTP.
fn http(rules: &[ApiRule]) -> impl Iterator<Item = &ApiRule> {
    rules.iter().filter(|rule| rule.protocol.eq_ignore_ascii_case("http"))
}

/// Does a rule name the group of a route (`v1/publish`), or the beginning of its path (`v1.0/pub`)?
fn is_named(rule: &ApiRule, pattern: &str) -> bool {
    let key = format!("{}/{}", rule.version, rule.name);
    let path = pattern.trim_start_matches('/');
    path.starts_with(&key) || group(path).is_some_and(|group| group == key)
}

/// `v1.0-alpha1/publish/bulk/...` is of the group `v1alpha1/publish`.
fn group(path: &str) -> Option<String> {
    let mut segments = path.split('/');
    let version = segments.next()?.replace(".0", "").replace('-', "");
    let name = match segments.next()? {
        "unlock" => "lock",
        name => name,
    };
    Some(format!("{version}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: &str = "/v1.0/publish/{pubsub}/{*topic}";
    const BULK: &str = "/v1.0/publish/bulk/{pubsub}/{*topic}";
    const ALPHA: &str = "/v1.0-alpha1/publish/bulk/{pubsub}/{*topic}";
    const METADATA: &str = "/v1.0/metadata";
    const HEALTH: &str = "/v1.0/healthz";

    /// `name version protocol` of each rule, and the routes that are left of the five and the invocation.
    fn check(allowed: &[&str], denied: &[&str], expected: &[&str]) {
        let rules = |texts: &[&str]| texts.iter().map(|text| rule(text)).collect();
        let access = ApiAccess { allowed: rules(allowed), denied: rules(denied) };
        let all = [PUBLISH, BULK, ALPHA, METADATA, HEALTH, INVOKE];
        let left: Vec<_> = all.into_iter().filter(|pattern| is_allowed(&access, pattern)).collect();
        assert_eq!(left, expected, "{allowed:?} {denied:?}");
    }

    fn rule(text: &str) -> ApiRule {
        let mut words = text.split(' ').map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        ApiRule { name: next(), version: next(), protocol: next() }
    }

    #[test]
    fn rules_name_groups_or_beginnings_of_paths() {
        let all = [PUBLISH, BULK, ALPHA, METADATA, HEALTH, INVOKE];
        check(&[], &[], &all);
        check(&[], &["publish v1 http"], &[ALPHA, METADATA, HEALTH, INVOKE]);
        check(&[], &["publish v1.0 HTTP"], &[ALPHA, METADATA, HEALTH, INVOKE]);
        check(&[], &["pub v1.0 http"], &[ALPHA, METADATA, HEALTH, INVOKE]);
        check(&[], &["publish/bulk v1.0 http"], &[PUBLISH, ALPHA, METADATA, HEALTH, INVOKE]);
        check(&[], &["publish v1alpha1 http"], &[PUBLISH, BULK, METADATA, HEALTH, INVOKE]);
        check(&[], &["invoke v1 http"], &[PUBLISH, BULK, ALPHA, METADATA, HEALTH]);
        for nothing in ["publish v1", "publish v1 grpc", "Publish v1 http", "healthz v1 http"] {
            check(&[], &[nothing], &all);
        }
        check(&["publish v1 http"], &[], &[PUBLISH, BULK, HEALTH]);
        check(&["publish v1 http"], &["publish v1 http"], &[HEALTH]);
        check(&["publish v1 grpc"], &[], &all);
    }
}
