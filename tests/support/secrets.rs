//! Whatever a test is about, its program logs at debug level, and none of its secrets may be in the log.

use std::fs;

/// What a program with a certain environment must not show.
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Those of the files and variables as they are now. What is replaced later is the business of `secrets`.
    pub fn of(environment: &[(String, String)]) -> Self {
        // Every token, assertion and federated token begins with the base64 of `{"`.
        let mut secrets = vec!["eyJ".to_owned()];
        for (name, value) in environment {
            match name.as_str() {
                "AZURE_CERTIFICATE_PATH" | "AZURE_CLIENT_CERTIFICATE_PATH" => {
                    secrets.extend(fs::read_to_string(value).iter().flat_map(|pem| key_lines(pem)));
                }
                "AZURE_CLIENT_CERTIFICATE_PASSWORD" | "AZURE_CERTIFICATE_PASSWORD" if value.len() > 3 => {
                    secrets.push(value.trim_end().to_owned());
                }
                "PROXY_API_KEY" if value.trim().len() > 3 => secrets.push(value.trim().to_owned()),
                // A pipe would wait for its writer.
                "PROXY_API_KEYS_FILE" if fs::metadata(value).is_ok_and(|file| file.is_file()) => {
                    let text = fs::read_to_string(value).unwrap_or_default();
                    secrets
                        .extend(text.split_whitespace().filter(|word| word.len() == 64).map(str::to_owned));
                }
                "HTTPS_PROXY" => secrets.extend(password(value).filter(|password| password.len() > 3)),
                _ => {}
            }
        }
        Self(secrets)
    }

    /// Fails when a line shows one.
    #[track_caller]
    pub fn search(&self, text: &str) {
        for line in text.lines() {
            let leaked = self.0.iter().find(|secret| line.contains(secret.as_str()));
            assert!(leaked.is_none(), "{leaked:?} in {line}");
        }
    }
}

/// The lines of base64 in a PEM text's private key.
pub fn key_lines(pem: &str) -> Vec<String> {
    let Some((_, key)) = pem.split_once("PRIVATE KEY-----\n") else { return Vec::new() };
    let key = key.split_once("-----").map_or(key, |(key, _)| key);
    key.lines().filter(|line| line.len() > 20).map(str::to_owned).collect()
}

fn password(url: &str) -> Option<String> {
    let (_, password) = url.split_once("://")?.1.rsplit_once('@')?.0.split_once(':')?;
    Some(password.to_owned())
}

#[test]
fn the_secrets_of_an_environment_are_found() {
    let pem = crate::pems::pem("cert-first.pem");
    let variables = [
        ("AZURE_CERTIFICATE_PATH", pem.to_str().unwrap()),
        ("PROXY_API_KEY", "the-key\n"),
        ("HTTPS_PROXY", "http://user:p%40ss@127.0.0.1:3128"),
    ];
    let Secrets(found) = Secrets::of(&variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(found.len() > 25 && found.ends_with(&["the-key".to_owned(), "p%40ss".to_owned()]), "{found:?}");
    let key = fs::read_to_string(pem).unwrap();
    let caught = std::panic::catch_unwind(|| Secrets(found).search(key.lines().nth_back(3).unwrap()));
    assert!(caught.is_err(), "a line of the key is not found");
}
