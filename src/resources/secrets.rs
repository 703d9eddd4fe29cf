//! The two secret stores of a standalone sidecar: the environment and a JSON file (tests/spec/resources-cli.md,
//! "6. Secret stores (standalone)").

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};

use crate::environment::Environment;
use crate::metadata::ComponentMetadata;
use crate::resources::files::{encoding, folder};

/// A secret: its keys and values.
pub type Secret = BTreeMap<String, String>;

/// An open secret store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretStore {
    /// `secretstores.local.env`.
    Environment {
        /// Prefix of every name.
        prefix: String,
    },
    /// `secretstores.local.file`, read once.
    File(BTreeMap<String, Secret>),
}

/// The reason why a store cannot be opened or a secret not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// `secretsFile` is not set.
    #[error("missing local secrets file in metadata")]
    NoFile,
    /// The file cannot be read.
    #[error("open {file}: {reason}")]
    Unreadable {
        /// The path as written.
        file: String,
        /// In the words of the operating system.
        reason: String,
    },
    /// A relative path does not exist.
    #[error("open {file}: {reason} (a relative path begins at the current folder, {})", folder.display())]
    NotInFolder {
        /// The path as written.
        file: String,
        /// In the words of the operating system.
        reason: String,
        /// The folder that the path is relative to.
        folder: PathBuf,
    },
    /// The file is not a JSON object.
    #[error("{file}: {reason}")]
    NotJson {
        /// The path as written.
        file: String,
        /// The error of the parser, with line and column.
        reason: String,
    },
    /// No such secret.
    #[error("secret {0} not found")]
    NotFound(String),
    /// The name is that of a variable that components may not read; the secret is empty.
    #[error("Access to env var {0} is forbidden")]
    Forbidden(String),
}

impl SecretStore {
    /// Open the store of a type that [`Category`](crate::resources::kinds::component_type::Category) knows. Relative paths
    /// begin at the folder of the environment.
    ///
    /// # Errors
    /// The file of a file store is missing, or not a JSON object.
    pub fn open(kind: &str, properties: &ComponentMetadata, environment: &Environment) -> Result<Self, SecretError> {
        if kind.eq_ignore_ascii_case("secretstores.local.env") {
            let prefix = properties.get("prefix").unwrap_or_default().to_owned();
            return Ok(Self::Environment { prefix });
        }
        let file = properties.get("secretsFile").filter(|file| !file.is_empty());
        let file = file.ok_or(SecretError::NoFile)?;
        let root = read(file, &environment.path(file)).map_err(|error| error.in_folder(environment))?;
        let separator = properties.get("nestedSeparator").filter(|text| !text.is_empty());
        let separator = separator.unwrap_or(":");
        let multi_valued = properties.get("multiValued").is_some_and(is_truthy);
        Ok(Self::File(if multi_valued { several(root, separator) } else { single(root, separator) }))
    }

    /// Whether it is the environment, where every secret exists, if only as an empty one.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Environment { .. })
    }

    /// The secret of a name.
    ///
    /// # Errors
    /// The secret does not exist, or may not be read.
    pub fn get(&self, name: &str, environment: &Environment) -> Result<Secret, SecretError> {
        match self {
            Self::Environment { prefix } => {
                let variable = format!("{prefix}{name}");
                if is_forbidden(&variable) {
                    return Err(SecretError::Forbidden(variable));
                }
                let value = environment.get(&variable).unwrap_or_default();
                Ok(Secret::from([(name.to_owned(), value.to_owned())]))
            }
            Self::File(secrets) => secrets.get(name).cloned().ok_or_else(|| SecretError::NotFound(name.to_owned())),
        }
    }
}

impl SecretError {
    /// Add the folder that a relative path begins at.
    fn in_folder(self, environment: &Environment) -> Self {
        match self {
            Self::Unreadable { file, reason } if Path::new(&file).is_relative() => {
                let folder = environment.path(".");
                Self::NotInFolder {
                    // A path that does not exist cannot be canonicalized.
                    folder: std::path::absolute(&folder).unwrap_or(folder),
                    file,
                    reason,
                }
            }
            error => error,
        }
    }
}

/// Whether components may not read the variable of this name, in any case of its letters.
pub fn is_forbidden(name: &str) -> bool {
    let name = name.to_uppercase();
    name == "APP_API_TOKEN" || name.starts_with("DAPR_")
}

/// Whether a text means yes (tests/spec/resources-cli.md, "2.1 Read by the sidecar").
pub fn is_truthy(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "y" | "yes" | "true" | "t" | "on" | "1")
}

