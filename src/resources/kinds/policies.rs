//! Resiliency policies as data, and which policy a component has in which direction (tests/spec/resources-cli.md, "8.
//! Resiliency (`dapr.io/v1alpha1`)").
//!
//! Nothing is executed here. The `trip` of a circuit breaker stays text; `resiliency` compiles it.

use std::collections::BTreeMap;
use std::time::Duration;

/// The built-in policy that resources cannot replace (tests/spec/resources-cli.md, "8.3 Built-in and default policies").
const PROTECTED: &str = "DaprBuiltInActorNotFoundRetries";

/// Fewest retries of a resource's policy that replaces a built-in one.
const MIN_BUILT_IN_RETRIES: u64 = 3;

/// Policies by name, and the targets that use them. Resources are merged key by key; later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// `policies.timeouts`; `None` means no timeout.
    pub timeouts: BTreeMap<String, Option<Duration>>,
    /// `policies.retries`.
    pub retries: BTreeMap<String, Retry>,
    /// `policies.circuitBreakers`.
    pub breakers: BTreeMap<String, Breaker>,
    /// `targets.components`.
    pub components: BTreeMap<String, ComponentTarget>,
}

/// A retry policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The pauses between attempts.
    pub pause: Pause,
    /// Most attempts after the first; `None` means no limit.
    pub max_retries: Option<u64>,
    /// Ranges of `matching.httpStatusCodes`; empty matches all.
    pub http_codes: Vec<(u16, u16)>,
    /// Ranges of `matching.gRPCStatusCodes`; empty matches all.
    pub grpc_codes: Vec<(u16, u16)>,
}

/// The pauses of a retry policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The same each time.
    Constant(Duration),
    /// From 500 ms, growing by half with jitter, up to this; 15 minutes in all.
    Exponential(Duration),
}

/// A circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Calls let through while half-open; at least 1.
    pub max_requests: u32,
    /// Time between resets of the counters while closed; `None` means never.
    pub interval: Option<Duration>,
    /// Time from open to half-open.
    pub timeout: Duration,
    /// The CEL expression with its line; `None` means `consecutiveFailures > 5`.
    pub trip: Option<(String, usize)>,
}

/// The policies of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentTarget {
    /// For deliveries.
    pub inbound: PolicyNames,
    /// For publishing.
    pub outbound: PolicyNames,
}

/// Names of policies; empty means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyNames {
    /// Name in `policies.timeouts`.
    pub timeout: String,
    /// Name in `policies.retries`.
    pub retry: String,
    /// Name in `policies.circuitBreakers`.
    pub breaker: String,
}

/// The direction of a call through a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the app.
    Inbound,
    /// To the broker.
    Outbound,
}

impl Policies {
    /// The policies without any resource: retries that a target may name (tests/spec/resources-cli.md, "8.3 Built-in and
    /// default policies").
    pub fn built_in() -> Self {
        let second = Pause::Constant(Duration::from_secs(1));
        let retries = [
            ("DaprBuiltInServiceRetries", second, Some(3)),
            ("DaprBuiltInActorRetries", second, Some(3)),
            ("DaprBuiltInActorReminderRetries", Pause::Exponential(Duration::from_secs(60)), None),
            (PROTECTED, second, Some(5)),
            ("DaprBuiltInInitializationRetries", Pause::Exponential(Duration::from_secs(1)), Some(3)),
        ];
        let retry = |(name, pause, max_retries): (&str, Pause, Option<u64>)| {
            let retry = Retry { pause, max_retries, http_codes: Vec::new(), grpc_codes: Vec::new() };
            (name.to_owned(), retry)
        };
        Self { retries: retries.into_iter().map(retry).collect(), ..Self::default() }
    }

    /// Whether this is an unchanged built-in retry policy.
    pub fn is_built_in(name: &str, retry: &Retry) -> bool {
        Self::built_in().retries.get(name) == Some(retry)
    }

