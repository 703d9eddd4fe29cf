//! The middleware that a Configuration puts around the API and around calls of the app (tests/spec/resources-cli.md,
//! "9.2 Fields (`spec.`)").
//!
//! Sidestream has none. As in daprd a handler whose component is not there is left out; one whose component is there would have a say in
//! what passes (a token, a limit), and to go without it would let pass what its author wants stopped: that is an error of the start.

use crate::resources::yaml::fields::Fields;

/// The pipelines, by their names under `spec`.
const PIPELINES: [&str; 2] = ["httpPipeline", "appHttpPipeline"];

/// One of `spec.httpPipeline.handlers` or of `spec.appHttpPipeline.handlers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Which of the two.
    pub pipeline: &'static str,
    /// Of the component.
    pub name: String,
    /// Type of the component.
    pub kind: String,
}

impl Handler {
    /// Is this component meant?
    pub fn means(&self, name: &str, kind: &str) -> bool {
        self.name == name && self.kind.eq_ignore_ascii_case(kind)
    }
}

/// Read the pipelines of a file over those of the files before; every handler is worth a remark.
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
    fields.remark("name", &text);
    handler
}