/// JSON in file order, with leaves as text.
enum Json {
    Text(String),
    Plain(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

fn read(file: &str, path: &Path) -> Result<Vec<(String, Json)>, SecretError> {
    let text = encoding::read(path)
        .map_err(|error| SecretError::Unreadable { file: file.to_owned(), reason: folder::reason(&error) })?;
    let not_json = |reason: String| SecretError::NotJson { file: file.to_owned(), reason };
    if text.trim().is_empty() {
        return Err(not_json("the file is empty".to_owned()));
    }
    match serde_json::from_str(&text).map_err(|error| not_json(error.to_string()))? {
        Json::Map(entries) => Ok(entries),
        _ => Err(not_json("not a JSON object".to_owned())),
    }
}

/// Make each leaf a secret, named by its path.
fn single(root: Vec<(String, Json)>, separator: &str) -> BTreeMap<String, Secret> {
    flattened(root, separator).into_iter().map(|(name, value)| (name.clone(), Secret::from([(name, value)]))).collect()
}

/// Make each object at the top a secret with several keys, and each text one with a single key; other values are dropped.
fn several(root: Vec<(String, Json)>, separator: &str) -> BTreeMap<String, Secret> {
    let mut secrets = BTreeMap::new();
    for (name, value) in root {
        let secret = match value {
            Json::Text(text) => Secret::from([(name.clone(), text)]),
            Json::Map(entries) => flattened(entries, separator),
            Json::Plain(_) | Json::List(_) => continue,
        };
        secrets.entry(name).or_insert(secret);
    }
    secrets
}

/// Collect the leaves by path; the first of equal paths counts.
fn flattened(entries: Vec<(String, Json)>, separator: &str) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    for (name, value) in entries {
        flatten(name, value, separator, &mut flat);
    }
    flat
}

fn flatten(name: String, value: Json, separator: &str, flat: &mut BTreeMap<String, String>) {
    match value {
        Json::Text(text) | Json::Plain(text) => {
            flat.entry(name).or_insert(text);
        }
        Json::List(items) => {
            for (index, item) in items.into_iter().enumerate() {
                flatten(format!("{name}{separator}{index}"), item, separator, flat);
            }
        }
        Json::Map(entries) => {
            for (key, item) in entries {
                flatten(format!("{name}{separator}{key}"), item, separator, flat);
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Plain(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Plain(String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Json::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file_store(json: &str, more: &[(&str, &str)]) -> Result<SecretStore, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets.json");
        fs::write(&file, json).unwrap();
        let mut properties: ComponentMetadata = [("secretsfile", file.to_str().unwrap())].into_iter().collect();
        for (name, value) in more {
            properties.set(*name, *value);
        }
        SecretStore::open("secretstores.local.file", &properties, &Environment::default())
    }

    fn keys(store: &SecretStore, name: &str) -> Vec<(String, String)> {
        let secret = store.get(name, &Environment::default());
        secret.unwrap_or_default().into_iter().collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn nested_objects_are_flattened() {
        let json = r#"{"a": {"b": "x"}, "l": ["p", 5], "t": true, "n": null, "a:b": "late"}"#;
        let store = file_store(json, &[]).unwrap();
        for (name, value) in [("a:b", "x"), ("l:0", "p"), ("l:1", "5"), ("t", "true"), ("n", "")] {
            assert_eq!(keys(&store, name), [pair(name, value)]);
        }
        let missing = store.get("nope", &Environment::default()).unwrap_err();
        assert_eq!(missing.to_string(), "secret nope not found");
        let store = file_store(json, &[("nestedSeparator", ".")]).unwrap();
        assert_eq!(keys(&store, "a.b"), [pair("a.b", "x")]);
    }

    #[test]
    fn multi_valued_secrets_have_several_keys() {
        let json = r#"{"r": {"p": "1", "q": {"z": "2"}}, "s": "t", "n": 5, "l": []}"#;
        let store = file_store(json, &[("MULTIVALUED", "True")]).unwrap();
        assert_eq!(keys(&store, "r"), [pair("p", "1"), pair("q:z", "2")]);
        assert_eq!(keys(&store, "s"), [pair("s", "t")]);
        assert_eq!(keys(&store, "n"), []);
    }

    #[test]
    fn a_file_store_without_a_good_file_does_not_open() {
        let environment = Environment::default();
        let open =
            |properties: &ComponentMetadata| SecretStore::open("secretstores.local.file", properties, &environment);
        assert_eq!(open(&ComponentMetadata::default()), Err(SecretError::NoFile));
        let properties = [("secretsFile", "/nope/secrets.json")].into_iter().collect();
        let error = open(&properties).unwrap_err().to_string();
        assert_eq!(error, "open /nope/secrets.json: no such file or directory");
        assert!(file_store("[]", &[]).is_err());
        assert!(file_store("{", &[]).is_err());
    }

    #[test]
    fn a_relative_file_is_looked_for_where_the_sidecar_works() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secrets.json"), r#"{"a": "x"}"#).unwrap();
        let environment = Environment::default().in_folder(folder.path());
        let properties = [("secretsFile", "./secrets.json")].into_iter().collect();
        let store = SecretStore::open("secretstores.local.file", &properties, &environment);
        assert_eq!(keys(&store.unwrap(), "a"), [pair("a", "x")]);
    }

    #[test]
    fn the_environment_is_a_store_but_not_all_of_it() {
        let environment =
            [("APP_X".to_owned(), "1".to_owned()), ("DAPR_Y".to_owned(), "2".to_owned())].into_iter().collect();
        let open = |properties: &ComponentMetadata| {
            SecretStore::open("secretstores.local.env", properties, &environment).unwrap()
        };
        let store = open(&[("prefix", "APP_")].into_iter().collect());
        assert_eq!(store.get("X", &environment).unwrap()["X"], "1");
        assert_eq!(store.get("Z", &environment).unwrap()["Z"], "");
        let store = open(&ComponentMetadata::default());
        for name in ["DAPR_Y", "dapr_y", "app_api_token"] {
            let error = SecretError::Forbidden(name.to_owned());
            assert_eq!(store.get(name, &environment), Err(error));
        }
    }
}
