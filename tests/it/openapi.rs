//! Compares `openapi/sidestream.yaml` with the routes, in both directions.

use std::collections::BTreeSet;

use sidestream::api::http::routes;

const DOCUMENT: &str = include_str!("../../openapi/sidestream.yaml");

/// Method and path of every operation of the document.
fn documented() -> BTreeSet<(String, String)> {
    let document: serde_json::Value = serde_saphyr::from_str(DOCUMENT).expect("the document is YAML");
    let paths = document["paths"].as_object().expect("it has paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("a path has operations");
        methods.keys().filter(|key| *key != "parameters").map(|method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

/// Method and path of every route, in the notation of the document.
fn routed() -> BTreeSet<(String, String)> {
    let operations = routes::all().flat_map(|(pattern, methods)| {
        let path = pattern.replace("{*", "{");
        methods.iter().map(move |method| ((*method).to_owned(), path.clone()))
    });
    operations.collect()
}

#[test]
fn every_route_is_documented_and_every_operation_has_a_route() {
    let (documented, routed) = (documented(), routed());
    let undocumented: Vec<_> = routed.difference(&documented).collect();
    let unrouted: Vec<_> = documented.difference(&routed).collect();
    assert!(undocumented.is_empty(), "routes without operation: {undocumented:?}");
    assert!(unrouted.is_empty(), "operations without route: {unrouted:?}");
}
