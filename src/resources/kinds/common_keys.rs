//! Keys that all kinds of resource files share: those around `spec`.

use crate::resources::yaml::fields::Fields;

/// Help for `scopes` under `spec`.
pub(super) const SCOPES_IN_SPEC: &str =
    "scopes belongs at the root, beside spec: as it is every app loads this resource";

/// Mark the keys that every document has as known.
pub(super) fn known_at_root(root: &Fields<'_>) {
    for name in ["apiVersion", "kind", "metadata", "spec", "status"] {
        root.has(name);
    }
}

/// Mark the keys of `metadata` as known that matter to Kubernetes only.
pub(super) fn known_in_metadata(metadata: &Fields<'_>) {
    for name in [
        "namespace",
        "labels",
        "annotations",
        "creationTimestamp",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "uid",
    ] {
        metadata.has(name);
    }
}
