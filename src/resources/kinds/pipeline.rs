//! Middleware pipelines of a Configuration, around the API and around calls of the app (tests/spec/resources-cli.md,
//! "9.2 Fields (`spec.`)").
//!
//! Sidestream has no middleware. As in daprd, a handler without component is left out. A handler with a component would
//! restrict calls (a token, a rate limit): starting without it would let through what its author wants stopped, so that
//! is an error of the start.

use crate::resources::yaml::fields::Fields;

/// The pipelines, by their names under `spec`.
const PIPELINES: [&str; 2] = ["httpPipeline", "appHttpPipeline"];

/// One of `spec.httpPipeline.handlers` or of `spec.appHttpPipeline.handlers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// The name of the pipeline under `spec`.
    pub pipeline: &'static str,
    /// Name of the component.
    pub name: String,
    /// Type of the component.
    pub kind: String,
}

impl Handler {
    /// Whether it names this component.
    pub fn means(&self, name: &str, kind: &str) -> bool {
        self.name == name && self.kind.eq_ignore_ascii_case(kind)
    }
}

/// Read the pipelines of a file; they replace those of earlier files. Each handler gets a warning.
pub(super) fn read(spec: &Fields<'_>, handlers: &mut Vec<Handler>) {
    for pipeline in PIPELINES {
        let Some(fields) = spec.fields(pipeline) else {
            continue;
        };
        if fields.has("handlers") {
            handlers.retain(|handler| handler.pipeline != pipeline);
            let list = fields.list("handlers");
            handlers.extend(list.iter().map(|fields| handler(pipeline, fields)));
        }
        fields.done();
    }
}

fn handler(pipeline: &'static str, fields: &Fields<'_>) -> Handler {
    let handler = fields.done_with(|fields| {
        fields.has("selector");
        fields.text("version");
        Handler { pipeline, name: fields.text("name"), kind: fields.text("type") }
    });
    let text = format!("middleware {} ({}) is left out, this sidecar has no middleware", handler.name, handler.kind);
    fields.warn("name", &text);
    handler
}
