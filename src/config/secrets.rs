//! Where secrets stand: in files of their own, or where more people see them.

use std::path::PathBuf;

use super::{DatabaseUrl, Settings};

impl Settings {
    /// The files that hold nothing else.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let own = [
            &self.api_key_file,
            &self.database_url_file,
            &self.otlp_headers_file,
        ];
        let of_providers = self.of_providers(".api_key_file").map(|(_, path)| path.into());
        own.into_iter().flatten().cloned().chain(of_providers).collect()
    }

    /// The settings that hold a secret themselves, or name the variable that does.
    pub fn secrets_outside_files(&self) -> Vec<String> {
        let has_password = |url: &Option<DatabaseUrl>| url.as_ref().is_some_and(DatabaseUrl::holds_password);
        let own = [
            ("api_key", self.api_key.is_some()),
            ("otlp_headers", self.otlp_headers.is_some()),
            ("database_url", has_password(&self.database_url)),
            ("database_replica_url", has_password(&self.database_replica_url)),
        ];
        let own = own.into_iter().filter(|(_, is_one)| *is_one);
        own.map(|(name, _)| name.to_owned())
            .chain(self.of_providers(".api_key_env").map(|(name, _)| name))
            .collect()
    }

    /// What the tables of providers give under this key.
    fn of_providers(&self, key: &str) -> impl Iterator<Item = (String, String)> {
        self.providers
            .shown()
            .filter(move |(name, _, is_given)| *is_given && name.ends_with(key))
            .map(|(name, value, _)| (name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    fn given(name: &str, value: &str) -> Settings {
        file::parse("f", &format!("{name} = '{value}'")).unwrap_or_default()
    }

    /// Every setting is looked at, so that a new one is not forgotten.
    #[test]
    fn secrets_are_known_by_how_they_are_shown_and_files_by_their_name() {
        let (mut outside, mut files) = (Vec::new(), Vec::new());
        for name in Settings::NAMES.iter().copied() {
            let settings = given(name, "postgres://me:canary@h/chat");
            let shown = settings.shown(name);
            let is_secret = shown.is_some_and(|shown| !shown.contains("canary"));
            assert_eq!(settings.secrets_outside_files() == [name], is_secret, "{name}");
            outside.extend(is_secret.then_some(name));
            let is_file = name.ends_with("_file") && !["log_file", "otlp_ca_file"].contains(&name);
            assert_eq!(settings.secret_files().len(), usize::from(is_file), "{name}");
            files.extend(is_file.then_some(name));
        }
        assert_eq!(
            outside,
            ["database_url", "database_replica_url", "api_key", "otlp_headers"]
        );
        assert_eq!(files, ["database_url_file", "api_key_file", "otlp_headers_file"]);
        assert!(
            given("database_url", "postgres://me@h/chat")
                .secrets_outside_files()
                .is_empty()
        );
    }

    #[test]
    fn those_of_providers_are_among_them() {
        let text = "[providers.a]\nmodels = ['m']\napi_key_file = 'a.key'\n[providers.b]\nmodels = ['m']\napi_key_env = 'KEY'";
        let settings = file::parse("f", text).unwrap();
        assert_eq!(settings.secret_files(), [PathBuf::from("a.key")]);
        assert_eq!(settings.secrets_outside_files(), ["providers.b.api_key_env"]);
    }
}
