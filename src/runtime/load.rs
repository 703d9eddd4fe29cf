//! Reading the resource folders, at the start and for a hot reload.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::start_error::StartError;
use crate::config::Settings;
use crate::diagnostic::Location;
use crate::environment::Environment;
use crate::metadata::ComponentMetadata;
use crate::resources::kinds::component::Component;
use crate::resources::last_good::LastGood;
use crate::resources::yaml::key_lines::KeyLines;
use crate::resources::{LoadRequest, Resources};
use crate::telemetry::Telemetry;

/// The name of the pub/sub that `demo` and `run` have without any file.
const EMBEDDED: &str = "pubsub";

/// Read the folders at the start, and log the diagnostics.
///
/// # Errors
/// If the sidecar cannot start with these files.
pub(super) fn load(
    settings: &Settings,
    environment: &Environment,
    telemetry: &Telemetry,
) -> Result<Resources, StartError> {
    let resources =
        completed(settings, Resources::load(&request(settings, environment, settings.hot_reload.is_some())));
    resources.diagnostics.iter().for_each(|diagnostic| diagnostic.report(telemetry));
    if resources.errors.is_empty() {
        Ok(resources)
    } else {
        Err(StartError::all_fatal(resources.error_texts(ToString::to_string)))
    }
}

/// Read the folders again. `last_good`: the result of the reading before; `refused`: files that count as broken.
pub(super) fn load_again(
    settings: &Settings,
    environment: &Environment,
    last_good: &LastGood,
    refused: &BTreeSet<PathBuf>,
) -> Resources {
    completed(settings, Resources::reload(&request(settings, environment, false), last_good, refused))
}

fn request<'a>(settings: &'a Settings, environment: &'a Environment, hot_reload: bool) -> LoadRequest<'a> {
    LoadRequest {
        app_id: Some(&settings.app_id),
        folders: &settings.resources,
        files: &[],
        denied: &settings.denied_components,
        handlers: &settings.handlers,
        hot_reload,
        environment,
    }
}

/// The resources with the pub/sub that needs no file, and with advice.
fn completed(settings: &Settings, mut resources: Resources) -> Resources {
    if settings.embedded_pubsub && !resources.components.iter().any(|component| component.name == EMBEDDED) {
        resources.components.push(embedded(&settings.app_id));
    }
    resources.add_advice();
    resources
}

/// The pub/sub on the in-memory broker that exists without a file.
fn embedded(app_id: &str) -> Component {
    Component {
        name: EMBEDDED.to_owned(),
        kind: "pubsub.in-memory".to_owned(),
        version: "v1".to_owned(),
        ignore_errors: false,
        init_timeout: Duration::from_secs(5),
        properties: [("consumerID", app_id)].into_iter().collect::<ComponentMetadata>(),
        written: Vec::new(),
        namespace_scoped: false,
        location: Location::default(),
        lines: KeyLines::default(),
    }
}