    /// Apply the rules for replacing built-in policies. Returns what was changed, in daprd's words.
    pub fn restrict_overrides(&mut self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.retries.remove(PROTECTED).is_some() {
            changes.push(format!("Attempted to override protected policy {PROTECTED} which is not allowed. Ignoring provided policy and using default."));
        }
        for name in Self::built_in().retries.into_keys() {
            let Some(retry) = self.retries.get_mut(&name) else {
                continue;
            };
            if retry.max_retries.is_none_or(|max_retries| max_retries < MIN_BUILT_IN_RETRIES) {
                retry.max_retries = Some(MIN_BUILT_IN_RETRIES);
                changes.push(format!(
                    "Attempted override of {name} did not meet minimum retry count, resetting to {MIN_BUILT_IN_RETRIES}."
                ));
            }
        }
        changes
    }

    /// Merge the policies of a later resource, which win.
    pub fn add(&mut self, later: &Self) {
        let Self { timeouts, retries, breakers, components } = later.clone();
        self.timeouts.extend(timeouts);
        self.retries.extend(retries);
        self.breakers.extend(breakers);
        self.components.extend(components);
    }

    /// The retry policy of a pub/sub component with its name: that of its target, or the first default that exists
    /// (tests/spec/resources-cli.md, "8.3 Built-in and default policies").
    pub fn retry_of(&self, component: &str, direction: Direction) -> Option<(&str, &Retry)> {
        let found = self.choose(&self.retries, component, direction, "Retry", |names| &names.retry);
        found.map(|(name, retry)| (name.as_str(), retry))
    }

    /// The timeout of a pub/sub component; `None` for none.
    pub fn timeout_of(&self, component: &str, direction: Direction) -> Option<Duration> {
        let found = self.choose(&self.timeouts, component, direction, "Timeout", |names| &names.timeout);
        found.and_then(|(_, timeout)| *timeout)
    }

    /// The name of the circuit breaker of a pub/sub component; `None` for none.
    pub fn breaker_of(&self, component: &str, direction: Direction) -> Option<&str> {
        let kind = "CircuitBreaker";
        let found = self.choose(&self.breakers, component, direction, kind, |names| &names.breaker);
        found.map(|(name, _)| name.as_str())
    }

    /// Whether a policy of this name is used without a target that names it (tests/spec/resources-cli.md, "8.3 Built-in and
    /// default policies").
    pub fn is_default_name(name: &str) -> bool {
        let kinds = ["Retry", "Timeout", "CircuitBreaker"];
        kinds.iter().any(|kind| {
            [Direction::Inbound, Direction::Outbound]
                .iter()
                .any(|direction| default_names(*direction, kind).contains(&name.to_owned()))
        }) || name.starts_with("Default") && name.ends_with("Policy")
            || Self::built_in().retries.contains_key(name)
    }

    /// The policy that the target of the component names, and no other; without a target the first default that exists.
    fn choose<'a, T>(
        &'a self,
        policies: &'a BTreeMap<String, T>,
        component: &str,
        direction: Direction,
        kind: &str,
        named: fn(&PolicyNames) -> &str,
    ) -> Option<(&'a String, &'a T)> {
        if let Some(target) = self.components.get(component) {
            return policies.get_key_value(named(target.names(direction)));
        }
        let defaults = default_names(direction, kind);
        defaults.iter().find_map(|name| policies.get_key_value(name))
    }
}

impl ComponentTarget {
    /// The policies for one direction.
    pub fn names(&self, direction: Direction) -> &PolicyNames {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

/// The names of default policies of a kind (`Retry`, `Timeout`, `CircuitBreaker`), the most specific first.
pub fn default_names(direction: Direction, policy: &str) -> [String; 4] {
    let way = match direction {
        Direction::Inbound => "Inbound",
        Direction::Outbound => "Outbound",
    };
    [
        format!("DefaultPubsubComponent{way}{policy}Policy"),
        format!("DefaultComponent{way}{policy}Policy"),
        format!("DefaultComponent{policy}Policy"),
        format!("Default{policy}Policy"),
    ]
}
