//! What all kinds of resource files have in common: the keys around `spec`.

use crate::resources::yaml::fields::Fields;

/// What is said about `scopes` under `spec`.
pub(super) const SCOPES_IN_SPEC: &str =
    "scopes belongs at the root, beside spec: as it is every app loads this resource";

/// The keys by which a document was found to be of its kind have been read.
pub(super) fn head_read(root: &Fields<'_>) {
    for name in ["apiVersion", "kind", "metadata", "spec", "status"] {
        root.has(name);
    }
}

/// Keys of `metadata` that mean something to Kubernetes and nothing here.
pub(super) fn without_effect(metadata: &Fields<'_>) {
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
