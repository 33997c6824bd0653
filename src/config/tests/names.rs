//! Names that are nearly settings, and what stands in every environment.

use super::super::{Config, Environment};
use super::BASE;
use crate::report::Problem;

/// Reads an environment of exactly these variables.
fn read(variables: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    let names: Vec<String> = variables.iter().map(|(name, _)| (*name).to_owned()).collect();
    let lookup = |name: &str| {
        let mut found = variables.iter().rev().filter(|(variable, _)| *variable == name);
        found.next().map(|(_, value)| (*value).to_owned())
    };
    Config::from_environment(Environment { lookup: &lookup, names: &names })
}

/// What is noted when these are set besides the least that starts.
fn notes(variables: &[(&str, &str)]) -> Vec<String> {
    let config = read(&[&BASE[..], variables].concat()).unwrap();
    config.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_name_that_is_nearly_a_setting_is_noted() {
    for (name, setting) in [
        ("PROXY_APIKEY", "PROXY_API_KEY"),
        ("PROXYAPIKEY", "PROXY_API_KEY"),
        ("proxy_api_key", "PROXY_API_KEY"),
        ("Proxy-Api-Key", "PROXY_API_KEY"),
        ("PROXY_API_KEYS", "PROXY_API_KEY"),
        ("PROXY_API_KEY_FILE", "PROXY_API_KEYS_FILE"),
        ("HTTPS_PROXY_FILE", "HTTPS_PROXY"),
        ("PROXI_API_KEY", "PROXY_API_KEY"),
        ("PORXY_API_KEY", "PROXY_API_KEY"),
        ("API_KEY_PROXY", "PROXY_API_KEY"),
        ("PROXY_KEY_API", "PROXY_API_KEY"),
        ("AUTH_PROXY_MAX_CONNECTIONS", "MAX_CONNECTIONS"),
        ("MAX_CONNECTION", "MAX_CONNECTIONS"),
        ("MAX_CONN", "MAX_CONNECTIONS"),
        ("CONNECTIONS_MAX", "MAX_CONNECTIONS"),
        ("CONNECTION_TIMEOUT", "CONNECT_TIMEOUT"),
        ("READ_IDLE_TIME_OUT", "READ_IDLE_TIMEOUT"),
        ("SHUT_DOWN_GRACE", "SHUTDOWN_GRACE"),
        ("AZURE_SCOPES", "AZURE_SCOPE"),
        ("AZURE_AUTHORITYHOST", "AZURE_AUTHORITY_HOST"),
        ("AZURE_AUTHORITY_HOSTS", "AZURE_AUTHORITY_HOST"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("LOG_LEVELS", "LOG_LEVEL"),
        ("log_format", "LOG_FORMAT"),
        ("ADMINPORT", "ADMIN_PORT"),
        ("ADMIN_HOTS", "ADMIN_HOST"),
        ("SSL_CERTFILE", "SSL_CERT_FILE"),
        ("TLS_CERTFILE", "TLS_CERT_FILE"),
        ("TLS_CLIENT_CA", "TLS_CLIENT_CA_FILE"),
        ("HTTPSPROXY", "HTTPS_PROXY"),
        ("Https_Proxy", "HTTPS_PROXY"),
        ("NOPROXY", "NO_PROXY"),
        ("ALLOW_INSECURE_UPSTREEM", "ALLOW_INSECURE_UPSTREAM"),
        ("REWRITE_LOCATIONS", "REWRITE_LOCATION"),
    ] {
        let expected =
            format!("{name} is set, but is not a setting and has no effect\n  hint: did you mean {setting}?");
        assert_eq!(notes(&[(name, "hunter2")]), [expected], "{name}");
        assert!(notes(&[(name, " ")]).is_empty(), "{name}: an empty value means unset");
    }
    // The right one is there, too: it has effect.
    assert!(notes(&[("PROXY_APIKEY", "hunter2"), ("PROXY_API_KEY", "0123456789abcdef")]).is_empty());
}

#[test]
fn what_is_missing_may_be_there_under_another_name() {
    let problems = read(&[("AZURE_CLIENTID", "x"), ("AZURE_CERT_PATH", "x"), ("API_BASE_URI", "x"), BASE[1]]);
    let printed = problems.unwrap_err()[0].to_string();
    assert!(printed.starts_with("Missing required Azure AD configuration: AZURE_CLIENT_ID, "), "{printed}");
    for (name, setting) in [
        ("AZURE_CLIENTID", "AZURE_CLIENT_ID"),
        ("AZURE_CERT_PATH", "AZURE_CERTIFICATE_PATH"),
        ("API_BASE_URI", "API_BASE_URL"),
    ] {
        let note = format!(
            "\n  note: {name} is set, but is not a setting and has no effect; did you mean {setting}?"
        );
        assert!(printed.contains(&note), "{printed}");
    }
}

#[test]
fn settings_of_other_programs_are_noted_once() {
    for (name, hint) in [
        ("AZURE_CLIENT_SECRET", "signs in with a certificate"),
        ("AZURE_USERNAME", "signs in with a certificate"),
        ("AZURE_OPENAI_ENDPOINT", "the upstream is set with API_BASE_URL"),
        ("AZURE_OPENAI_API_KEY", "a token, not a key"),
        ("AZURE_API_BASE", "the upstream is set with API_BASE_URL"),
        ("OPENAI_BASE_URL", "the upstream is set with API_BASE_URL"),
        ("OPENAI_API_BASE", "the upstream is set with API_BASE_URL"),
        ("ALL_PROXY", "set it, or connections are direct"),
        ("all_proxy", "set it, or connections are direct"),
    ] {
        let [note] = &notes(&[(name, "hunter2")])[..] else { panic!("{name}") };
        assert!(note.starts_with(&format!("{name} is set, but is not used\n  hint: ")), "{note}");
        assert!(note.contains(hint) && !note.contains("hunter2"), "{note}");
        assert!(notes(&[(name, "")]).is_empty(), "{name}: an empty value means unset");
    }
    for proxy in ["HTTPS_PROXY", "https_proxy"] {
        assert!(notes(&[("ALL_PROXY", "http://p"), (proxy, "http://p")]).is_empty(), "{proxy} wins");
    }
}

/// As they were found in pods, units, shells, CI and the images of languages; values do not matter.
#[test]
fn an_ordinary_environment_says_nothing() {
    let kubernetes = "HOSTNAME KUBERNETES_PORT KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_ADDR \
        KUBERNETES_PORT_443_TCP_PORT KUBERNETES_PORT_443_TCP_PROTO KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT \
        KUBERNETES_SERVICE_PORT_HTTPS AUTH_PROXY_PORT AUTH_PROXY_PORT_8080_TCP AUTH_PROXY_PORT_8080_TCP_ADDR \
        AUTH_PROXY_SERVICE_HOST AUTH_PROXY_SERVICE_PORT AUTH_PROXY_SERVICE_PORT_HTTP PROXY_PORT PROXY_SERVICE_HOST \
        PROXY_PORT_8080_TCP_PROTO LITELLM_PORT LITELLM_SERVICE_HOST ADMIN_SERVICE_HOST ADMIN_SERVICE_PORT \
        ADMIN_PORT_80_TCP_ADDR AZURE_FEDERATED_TOKEN_FILE AZURE_AUTHORITY_HOST POD_NAME POD_IP NODE_NAME HOST_IP \
        IDENTITY_ENDPOINT IDENTITY_HEADER MSI_ENDPOINT CONTAINER_APP_NAME CONTAINER_APP_PORT WEBSITE_HOSTNAME";
    let system = "LISTEN_FDS LISTEN_PID NOTIFY_SOCKET INVOCATION_ID JOURNAL_STREAM CREDENTIALS_DIRECTORY STATE_DIRECTORY \
        MAINPID MANAGERPID WATCHDOG_USEC SYSTEMD_EXEC_PID RUNTIME_DIRECTORY MEMORY_PRESSURE_WATCH container";
    let shell = "PATH HOME PWD OLDPWD SHELL SHLVL TERM COLORTERM LANG LANGUAGE LC_ALL LC_CTYPE TZ USER LOGNAME MAIL EDITOR \
        PAGER DISPLAY HOSTTYPE OSTYPE PORTS HOSTS PROXY LOG LOGS LOGDIR LOG_FILE LOG_DIR LS_COLORS SSH_AUTH_SOCK \
        SSH_CLIENT XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS NO_COLOR TMPDIR _ HTTP_PROXY http_proxy FTP_PROXY \
        ftp_proxy RSYNC_PROXY SOCKS_PROXY GIT_SSL_CAINFO CURL_CA_BUNDLE REQUESTS_CA_BUNDLE SSL_CERT_DIR \
        NODE_EXTRA_CA_CERTS NIX_SSL_CERT_FILE GIT_HTTP_PROXY npm_config_https_proxy npm_config_noproxy";
    let programs = "OPENAI_API_KEY OPENAI_ORG_ID OPENAI_API_TYPE OPENAI_API_VERSION AZURE_OPENAI_API_VERSION \
        AZURE_OPENAI_DEPLOYMENT AZURE_API_VERSION AZURE_API_KEY AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP \
        AZURE_CONFIG_DIR AZURE_REGION AZURE_ENVIRONMENT AZURE_STORAGE_ACCOUNT AZURE_KEYVAULT_URL AZURE_HTTP_USER_AGENT \
        AZURE_REGIONAL_AUTHORITY_NAME ARM_CLIENT_ID ARM_TENANT_ID ARM_CLIENT_CERTIFICATE_PATH \
        LITELLM_MASTER_KEY LITELLM_LOG_LEVEL LITELLM_API_BASE RUST_LOG RUST_BACKTRACE OTEL_LOG_LEVEL PYTHONPATH \
        PYTHONUNBUFFERED NODE_ENV NODE_OPTIONS JAVA_HOME GOPATH CARGO_HOME VIRTUAL_ENV DATABASE_URL REDIS_HOST \
        REDIS_PORT API_KEY API_URL BASE_URL APP_PORT ADMIN_EMAIL ADMIN_PASSWORD MAX_WORKERS MAX_RETRIES TIMEOUT \
        READ_TIMEOUT REQUEST_TIMEOUT KEEPALIVE_TIMEOUT GRACEFUL_TIMEOUT CI GITHUB_ACTIONS GITHUB_TOKEN RUNNER_TEMP \
        DOCKER_HOST COMPOSE_PROJECT_NAME PROXY_PASS PROXY_URL PROXY_HOST API_KEY_FILE";
    for environment in [kubernetes, system, shell, programs] {
        let names: Vec<&str> = environment.split_whitespace().collect();
        let variables: Vec<_> = names.iter().map(|name| (*name, "value")).collect();
        // What AKS sets is right, not only near.
        let right = [("AZURE_AUTHORITY_HOST", ""), ("AZURE_FEDERATED_TOKEN_FILE", "")];
        assert_eq!(notes(&[&variables[..], &right].concat()), [""; 0]);
    }
    let settings: Vec<(&str, &str)> =
        super::super::SETTINGS.iter().map(|setting| (setting.name, " ")).collect();
    let printed = read(&settings).unwrap_err();
    assert!(printed.iter().all(|problem| problem.notes.is_empty()), "{printed:#?}");
}
